"""R1 as a user starts it, and how long a frame takes to a client of its stream.

    PYTHONPATH=tests python -m cluster.r1 [--guarantee at_least_once] [--seconds 30]

The latency of a row of the moving average is the time from the receipt of the newest frame in it to its arrival by
WebSocket. `recipe run` knows exactly once only; for the other guarantee its parts are started one by one here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from servers import CACHE
from tapeflow.stack.plan import is_running
from tapeflow.stack.service import Place
from tapeflow.stack.stack import Stack

KLINES, MEANS = "crypto_kline_data", "crypto_data_aggregated"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
WINDOW_US, SLIDE_US = 3_000_000, 500_000
#: From nothing to a page, on a loaded machine.
START_S, STOP_S = 400.0, 180.0

Row = dict[str, Any]


class Recipe:
    """``tapeflow recipe run r1 --no-browser`` in a folder, as a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "r1"
        self.said = folder / "said"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, wait for the address of the page."""
        command = [sys.executable, "-m", "tapeflow", "recipe", "run", "r1", "--no-browser", "--port", str(self._port)]
        named = ("TAPEFLOW_KAFKA", "TAPEFLOW_FLINK", "TAPEFLOW_POSTGRES")
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [*command, "--data", str(self.folder), "--cache", str(CACHE)], stdout=subprocess.PIPE, stderr=said,
                env={name: value for name, value in os.environ.items() if name not in named}, start_new_session=True,
            )  # fmt: skip
        patience = threading.Timer(START_S, self.process.kill)
        patience.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        patience.cancel()
        assert line.strip() == f"{self.address}/", self.said.read_text()

    @property
    def bootstrap(self) -> str:
        return self.stack.variables()["TAPEFLOW_KAFKA"]

    @property
    def stack(self) -> Stack:
        return Stack(Place(self.folder / "stack", CACHE))

    def stop(self) -> int:
        """Ctrl-C."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)

    def processes(self) -> list[str]:
        """What would be left behind: what names the folder, and what is of the session."""
        assert self.process is not None
        found, folder = [], str(self.folder).encode()
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) not in (os.getpid(), self.process.pid):
                with contextlib.suppress(OSError):
                    command, own = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
                    if folder in command + own or os.getsid(int(path.name)) == self.process.pid:
                        found.append(command.replace(b"\0", b" ").decode("utf-8", "replace")[:200])
        return found

    def end(self) -> None:
        """End all of it, whatever state it is in."""
        if self.process is not None:
            if self.process.poll() is None:
                try:
                    self.stop()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
        if any(map(is_running, self.stack.servers())):
            self.stack.down(lambda _: None)


# -- values ----------------------------------------------------------------------------------------------------


def means_of(pushes: Sequence[Row]) -> dict[tuple[str, int], tuple[float, int]]:
    """The mean of each closed window, by brute force over the topic of klines.

    Not those that the first push cuts, nor those that no time row has closed yet.
    """
    found: dict[tuple[str, int], tuple[float, int]] = {}
    for symbol in {row["symbol"] for row in pushes}:
        own = [row for row in pushes if row["symbol"] == symbol]
        events = [(row["ts_event"], Decimal(row["close"])) for row in own if row.get("ts_event") is not None]
        closed_us = max((row["ts_watermark"] for row in own if "ts_event" not in row), default=0)
        held: dict[int, list[Decimal]] = defaultdict(list)
        for ts, close in events:
            for start in range(ts // SLIDE_US * SLIDE_US, ts - WINDOW_US, -SLIDE_US):
                held[start].append(close)
        for start, closes in held.items():
            if start > min(ts for ts, _ in events) and start + WINDOW_US <= closed_us:
                # The contract: the float nearest to the exact sum, by the count.
                found[symbol, start] = (float(sum(closes)) / len(closes), len(closes))
    return found


def closed(rows: Sequence[Row]) -> dict[tuple[str, int], tuple[float, int]]:
    """The last row of each closed window in the topic of means."""
    return {(row["symbol"], row["ts_start"]): (row["mean"], row["count"]) for row in rows if row["closed"]}


# -- latency ---------------------------------------------------------------------------------------------------


async def arrivals(address: str, seconds: float) -> dict[tuple[str, int, int], int]:
    """When each (symbol, start, count) of a forming window came first, in microseconds."""
    found: dict[tuple[str, int, int], int] = {}
    params = {"channel": "moving_average.forming", "symbols": list(SYMBOLS)}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/v1/stream") as ws:
        await ws.send_json({"method": "subscribe", "params": params, "req_id": 1})
        end = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while time.monotonic() < end:
                    message = await ws.receive_json()
                    now = time.time_ns() // 1000
                    if message["type"] == "update":
                        for row in message["data"]:
                            found.setdefault((row["symbol"], row["ts_start"], row["count"]), now)
    return found


def latencies(arrived: dict[tuple[str, int, int], int], pushes: Sequence[Row]) -> list[float]:
    """Milliseconds from the receipt of the newest push in a row to the row's arrival, sorted.

    Not of rows that were there before the first came: a client is given the open windows as they stand.
    """
    began = min(arrived.values(), default=0)
    received: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row in pushes:
        if row.get("ts_event") is not None and row.get("ts_recv") is not None:
            for start in range(row["ts_event"] // SLIDE_US * SLIDE_US, row["ts_event"] - WINDOW_US, -SLIDE_US):
                received[row["symbol"], start].append(row["ts_recv"])
    return sorted(
        (now - received[symbol, start][count - 1]) / 1000
        for (symbol, start, count), now in arrived.items()
        if len(received[symbol, start]) >= count and received[symbol, start][count - 1] > began
    )


def in_words(guarantee: str, found: Sequence[float]) -> str:
    """Percentiles."""
    if not found:
        return f"{guarantee}: no row"
    at = {part: found[min(len(found) - 1, int(len(found) * part / 100))] for part in (50, 90, 99)}
    told = ", ".join(f"p{part} {ms:.0f} ms" for part, ms in at.items())
    return f"frame to client, {guarantee}: {told}, worst {found[-1]:.0f} ms, of {len(found)} rows"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that servers of another user can enter."""
    made = Path(tempfile.mkdtemp(prefix="tapeflow-r1-"))
    made.chmod(0o755)  # under root the user postgres must enter it
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main() -> None:
    from cluster.cluster import rows  # noqa: PLC0415 - only the command needs it here

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--guarantee", default="exactly_once", choices=("exactly_once", "at_least_once"))
    options.add_argument("--seconds", type=float, default=30.0)
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    with folder() as made:
        recipe = Recipe(made)
        try:
            recipe.start()
            if chosen.guarantee != "exactly_once":
                change(recipe, chosen.guarantee)
            found = asyncio.run(arrivals(recipe.address, chosen.seconds))
            print(in_words(chosen.guarantee, latencies(found, rows(recipe.bootstrap, KLINES))), flush=True)
        finally:
            recipe.end()
        print(f"left: {recipe.processes()}")


def change(recipe: Recipe, guarantee: str) -> None:
    """Put a job of another guarantee in the place of the recipe's; what reads its topics goes on."""
    config = recipe.folder / "run.toml"
    text = config.read_text().replace('guarantee = "exactly_once"\n', "")
    other = config.with_name("other.toml")
    other.write_text(text.replace("[flink]\n", f'[flink]\nguarantee = "{guarantee}"\n'))
    assert guarantee in other.read_text()
    command = [sys.executable, "-m", "tapeflow", "submit", str(other), "--anew", "--cache", str(CACHE)]
    done = subprocess.run(
        command, env=os.environ | recipe.stack.variables(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(json.dumps({"job": done.stdout.strip()}), flush=True)
    time.sleep(10)  # it has read what the topic holds


if __name__ == "__main__":
    main()
