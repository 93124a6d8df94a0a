"""A live run against the simulated venue on loopback: frame to committed row, and how much it sustains.

    python bench/live.py [--seconds N] [--rates 700,7000] [--symbols N]

The venue is a process of its own; both share the machine. Latency is from the receipt of a frame to the end of the
transaction that holds its rows and its position. The ratio is against a process that only receives: the same client
without tape, engine and store.
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

from tapeflow.app.run import Run
from tapeflow.settings import EndpointSettings, RunSettings
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Kind


def venue(rate: float, symbols: int) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    command = [sys.executable, "-m", "tapeflow", "simulate", "binance", "--port", "0", "--days", "1"]
    process = subprocess.Popen([*command, "--rate", str(rate), "--symbols", str(symbols)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


async def capture(folder: Path, told: dict[str, Any], seconds: float) -> tuple[list[tuple[int, int]], dict[str, Any]]:
    """Run for some time; (position, monotonic microseconds) of each commit, and the last status."""
    settings = RunSettings(
        symbols=tuple(told["symbols"]),
        data=str(folder),
        endpoints=EndpointSettings(websocket=told["websocket"], rest=told["rest"]),
    )
    run = Run(settings, lambda text: None)
    commits: list[tuple[int, int]] = []
    task = asyncio.create_task(run.run())
    await asyncio.sleep(0.5)
    plain = run.store.commit

    def commit(results: Any, position: int, **more: Any) -> int:
        rows = plain(results, position, **more)
        commits.append((position, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000))
        return rows

    run.store.commit = commit  # type: ignore[method-assign]
    await asyncio.sleep(seconds)
    status = run.status()
    run.stop()
    await task
    return commits, status


def latencies(folder: Path, commits: list[tuple[int, int]], skip_s: float) -> np.ndarray[Any, Any]:
    """Milliseconds from receipt to commit of each frame, but for the first seconds."""
    positions = np.array([position for position, _ in commits])
    times = np.array([at for _, at in commits])
    found, first = [], None
    for block in TapeReader(folder / "tape").blocks():
        first = int(block.mono[0]) if first is None else first
        frames = np.flatnonzero(block.kinds == Kind.FRAME)
        at = np.searchsorted(positions, block.first + frames, "right")
        inside = (at < len(times)) & (at > 0) & (block.mono[frames] > first + skip_s * 1e6)
        found.append((times[at[inside]] - block.mono[frames][inside]) / 1000)
    return np.concatenate(found)


def measure(rate: float, symbols: int, seconds: float) -> None:
    process, told = venue(rate, symbols)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            began = resource.getrusage(resource.RUSAGE_SELF)
            commits, status = asyncio.run(capture(folder, told, seconds))
            used = resource.getrusage(resource.RUSAGE_SELF)
            ms = latencies(folder, commits, 3.0)
            p50, p99, p999 = np.percentile(ms, [50, 99, 99.9])
            cpu = (used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime) / seconds
            frames = sum(c["frames"] for c in status["connections"]) / seconds
            behind = status["position"] - status["committed"]
            print(
                f"{frames:8,.0f} frames/s of {symbols} symbols: frame to committed row p50 {p50:6.1f}, p99 {p99:6.1f}, "
                f"p99.9 {p999:6.1f} ms; {cpu:.2f} cores; {behind} records behind at the end; "
                f"{used.ru_maxrss / 1024:.0f} MB"
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
    sys.setswitchinterval(0.001)  # as the command does
    for rate in chosen.rates.split(","):
        measure(float(rate), chosen.symbols, chosen.seconds)


if __name__ == "__main__":
    main()
