"""How many frames a second a live run takes before its queues grow: ``python bench/feed.py [-n FRAMES]``.

A server in another process sends trades of 50 symbols as fast as the run reads them (TCP holds it back). Printed are
frames a second to the tape and to committed rows, against a client that only counts what it receives.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp import web
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_connect, ws_create_server

from make_input import trades_ndjson
from tapeflow.app.run import Run
from tapeflow.settings import EndpointSettings, FeedFileSettings, RunSettings


class _Sender(WSListener):
    def __init__(self, frames: list[bytes]) -> None:
        super().__init__()
        self._frames = frames
        self._task: asyncio.Task[None] | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send(transport))

    async def _send(self, transport: WSTransport) -> None:
        for number, frame in enumerate(self._frames):
            transport.send(WSMsgType.TEXT, frame)
            if number % 256 == 255:
                await asyncio.sleep(0)
                while transport.underlying_transport.get_write_buffer_size() > 1 << 20:
                    await asyncio.sleep(0.001)


def serve(n: int, ports: Any) -> None:
    """Sends ``n`` trades to whoever subscribes, and answers every question with nothing."""
    lines = b"".join(trades_ndjson(n, 50, late_share_percent=0)).splitlines()
    frames = [b'{"stream":"x@trade","data":%b}' % line for line in lines]

    async def nothing(request: web.Request) -> web.Response:
        return web.json_response({"symbols": []} if "exchangeInfo" in request.path else [])

    async def run() -> None:
        def listener(request: WSUpgradeRequest) -> WSListener:
            return _Sender(frames)

        sockets = await ws_create_server(listener, "127.0.0.1", 0, logger_name=None)
        application = web.Application()
        application.router.add_get("/{path:.*}", nothing)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.put((sockets.sockets[0].getsockname()[1], runner.addresses[0][1]))
        await asyncio.sleep(3600)

    asyncio.run(run())


async def only_count(port: int, n: int) -> float:
    """Frames a second of a client that counts."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Counter(WSListener):
        seen = 0

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            frame.get_payload_as_bytes()
            self.seen += 1
            if self.seen == n and not done.done():
                done.set_result(None)

    started = time.perf_counter()
    transport, _ = await ws_connect(Counter, f"ws://127.0.0.1:{port}/stream")
    transport.send(WSMsgType.TEXT, b"{}")
    await done
    transport.disconnect()
    return n / (time.perf_counter() - started)


async def whole(websocket: int, rest: int, n: int) -> tuple[float, float, int]:
    """Frames a second to the tape and to the store, and the most bytes that waited for the tape."""
    with tempfile.TemporaryDirectory() as folder:
        settings = RunSettings(
            symbols=("BTCUSDT",),
            data=folder,
            endpoints=EndpointSettings(f"ws://127.0.0.1:{websocket}", f"http://127.0.0.1:{rest}"),
            feed=FeedFileSettings(history=0),
        )
        run = Run(settings, lambda text: None)
        started = time.perf_counter()
        task = asyncio.create_task(run.run())
        waited, taped = 0, 0.0
        while True:
            await asyncio.sleep(0.05)
            if not Path(folder, "status.json").exists():
                continue
            waited = max(waited, run.spool.waiting_bytes)
            if not taped and run.spool.counters.records >= n:
                taped = n / (time.perf_counter() - started)
            if run.pipeline.counts["frames"] >= n and run.pipeline.progress.committed >= n:
                break
        committed = n / (time.perf_counter() - started)
        run.stop()
        await task
    return taped, committed, waited


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, default=500_000)
    chosen = options.parse_args()
    logging.getLogger("picows").setLevel(logging.ERROR)  # it tells each time that a write waits
    ports: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(chosen.n, ports), daemon=True)
    server.start()
    try:
        websocket, rest = ports.get()
        counted = asyncio.run(only_count(websocket, chosen.n))
        taped, committed, waited = asyncio.run(whole(websocket, rest, chosen.n))
    finally:
        server.terminate()
    print(
        f"only counting {counted:,.0f} frames/s; to the tape {taped:,.0f} ({taped / counted:.2f}); "
        f"to committed rows {committed:,.0f} ({committed / counted:.2f}); at most {waited / 1e6:.1f} MB waited"
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
