"""All benchmarks: ``python bench/run.py [--quick] [--only NAME ...]``; nothing is written into the repository.

Every figure stands beside the plain Python loop of ``baseline.py`` over the same input in the same run, all on one
pinned core: on another machine the ratios stay, the figures do not. Inputs are kept in a temporary folder.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from make_input import START_US, draw, names, running, trades_ndjson
from tapeflow import venues
from tapeflow.app.replay import replay
from tapeflow.engine.columns import TRADE, BookRows
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames, split
from tapeflow.engine.results import StepRow
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow

HERE = Path(__file__).resolve().parent
CACHE = Path(tempfile.gettempdir()) / "tapeflow-bench"
RECORDINGS = (HERE.parent / os.environ.get("TAPEFLOW_RECORDINGS", "../shared/data/wire")).resolve() / "binance"
SPOT = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")
SYMBOLS = 50
COLUMN_BATCH = 10_000
#: Trades a second of each symbol where the number of symbols varies: so the rows per trade do not.
RATE = 5


class Nothing:
    """A sink that counts rows and lets them go."""

    def __init__(self) -> None:
        self.n = 0

    def columns(self, channel: str, rows: Any) -> None:
        self.n += len(rows)

    def books(self, rows: BookRows) -> None:
        self.n += len(rows.rows)

    def steps(self, rows: list[StepRow]) -> None:
        self.n += len(rows)

    def rows(self, channel: str, rows: list[dict[str, Any]]) -> None:
        self.n += len(rows)

    def retract(self, symbol: str) -> None: ...


# -- what is measured with --------------------------------------------------------------------------------------


def job_flow() -> Flow:
    builder = Builder("bench")
    builder.trades().candles("1s")
    builder.trades().moving_average("3s", "500ms")
    return builder.build()


def new_engine(sink: Nothing) -> Engine:
    return Engine(job_flow(), venues.create("binance"), sink, channels=("candles", "moving_average"))


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def medians(repeats: int, ways: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Each way in turn, so that what disturbs the machine disturbs all alike; the median of each."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            found[name].append(way())
    return {name: statistics.median(times) for name, times in found.items()}


def cached(name: str, pieces: Callable[[], Iterator[bytes]]) -> Path:
    path = CACHE / name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.writelines(pieces())
        part.replace(path)
    return path


def zipf_input(n: int) -> Path:
    return cached(f"trades-{n}-{SYMBOLS}.ndjson", lambda: trades_ndjson(n, SYMBOLS))


def line(what: str, value: str, ratio: str, goal: str) -> None:
    print(f"{what:<46}{value:>16}{ratio:>12}   {goal}", flush=True)


def loop(path: Path, out: Path) -> list[str]:
    return [sys.executable, str(HERE / "baseline.py"), str(path), str(out)]


# -- 1: JSON to Parquet --------------------------------------------------------------------------------------------


def from_json(n: int, repeats: int) -> None:
    path = zipf_input(n)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        ways: dict[str, Callable[[], float]] = {"loop": lambda: seconds(loop(path, out / "loop"))}
        for batch in (1000, 100, 1):
            command = [sys.executable, str(HERE / "job.py"), str(path), str(out / str(batch)), str(batch)]
            ways[f"batches of {batch}"] = lambda command=command: seconds(command)
        found = medians(repeats, ways)
    line("JSON to Parquet: loop, k trades/s", f"{n / found['loop'] / 1e3:,.0f}", "1.00x", "")
    for batch, goal in ((1000, 3.7), (100, 1), (1, 1)):
        took = found[f"batches of {batch}"]
        line(f"  batches of {batch}", f"{n / took / 1e3:,.0f}", f"{found['loop'] / took:.2f}x", f"goal {goal}x")


# -- 2: columns ----------------------------------------------------------------------------------------------------


def frames_of(data: bytes) -> Iterator[Frames]:
    at = 0
    while at < len(data):
        lines, at = split(data, at, last=True)
        yield Frames(data, lines)


def packed_trades(path: Path) -> tuple[np.ndarray, list[str]]:
    """The trades of a file as packed columns, and the names of their symbols."""
    kept: list[np.ndarray] = []

    class Keep(Nothing):
        def columns(self, channel: str, rows: Any) -> None:
            kept.append(rows)

    builder = Builder("columns")
    builder.trades()
    engine = Engine(builder.build(), venues.create("binance"), Keep(), channels=("trades",))
    for frames in frames_of(path.read_bytes()):
        engine.feed(frames)
    engine.flush()
    return np.concatenate(kept), engine.symbols


def feed_columns(engine: Engine, trades: bytes, batch: int) -> None:
    view, step = memoryview(trades), batch * TRADE.itemsize
    intake, windows = engine._intake, engine._windows
    for at in range(0, len(view), step):
        intake.put_all(view[at : at + step])
        if windows.add(intake) > 1 << 14:
            engine._give_windows()


def from_columns(n: int, repeats: int) -> None:
    path = zipf_input(n)
    trades, symbols = packed_trades(path)
    data = trades.tobytes()

    def ours() -> float:
        engine = new_engine(Nothing())
        for symbol in symbols:
            engine._intake.symbol(symbol)
        return timed(lambda: feed_columns(engine, data, COLUMN_BATCH))

    ours()
    with tempfile.TemporaryDirectory() as out:
        found = medians(repeats, {"loop": lambda: seconds(loop(path, Path(out))), "columns": ours})
    ratio = found["loop"] / found["columns"]
    value = f"{len(trades) / found['columns'] / 1e6:.1f} M/s"
    line(f"Columns in batches of {COLUMN_BATCH:,}", value, f"{ratio:.1f}x", "goal 20 M/s or 25x")


# -- 3: recorded mixed frames --------------------------------------------------------------------------------------


def recorded() -> list[Path] | str:
    found = []
    for name in SPOT:
        source = RECORDINGS / name
        if not source.is_file():
            return f"{source} is not here; set TAPEFLOW_RECORDINGS"
        found.append(
            cached(name.removesuffix(".gz"), lambda source=source: iter([gzip.decompress(source.read_bytes())]))
        )
    return found


def mixed_flow() -> Flow:
    builder = Builder("mixed").book(20)
    builder.trades().candles("1s")
    builder.quotes()
    return builder.build()


def mixed(repeats: int) -> None:
    files = recorded()
    if isinstance(files, str):
        line("Recorded mixed frames", "skipped", "", files)
        return
    both = cached("spot-both", lambda: (path.read_bytes() for path in files))
    for what, path, goal in (("a book from its snapshot on", both, "goal 2x"), ("no snapshot", files[1], "")):
        command = [sys.executable, str(HERE / "baseline_mixed.py"), str(path), str(repeats + 1)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        theirs = statistics.median(list(map(float, output.split()))[1:])
        ours = statistics.median([timed(lambda path=path: replay_mixed(path)) for _ in range(repeats + 1)][1:])
        with path.open("rb") as file:
            frames = sum(1 for _ in file)
        line(f"Mixed frames, {what}: loop", f"{frames / theirs / 1e3:,.0f} k/s", "1.00x", "")
        line("  ours", f"{frames / ours / 1e3:,.0f} k/s", f"{theirs / ours:.2f}x", goal)


def replay_mixed(path: Path) -> None:
    replay([path], flow=mixed_flow(), channels=("quotes", "book", "trades", "candles"))


# -- 4: symbols ----------------------------------------------------------------------------------------------------


def even_input(n: int, symbols: int) -> Iterator[bytes]:
    """Every symbol as active as any other, `RATE` trades a second each."""
    of = draw(11, 0, n, symbols)
    gap = 1_000_000 // (RATE * symbols)
    ts = START_US + np.cumsum(draw(11, 1, n, 2 * gap + 1))
    ids = running(of, np.ones(n, dtype=np.int64))
    cents = np.maximum(1_000_000 + running(of, draw(11, 2, n, 7) - 3), 1)
    labels = names(symbols)
    for at in range(0, n, 100_000):
        columns = (column[at : at + 100_000].tolist() for column in (of, ts // 1000, ids, cents))
        yield "".join(
            f'{{"e":"trade","E":{t},"s":"{labels[s]}","t":{i},"p":"{p // 100}.{p % 100:02d}000000",'
            f'"q":"0.50000000","T":{t},"m":true,"M":true}}\n'
            for s, t, i, p in zip(*columns, strict=True)
        ).encode()


def by_symbols(n: int, repeats: int) -> None:
    """The trades of the last three quarters: by then every symbol has begun and windows close as they open."""
    counts = (10, 100, 1_000, 10_000)
    paths = {count: cached(f"even-{n}-{count}.ndjson", lambda c=count: even_input(n, c)) for count in counts}
    rows: dict[int, float] = {}

    def ours(count: int) -> float:
        sink = Nothing()
        engine = new_engine(sink)
        blocks = list(frames_of(paths[count].read_bytes()))
        began, before, fed = time.perf_counter(), 0, 0
        for frames in blocks:
            for at in range(0, len(frames), 1000):
                engine.feed(frames, at, min(at + 1000, len(frames)))
            fed += len(frames)
            if fed >= n // 4 and not before:
                engine.flush()
                began, before, start = time.perf_counter(), sink.n, fed
        engine.flush()
        rows[count] = (sink.n - before) / (n - start)
        return (time.perf_counter() - began) / (n - start)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        found = medians(repeats, {str(count): lambda count=count: ours(count) for count in counts})
        theirs = medians(1, {str(c): lambda c=c: seconds(loop(paths[c], out)) / n for c in (counts[0], counts[-1])})
    for count in counts:
        took = found[str(count)]
        note = f"{rows[count]:.2f} rows a trade" + ("" if count == counts[0] else "; goal within 1.5x")
        line(f"{count:,} symbols, JSON to rows", f"{1e-6 / took:.2f} M/s", f"{took / found['10']:.2f}x time", note)
    line("  the loop from 10 to 10,000", "", f"{theirs['10000'] / theirs['10']:.2f}x time", "with its start and output")


# -- 5: memory -----------------------------------------------------------------------------------------------------


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(n: int) -> None:
    """Feed ``n`` trades, the same block again and again moved on in time and ids; in a process of its own."""
    trades, symbols = packed_trades(zipf_input(200_000))
    per_symbol = np.bincount(trades["symbol"], minlength=len(symbols))
    duration = int(trades["ts_event"].max() - trades["ts_event"].min()) + 1
    sink = Nothing()
    engine = new_engine(sink)
    for symbol in symbols:
        engine._intake.symbol(symbol)
    seen = []
    for round_ in range(n // len(trades)):
        feed_columns(engine, trades.tobytes(), COLUMN_BATCH)
        engine.flush()
        for name in ("id", "first_id", "last_id"):
            trades[name] += per_symbol[trades["symbol"]]
        for name in ("ts_event", "ts_watermark"):
            trades[name] += duration
        if (round_ + 1) % max(n // len(trades) // 10, 1) == 0:
            seen.append(resident_mb())
    print(" ".join(f"{mb:.0f}" for mb in seen), sink.n)


def memory_in_own_process(n: int) -> None:
    if not Path("/proc/self/statm").exists():
        line("Memory", "skipped", "", "no /proc here")
        return
    command = [sys.executable, str(Path(__file__)), "--memory", str(n)]
    *seen, rows = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    ratio = f"{float(seen[-1]) / float(seen[4]):.2f}x"
    line(
        f"Resident MB over {n / 1e6:.0f} M trades ({int(rows):,} rows)", f"{seen[4]} -> {seen[-1]}", ratio, "goal flat"
    )
    print(f"  at each tenth: {' '.join(seen)}")


# -- 6: start ------------------------------------------------------------------------------------------------------


def help_time() -> None:
    command = [str(Path(sys.executable).parent / "tapeflow"), "--help"]
    if not Path(command[0]).exists():
        command = [sys.executable, "-m", "tapeflow", "--help"]
    found = medians(11, {"help": lambda: seconds(command), "python": lambda: seconds([sys.executable, "-c", ""])})
    ratio = f"{found['help'] / found['python']:.1f}x"
    line("tapeflow --help, s (ratio: to python -c '')", f"{found['help']:.3f}", ratio, "goal 0.3 s")


# ------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small inputs, few repeats")
    parser.add_argument("--only", nargs="*", default=[], help="json columns mixed symbols memory help")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if args.memory:
        memory(args.memory)
        return
    n, repeats = (300_000, 1) if args.quick else (2_000_000, 3)
    sections: dict[str, Callable[[], None]] = {
        "json": lambda: from_json(n, repeats),
        "columns": lambda: from_columns(n, repeats),
        "mixed": lambda: mixed(2 if args.quick else 5),
        "symbols": lambda: by_symbols(n, repeats),
        "memory": lambda: memory_in_own_process(n * 20),
        "help": help_time,
    }
    unknown = set(args.only) - set(sections)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(sections)}")
    cores = f"pinned to core {max(os.sched_getaffinity(0))}" if hasattr(os, "sched_getaffinity") else "not pinned"
    print(f"Python {sys.version.split()[0]}, {cores}, load {os.getloadavg()[0]:.1f}; inputs in {CACHE}")
    line("", "", "ratio", "")
    for name, section in sections.items():
        if not args.only or name in args.only:
            section()


if __name__ == "__main__":
    main()
