"""Damaged and generated frames through a live run: ``python tests/live/mutants.py [--frames N] [--seed S]``.

A server of this file sends them over a real socket. Nothing may crash or grow, every frame must be on the tape as it
was sent, and every frame that gives nothing must be in quarantine with its bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import psutil
from aiohttp import web
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live.running import Live
from tapeflow.sim.sample import sample_frames
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Kind


class Seen(NamedTuple):
    """What became of the frames."""

    sent: int
    on_tape: int
    quarantined: int
    events: int
    duplicates: int
    grown_mb: float
    wrong: list[str]


def mutants(seed: int, number: int) -> Any:
    """Frames of a market, most of them damaged in one of many ways."""
    chance = random.Random(seed)
    good = [frame for _, frame in sample_frames(seed=seed, seconds=120)]
    for _ in range(number):
        yield mutate(chance, chance.choice(good), good)


def mutate(chance: random.Random, frame: bytes, good: list[bytes]) -> bytes:
    """One frame, whole or damaged; times and ids stay near, so that most of what is readable still counts."""
    body = bytearray(frame)
    match chance.randrange(16):
        case 0 | 1 | 2 | 3:
            return frame
        case 4:
            return bytes(body[: chance.randrange(len(body))])
        case 5:
            body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        case 6:
            at = chance.randrange(len(body))
            del body[at : at + chance.randrange(1, 20)]
        case 7:
            at = chance.randrange(len(body))
            body[at:at] = chance.choice([b"null", b"NaN", b"-1", b"1e999", b"{", b'"', b"\xff", b"\x00", b",,", b"[]"])
        case 8:
            other = chance.choice(good)
            body = body[: len(body) // 2] + bytearray(other[len(other) // 2 :])
        case 9:
            body = bytearray(frame.replace(b'"p":"', chance.choice([b'"p":"-', b'"p":"NaN', b'"p":', b'"p":"0'])))
        case 10:
            body = bytearray(frame.replace(b'"q":"', b'"q":"99999999999999999999'))
        case 11:
            body = bytearray(chance.choice([b"", b"[]", b"{}", b"null", b"0", b'"text"', b"[[[[", b'{"stream":"x"}']))
        case 12:
            body = bytearray(frame.replace(b'"s":"', b'"s":"\\u0041'))
        case 13:
            body = bytearray(chance.randbytes(chance.randrange(1, 300)))
        case 14:
            body = bytearray(frame.replace(b'"e":"trade"', b'"e":"trade","x":{"y":[1,2,3]}'))
        case 15:
            body = bytearray(b"[" * 2000 + b"]" * 2000) if chance.random() < 0.01 else bytearray(frame[::-1])
    return bytes(body)


class _Sender(WSListener):
    def __init__(self, frames: Any, told: list[Any]) -> None:
        super().__init__()
        self._frames = frames
        self._told = told

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT and not self._told[0]:
            self._told[0] = asyncio.get_running_loop().create_task(self._send(transport))

    async def _send(self, transport: WSTransport) -> None:
        for number, frame in enumerate(self._frames):
            transport.send(WSMsgType.BINARY if number % 97 == 0 else WSMsgType.TEXT, frame)
            self._told[1] += 1
            self._told[2] = zlib.crc32(frame, self._told[2])
            if number % 64 == 63:
                await asyncio.sleep(0)
                while transport.underlying_transport.get_write_buffer_size() > 1 << 20:
                    await asyncio.sleep(0.005)
        self._told[3] = True


async def _nothing(request: web.Request) -> web.Response:
    body: Any = {"serverTime": 0, "symbols": []} if "exchangeInfo" in request.path else []
    return web.json_response(body)


class _Endpoints(NamedTuple):
    websocket: str
    rest: str


async def through(folder: Path, seed: int, number: int) -> Seen:
    """Send so many frames to a run and look at what it made of them."""
    told: list[Any] = [None, 0, 0, False]

    def listener(request: WSUpgradeRequest) -> WSListener:
        return _Sender(mutants(seed, number), told)

    sockets = await ws_create_server(listener, "127.0.0.1", 0)
    application = web.Application()
    application.router.add_get("/{path:.*}", _nothing)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ports = [sockets.sockets[0].getsockname()[1], site._server.sockets[0].getsockname()[1]]  # type: ignore[union-attr]
    venue: Any = _Endpoints(f"ws://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
    live = Live(folder, venue, ["BTCUSDT"], '[flow]\nhorizon = "1m"\n[flow.candles]\nintervals = ["1s", "1m"]\n')
    live.start()
    assert live.process is not None
    process = psutil.Process(live.process.pid)
    sizes = []
    while not told[3]:
        await asyncio.sleep(0.2)
        assert live.process.poll() is None, live.text()
        if told[1] > number // 4:
            sizes.append(process.memory_info().rss / 1e6)
    end = time.monotonic() + 60
    while time.monotonic() < end and live.status().get("counts", {}).get("frames", 0) < number:
        await asyncio.sleep(0.2)
    code = await asyncio.to_thread(live.stop)
    status = live.status()  # the last one: deltas that wait for a book are looked at as late as at the end
    sockets.close()
    await runner.cleanup()
    wrong = [] if code == 0 else [f"the run ended with {code}: {live.text()}"]
    return _look(live.data, told, status, sizes, wrong)


def _look(data: Path, told: list[Any], status: dict[str, Any], sizes: list[float], wrong: list[str]) -> Seen:
    count, checksum, frames = 0, 0, set()
    with TapeReader(data / "tape") as reader:
        for block in reader.blocks():
            for i in np.flatnonzero(block.kinds == Kind.FRAME).tolist():
                body = block.body(i)
                checksum = zlib.crc32(body, checksum)
                count += 1
                frames.add(zlib.crc32(body))
    if (count, checksum) != (told[1], told[2]):
        wrong.append(f"{told[1]} frames were sent, {count} are on the tape, or they differ")
    with duckdb.connect(str(data / "results.duckdb"), read_only=True) as store:
        rows = store.execute("SELECT frame, reason FROM quarantine").fetchall()
    strangers = sum(zlib.crc32(bytes(frame)) not in frames for frame, _ in rows)
    if strangers:
        wrong.append(f"{strangers} frames in quarantine were never sent")
    counts = status["counts"]
    if len(rows) != counts["quarantined"]:
        wrong.append(f"{counts['quarantined']} frames were quarantined, {len(rows)} are in the store")
    grown = (sizes[-1] - sizes[0]) if len(sizes) > 1 else 0.0
    return Seen(told[1], count, len(rows), counts["events"], counts["duplicates"], grown, wrong)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--frames", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(through(Path(folder), chosen.seed, chosen.frames))
    print(f"{seen._replace(wrong=[])}; {time.monotonic() - started:.0f} s")
    for text in seen.wrong:
        print(text[-3000:])
    sys.exit(bool(seen.wrong))


if __name__ == "__main__":
    main()
