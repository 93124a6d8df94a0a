"""The stream: frame to client of a live run, and one server with a thousand clients.

    python bench/stream.py [live] [fan] [slow] [--seconds N] [--rates 1000,10000] [--clients N]

live: a run with tape and store on, the simulated venue and a client of all trades and quotes share the machine; latency
is from our receipt of a frame to the client's receipt of its row. Beside it the same for a bare loop that sends each
message on as it comes: what sockets and processes cost. The market is one that is evenly busy then; candles of the
past are fetched at the first rate only. fan: one server, so many clients of 50 messages a second each,
none of which may be missed; `cores` is what the server used. slow: the same with as many clients that do not read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp.web
import numpy as np
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from steady import seed_of
from tapeflow import venues
from tapeflow.api.app import create
from tapeflow.api.guard import NoKeys
from tapeflow.api.hub import Hub
from tapeflow.api.limits import Limits
from tapeflow.api.server import Server
from tapeflow.api.stream import Rules, Streams
from tapeflow.api.topics import Topics
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.stores.results import Results
from tapeflow.stores.swapped import SwappedResults

SYMBOLS = 50
_RECV = re.compile(rb'"ts_recv":(\d+)')


def now_us() -> int:
    return time.time_ns() // 1000


class Follower(WSListener):  # type: ignore[misc]
    """Counts what comes, how late it is, and whether any was missed."""

    def __init__(self, requests: list[dict[str, Any]], found: list[int]) -> None:
        self._requests, self._found = requests, found
        self._last: dict[bytes, bytes] = {}
        self.messages = self.missed = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        for request in self._requests:
            transport.send(WSMsgType.TEXT, json.dumps(request).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        if not payload.startswith(b'{"type":"update"'):
            return
        self.messages += 1
        at = now_us()
        head, _, rows = payload.partition(b',"data":[')
        self._found += [at - int(ts) for ts in _RECV.findall(rows)]
        if b'"channel":"trades"' in head:
            key = head[head.find(b'"symbol":"') : head.find(b'"prev":"')]
            prev, _, cursor = head.partition(b'"prev":"')[2].partition(b'","cursor":"')
            if self._last.get(key, prev) != prev:
                self.missed += 1
            self._last[key] = cursor[:-1]


def subscribe(channel: str, symbols: list[str]) -> dict[str, Any]:
    return {"method": "subscribe", "params": {"channel": channel, "symbols": symbols, "snapshot": 0}, "req_id": 1}


def told(what: str, late: list[int], more: str) -> None:
    p50, p99, p999 = np.percentile(np.array(late) / 1000, [50, 99, 99.9]) if late else (0.0, 0.0, 0.0)
    print(f"{what}: p50 {p50:6.2f}, p99 {p99:6.2f}, p99.9 {p999:6.2f} ms; {more}", flush=True)


# -- a live run ---------------------------------------------------------------------------------------------------


def live(rate: float, seconds: float, *, has_past: bool) -> None:
    command = [sys.executable, "-m", "tapeflow", "simulate", "binance", "--port", "0", "--days", "1"]
    trades, symbols = rate, 40  # a quiet minute and quotes between make about so many frames of it
    command += ["--rate", str(trades), "--symbols", str(symbols), "--seed", str(seed_of(trades, symbols))]
    venue = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert venue.stdout is not None
    there = json.loads(venue.stdout.readline())
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "run.toml"
        settings.write_text(
            f'symbols = {json.dumps(there["symbols"])}\n[endpoints]\nwebsocket = "{there["websocket"]}"\n'
            f'rest = "{there["rest"]}"\n[api]\nport = 0\n{"" if has_past else "[feed]" + chr(10) + "history = 0"}'
        )
        run = subprocess.Popen([sys.executable, "-m", "tapeflow", "run", str(settings)], stderr=subprocess.DEVNULL)
        try:
            asyncio.run(_follow(Path(folder) / "data" / "status.json", seconds))
        finally:
            for process in (run, venue):
                process.terminate()
                process.wait()


async def _follow(status: Path, seconds: float) -> None:
    while not (status.exists() and json.loads(status.read_bytes()).get("api") and _is_going(status)):
        await asyncio.sleep(0.2)
    found: list[int] = []
    url = json.loads(status.read_bytes())["api"].replace("http", "ws")
    follower = Follower([subscribe("trades", ["*"]), subscribe("quotes", ["*"])], found)
    await ws_connect(lambda: follower, f"{url}/v1/stream")
    began = time.monotonic()
    while json.loads(status.read_bytes())["history_waiting"]:
        await asyncio.sleep(0.5)
    if found and time.monotonic() - began > 2:
        told(f"while the past is fetched, {time.monotonic() - began:.0f} s", found, "")
    await asyncio.sleep(8)
    found.clear()
    before = json.loads(status.read_bytes())
    await asyncio.sleep(seconds)
    after = json.loads(status.read_bytes())
    took = after["uptime_s"] - before["uptime_s"]
    frames = (after["counts"]["frames"] - before["counts"]["frames"]) / took
    cores = _cpu(after["pid"]) / after["uptime_s"]
    more = f"{len(found) / seconds:,.0f} rows/s to the client, {follower.missed} missed, {cores:.2f} cores"
    told(f"{frames:8,.0f} frames/s, frame to client", found, more)


def _is_going(status: Path) -> bool:
    found = json.loads(status.read_bytes())
    return bool(found["is_live"]) and any(c["frames"] > 100 for c in found["connections"])


def _cpu(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- one server, many clients -------------------------------------------------------------------------------------


def serve(pipe: Any, per_s: int) -> None:
    """A server over rows made at a steady pace; sends its address, then what it used for each word it gets."""
    names = [f"S{n}USDT" for n in range(SYMBOLS)]
    made = Builder("fan")
    made.trades()
    flow = made.build()
    sink = SwappedResults(
        lambda: Results(flow, "binance", ("trades",), price_scale=8, size_scale=8, all_revisions=True, numbered=True)
    )
    engine = Engine(flow, venues.create("binance"), sink, channels=("trades",), of_tape=True)

    class Past:
        def epoch(self, _: Any) -> str:
            return "bench"

        async def ready(self) -> None: ...

        async def since(self, topic: Any, first: int, limit: int) -> list[tuple[int, bytes]]:
            return []

        async def number(self, topic: Any) -> int:
            return 0

        async def forming_rows(self, topic: Any) -> list[bytes]:
            return []

    hub = Hub("binance", Past(), lambda _: None)
    rules = Rules(Topics(flow, "binance"), lambda: names, dict, lambda _: None)
    streams = Streams(hub, rules)
    limits = Limits(connections=1 << 20, connections_per_address=1 << 20, requests_per_s=1e9)

    class Source:
        venue, channels, intervals, scales = "binance", ("trades",), (), (8, 8)

        def status(self) -> dict[str, Any]:
            return {}

    server = Server(create(Source(), limits), "127.0.0.1", 0, limits=limits, keys=NoKeys(), streams=streams)  # type: ignore[arg-type]
    server.start()
    pipe.send(server.address)
    is_ending = threading.Event()

    def make() -> None:
        id, due = 0, time.monotonic()
        while not is_ending.is_set():
            id += 1
            due += 1 / (per_s * 1.0)
            time.sleep(max(0.0, due - time.monotonic()))
            at = now_us()
            row = {"e": "trade", "E": at, "s": names[id % SYMBOLS], "t": id // SYMBOLS + 1, "p": "1.5", "q": "2"}
            row |= {"T": at, "m": False, "M": True}
            engine.feed(Frames.of([(now_us(), json.dumps(row).encode())]))
            engine.flush()
            hub.offer(sink.take(engine.symbols), False)

    sys.setswitchinterval(0.001)
    threading.Thread(target=make, daemon=True).start()
    while pipe.recv() == "used":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, hub.sent, hub.resets))
    is_ending.set()
    os._exit(0)


def fan(clients: int, seconds: float, slow: int = 0) -> None:
    ours, theirs = mp.get_context("spawn").Pipe()
    process = mp.get_context("spawn").Process(target=serve, args=(theirs, SYMBOLS), daemon=True)
    process.start()
    url = ours.recv()
    sleepers = [_sleeper(url) for _ in range(slow)]
    try:
        asyncio.run(_fan(url, ours, clients, seconds, slow))
    finally:
        for sleeper in sleepers:
            sleeper.close()
        ours.send("end")
        process.join(5)
        process.kill()


async def _fan(url: str, pipe: Any, clients: int, seconds: float, slow: int) -> None:
    found: list[int] = []
    names = [f"S{n}USDT" for n in range(SYMBOLS)]
    followers = [Follower([subscribe("trades", names)], found) for _ in range(clients)]
    for at in range(0, clients, 50):
        ws = f"{url.replace('http', 'ws')}/v1/stream"
        await asyncio.gather(*(ws_connect(lambda f=f: f, ws) for f in followers[at : at + 50]))  # type: ignore[misc]
    await asyncio.sleep(5)
    found.clear()
    had = sum(f.messages for f in followers)
    pipe.send("used")
    began, started = pipe.recv(), time.monotonic()
    await asyncio.sleep(seconds)
    pipe.send("used")
    used, took = pipe.recv(), time.monotonic() - started
    got = (sum(f.messages for f in followers) - had) / took
    missed = sum(f.missed for f in followers)
    beside = f" beside {slow} that do not read" if slow else ""
    more = f"{got:,.0f} messages/s got, {missed} missed, {(used[0] - began[0]) / took:.2f} cores, {used[1]:.0f} MB"
    told(f"{clients} clients{beside}, row made to client", found, f"{more}, {used[3]} resets")


def _sleeper(url: str) -> socket.socket:
    """A client that follows everything and never reads."""
    host, port = url.removeprefix("http://").split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect((host, int(port)))
    head = f"GET /v1/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    made.sendall(f"{head}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    payload = json.dumps(subscribe("trades", ["*"])).encode()
    made.sendall(b"\x81" + bytes([0x80 | len(payload)]) + b"\0\0\0\0" + payload)
    return made


# -- what limits it -----------------------------------------------------------------------------------------------


async def _bare(rate: int, seconds: float) -> None:
    """A message each 1/rate s through two sockets of one loop, as a venue, a feed and a client have them."""
    late: list[int] = []

    async def echo(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        ws = aiohttp.web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(message.data)
        return ws

    app = aiohttp.web.Application()
    app.router.add_get("/", echo)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/") as ws:

        async def read() -> None:
            async for message in ws:
                late.extend([now_us() - int(message.data)])

        reading = asyncio.create_task(read())
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for _ in range(max(1, rate // 200)):
                await ws.send_str(str(now_us()))
            await asyncio.sleep(0.005)
        reading.cancel()
    await runner.cleanup()
    told(f"{rate:8,} messages/s through a bare loop (baseline)", late, f"{len(late) / seconds:,.0f} got")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", nargs="*", default=["live", "fan", "slow"])
    options.add_argument("--seconds", type=float, default=15)
    options.add_argument("--rates", default="1000,10000")
    options.add_argument("--clients", type=int, default=1000)
    chosen = options.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if "live" in chosen.what:
        for number, rate in enumerate(map(float, chosen.rates.split(","))):
            asyncio.run(_bare(int(rate), 3))
            live(rate, chosen.seconds, has_past=number == 0)
    if "fan" in chosen.what:
        fan(chosen.clients, chosen.seconds)
    if "slow" in chosen.what:
        fan(100, chosen.seconds)
        fan(100, chosen.seconds, chosen.clients)


if __name__ == "__main__":
    main()
