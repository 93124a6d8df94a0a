"""Memory of a live run over hours of an accelerated market with many symbols.

    python bench/memory.py [--minutes N] [--symbols N] [--speed N] [--rate N]

The venue's clock runs so many times faster than ours. Prints the size of the run every half minute: it must become flat
once a horizon (here ten minutes of the market) is over.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SETTINGS = """
data = "data"
symbols = {symbols}
[endpoints]
websocket = "{websocket}"
rest = "{rest}"
[feed]
history = 0
[store]
channels = ["candles", "moving_average", "indicators", "coverage", "late", "quarantine"]
[flow]
horizon = "10m"
[flow.candles]
[[flow.moving_average]]
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=15)
    options.add_argument("--symbols", type=int, default=500)
    options.add_argument("--speed", type=float, default=8)
    options.add_argument("--rate", type=float, default=20)
    chosen = options.parse_args()
    command = [sys.executable, "-m", "tapeflow", "simulate", "binance", "--port", "0", "--days", "1"]
    command += ["--rate", str(chosen.rate), "--symbols", str(chosen.symbols), "--speed", str(chosen.speed)]
    venue = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert venue.stdout is not None
    told = json.loads(venue.stdout.readline())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told["symbols"] = json.dumps(told["symbols"])
        (folder / "run.toml").write_text(SETTINGS.format(**told))
        run = subprocess.Popen(
            [sys.executable, "-m", "tapeflow", "run", str(folder / "run.toml")], stderr=subprocess.DEVNULL
        )
        try:
            watch(run, folder / "data" / "status.json", chosen.minutes * 60, chosen.speed)
        finally:
            run.terminate()
            run.wait()
            venue.terminate()
            venue.wait()


def watch(run: subprocess.Popen[bytes], status: Path, seconds: float, speed: float) -> None:
    process = psutil.Process(run.pid)
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        time.sleep(min(30.0, seconds / 8))
        now = json.loads(status.read_bytes())
        past = time.monotonic() - started
        print(
            f"{past:4.0f} s, {past * speed / 3600:5.1f} h of market: {process.memory_info().rss / 1e6:5.0f} MB, "
            f"{now['counts']['frames']:9,} frames, {now['symbols']} symbols, "
            f"{now['position'] - now['committed']} behind, late {now['counts']['late']}, holes {now['holes']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
