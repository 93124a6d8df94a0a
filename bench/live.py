"""A live run against the simulated venue on loopback: frame to committed row, and how much it sustains.

    python bench/live.py [--seconds N] [--rates 700,7000] [--symbols N]

The venue is a process of its own; both share the machine. Latency is from the receipt of a frame to the end of the
transaction that holds its rows and its position; candles of the past are fetched at the first rate only, and the market
is one that is evenly busy then. The ratio is against a process that only receives: the same client without tape, engine
and store.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from steady import seed_of
from tapeflow.app.run import Run
from tapeflow.cli.even import even
from tapeflow.settings import EndpointSettings, FeedFileSettings, RunSettings
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Kind


def venue(rate: float, symbols: int) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    command = [sys.executable, "-m", "tapeflow", "simulate", "binance", "--port", "0", "--days", "1"]
    command += ["--rate", str(rate), "--symbols", str(symbols), "--seed", str(seed_of(rate, symbols))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


Captured = tuple[list[tuple[int, int]], int, dict[str, Any], float]


async def capture(folder: Path, told: dict[str, Any], seconds: float, *, has_past: bool) -> Captured:
    """Run for some time once the past is there.

    (position, monotonic microseconds) of each commit, since when it counts, the last status, and cores used.
    """
    settings = RunSettings(
        symbols=tuple(told["symbols"]),
        data=str(folder),
        endpoints=EndpointSettings(websocket=told["websocket"], rest=told["rest"]),
        feed=FeedFileSettings() if has_past else FeedFileSettings(history=0),
    )
    run = Run(settings, lambda text: None)
    commits: list[tuple[int, int]] = []
    task = asyncio.create_task(run.run())
    await asyncio.sleep(0.5)
    plain = run.store.commit

    def commit(results: Any, position: int, **more: Any) -> int:
        rows = plain(results, position, **more)
        commits.append((position, boot_us()))
        return rows

    run.store.commit = commit  # type: ignore[method-assign]
    while not run.pipeline.progress.is_live or run.status()["history_waiting"]:
        await asyncio.sleep(0.5)
    await asyncio.sleep(3)
    since, began = boot_us(), cpu_s()
    await asyncio.sleep(seconds)
    status, used = run.status(), cpu_s() - began
    run.stop()
    await task
    return commits, since, status, used / seconds


def boot_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def latencies(folder: Path, commits: list[tuple[int, int]], since: int) -> np.ndarray[Any, Any]:
    """Milliseconds from receipt to commit of each frame that came after ``since``."""
    positions = np.array([position for position, _ in commits])
    times = np.array([at for _, at in commits])
    found = []
    for block in TapeReader(folder / "tape").blocks():
        frames = np.flatnonzero(block.kinds == Kind.FRAME)
        at = np.searchsorted(positions, block.first + frames, "right")
        inside = (at < len(times)) & (at > 0) & (block.mono[frames] > since)
        found.append((times[at[inside]] - block.mono[frames][inside]) / 1000)
    return np.concatenate(found)


def measure(rate: float, symbols: int, seconds: float, *, has_past: bool) -> None:
    process, told = venue(rate, symbols)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            commits, since, status, cores = asyncio.run(capture(folder, told, seconds, has_past=has_past))
            ms = latencies(folder, commits, since)
            p50, p99, p999 = np.percentile(ms, [50, 99, 99.9])
            frames = len(ms) / seconds
            behind = status["position"] - status["committed"]
            print(
                f"{frames:8,.0f} frames/s of {symbols} symbols: frame to committed row p50 {p50:6.1f}, p99 {p99:6.1f}, "
                f"p99.9 {p999:6.1f} ms; {cores:.2f} cores; {behind} records behind at the end; "
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
            )
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--rates", default="500,5000")
    options.add_argument("--symbols", type=int, default=20)
    chosen = options.parse_args()
    even()
    for number, rate in enumerate(chosen.rates.split(",")):
        measure(float(rate), chosen.symbols, chosen.seconds, has_past=number == 0)


if __name__ == "__main__":
    main()
