"""Numba or C: both kernels over the same lines, call by call: ``pip install numba ziglang``, then run this file.

Ratios are within one run on one pinned core, medians of several. What they decided: docs/adr/0001-kernel-in-c.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numba_kernel
import numpy as np

from tapeflow import venues
from tapeflow.engine import columns
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import split
from tapeflow.flow.builder import Builder

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KERNEL = ROOT / "src" / "tapeflow" / "engine" / "kernel"
LATENESS_US = 2_000_000
START = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
NUMBA_START = (
    f"import sys; sys.path.insert(0, {str(HERE)!r}); import numpy as np, numba_kernel as k; "
    "k.feed(np.zeros(200, np.uint8), np.zeros((1, 3), np.int64), 0, 1, 0, k.state())"
)


class Nothing:
    """A sink that lets all rows go."""

    def columns(self, channel: str, rows: object) -> None: ...
    def rows(self, channel: str, rows: object) -> None: ...
    def retract(self, symbol: str) -> None: ...


def compiled_c(buffer: bytes, lines: np.ndarray) -> tuple[Callable[[int], None], Callable[[], tuple[int, ...]]]:
    """A run over all lines in batches of n by the package's kernel, and what came out."""
    builder = Builder("choice")
    builder.trades().candles("1s")
    builder.trades().moving_average("3s", "500ms")
    packed, found = lines.tobytes(), [0, 0, 0]

    def run(batch: int) -> None:
        engine = Engine(builder.build(), venues.create("binance"), Nothing(), channels=("candles", "moving_average"))
        intake, windows = engine._intake, engine._windows
        read, add = intake.read, windows.add
        candles = means = 0
        for at in range(0, len(lines), batch):
            read(buffer, packed, at, min(at + batch, len(lines)))
            if add(intake) > 1 << 14:
                candles += len(windows.take_candles()) // columns.CANDLE_ROW.itemsize
                means += len(windows.take_means()) // columns.MEAN_ROW.itemsize
        candles += len(windows.take_candles()) // columns.CANDLE_ROW.itemsize
        means += len(windows.take_means()) // columns.MEAN_ROW.itemsize
        found[:] = candles, means, intake.counts()[1]

    return run, lambda: tuple(found)


def compiled_numba(buffer: bytes, lines: np.ndarray) -> tuple[Callable[[int], None], Callable[[], tuple[int, ...]]]:
    """The same by numba; the rows stay in a ring that a sink would read."""
    data, table = np.frombuffer(buffer, np.uint8), np.ascontiguousarray(lines.view(np.int64).reshape(-1, 3))
    found = [0, 0, 0]

    def run(batch: int) -> None:
        state, feed = numba_kernel.state(), numba_kernel.feed
        for at in range(0, len(table), batch):
            feed(data, table, at, min(at + batch, len(table)), LATENESS_US, state)
        found[:] = state[0][1:4].tolist()

    return run, lambda: tuple(found)


def rates(n: int, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trades.ndjson"
        maker = [sys.executable, str(HERE.parent / "make_input.py"), str(path), "-n", str(n), "--symbols", "50"]
        subprocess.run(maker, check=True, stdout=subprocess.DEVNULL)
        buffer = path.read_bytes()
    parts, at = [], 0
    while at < len(buffer):
        part, at = split(buffer, at, last=True)
        parts.append(part)
    lines = np.concatenate(parts)
    ways = {"c": compiled_c(buffer, lines), "numba": compiled_numba(buffer, lines)}
    for run, _ in ways.values():
        run(1000)
    print(f"rows (candles, means, duplicates): {', '.join(f'{name} {out()}' for name, (_, out) in ways.items())}")
    print("batch      C M/s   numba M/s   C to numba")
    for batch in (1, 100, 1000, 10_000):
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, (run, _) in ways.items():
                began = time.perf_counter()
                run(batch)
                times[name].append(time.perf_counter() - began)
        c, numba = (n / statistics.median(times[name]) / 1e6 for name in ("c", "numba"))
        print(f"{batch:>6}  {c:8.2f}   {numba:9.2f}   {c / numba:8.2f}x", flush=True)


def start_times() -> None:
    def timed(code: str, cache: str) -> float:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-c", START.format(code.replace("; ", "\n").replace("\n", "; "))]
        return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)

    with tempfile.TemporaryDirectory() as cache:
        cold = timed(NUMBA_START, cache)
        warm = statistics.median(timed(NUMBA_START, cache) for _ in range(3))
        numpy_only = statistics.median(timed("import numpy", cache) for _ in range(5))
        c = statistics.median(timed("import numpy; from tapeflow.engine import _kernel", cache) for _ in range(5))
    print(f"start, s: numpy alone {numpy_only:.2f}, with C {c:.2f}, with numba {warm:.2f} warm and {cold:.2f} cold")


def sizes_and_builds() -> None:
    packages = Path(sysconfig.get_paths()["purelib"])
    installed = sum(
        file.stat().st_size
        for name in ("numba", "llvmlite")
        for folder in packages.glob(f"{name}*")
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    print(f"installed: numba and llvmlite {installed / 1e6:.0f} MB")
    include = sysconfig.get_paths()["include"]
    flags = ["-O3", "-std=gnu11", "-fno-strict-aliasing", "-fPIC", "-shared", f"-I{include}"]
    sources = [str(path) for path in sorted(KERNEL.glob("*.c"))]
    zig = [sys.executable, "-m", "ziglang", "cc"]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": f"{folder}/g", "ZIG_LOCAL_CACHE_DIR": f"{folder}/l"}
        for name, compiler in (("gcc", ["gcc"]), ("zig, first time", zig), ("zig", zig)):
            if shutil.which(compiler[0]) is None:
                continue
            target = Path(folder) / "kernel.so"
            shutil.rmtree(f"{folder}/l", ignore_errors=True)
            began = time.perf_counter()
            command = [*compiler, *flags, *sources, "-o", str(target)]
            done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
            took = time.perf_counter() - began
            if done.returncode:
                print(f"{name}: does not build: {done.stderr.strip().splitlines()[-1:]}")
                continue
            whole = target.stat().st_size
            subprocess.run(["strip", str(target)], check=False)
            print(
                f"{name}: {took:.1f} s, {whole / 1e3:.0f} kB, stripped {target.stat().st_size / 1e3:.0f} kB", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rates(args.n, args.repeats)
    start_times()
    sizes_and_builds()


if __name__ == "__main__":
    main()
