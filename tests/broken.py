"""Breaks each law on purpose, in a copy, and shows that a test fails for each: ``python tests/broken.py [NAME]``.

A break is a change of one line of the source, in the portable twin or in the kernel. Each names the file whose quick
tests must notice it; a break that they do not notice is printed as a survivor and the exit status is 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
KERNEL = "src/tapeflow/engine/kernel"


class Break(NamedTuple):
    name: str
    test: str
    file: str
    right: str
    wrong: str


BREAKS = (
    Break(
        "a window is said to close before what is on time for it",
        "unit/engine/test_closings.py",
        "src/tapeflow/engine/closings.py",
        "            self._reached(symbol, stamp, int(at[i]), found)\n",
        "            self._reached(symbol, stamp + self._grid, int(at[i]), found)\n",
    ),
    Break(
        "a window of late events is said to close again",
        "unit/engine/test_closings.py",
        "src/tapeflow/engine/closings.py",
        "                if end > stamp:\n",
        "                if True:\n",
    ),
    Break(
        "nothing is said after what is late",
        "unit/engine/test_closings.py",
        "src/tapeflow/engine/closings.py",
        "            _insert(waiting, stamp // SECOND * SECOND + SECOND)\n",
        "            pass\n",
    ),
    Break(
        "the venue's candles come before all trades of a batch",
        "unit/app/test_published_events.py",
        "src/tapeflow/stores/results.py",
        '            place = self._count("trades")\n',
        "            place = 0\n",
    ),
    Break(
        "a push of a kline counts twice",
        "unit/app/test_published_events.py",
        "src/tapeflow/engine/pushes.py",
        "        if key in seen:\n            return False",
        "        if False:\n            return False",
    ),
    Break(
        "an older revision stands before a newer one",
        "unit/stores/test_postgres_rows.py",
        "src/tapeflow/stores/postgres/writing.py",
        'row["revision"] >= known["revision"] and ',
        "",
    ),
    Break(
        "rows of open windows are numbered",
        "unit/stores/test_postgres_rows.py",
        "src/tapeflow/stores/series.py",
        '    return row.get("closed") is False\n',
        "    return False\n",
    ),
    Break(
        "numbers begin anew after a restart",
        "property/test_restart.py",
        "src/tapeflow/app/pipeline.py",
        "            self._sink.numbers.restore(state.own.numbers)\n",
        "",
    ),
    Break(
        "a row that was revised is not kept for those who resume",
        "property/test_restart.py",
        "src/tapeflow/stores/duckdb.py",
        "        if keep and channel.name in REVISED:\n            self._db.execute(\n",
        "        if False:\n            self._db.execute(\n",
    ),
    Break(
        "a client joins before it has caught up",
        "unit/api/test_hub.py",
        "src/tapeflow/api/hub.py",
        "if not page and at >= await self._newest_number(line.topic):",
        "if not page:",
    ),
    Break(
        "a cursor is taken for good whatever is gone",
        "unit/api/test_hub.py",
        "src/tapeflow/api/hub.py",
        "return bool(found) and found[0][0] == at + 1",
        "return bool(found)",
    ),
    Break(
        "order by arrival, portable",
        "property/test_laws.py",
        "src/tapeflow/domain/candle.py",
        "close=max(left.close, right.close)",
        "close=right.close",
    ),
    Break(
        "order by arrival, kernel",
        "property/test_laws.py",
        f"{KERNEL}/windows.c",
        "if (!before(&tick, &into->close)) into->close = tick;",
        "if (1) into->close = tick;",
    ),
    Break(
        "drop late, portable",
        "property/test_laws.py",
        "src/tapeflow/engine/windows.py",
        "            self._add(trade, key)\n",
        "            if trade.ts_event >= key.ts_watermark:\n                self._add(trade, key)\n",
    ),
    Break(
        "drop late, kernel",
        "property/test_laws.py",
        f"{KERNEL}/windows.c",
        "for (int root = 0; root < windows->n_candle; root++)\n            if (windows->root[root] == root &&",
        "for (int root = 0; root < windows->n_candle; root++)\n            if (trade->ts_event >= key->ts_watermark && "
        "windows->root[root] == root &&",
    ),
    Break(
        "skip deduplication, portable",
        "property/test_laws.py",
        "src/tapeflow/engine/intake.py",
        "        if verdict is Verdict.DUPLICATE:\n",
        "        if False:\n",
    ),
    Break(
        "skip deduplication, kernel",
        "property/test_laws.py",
        f"{KERNEL}/intake.c",
        "if (verdict == SEEN_DUPLICATE) {",
        "if (0) {",
    ),
    Break(
        "write a row twice",
        "golden/test_candles.py",
        "src/tapeflow/stores/table.py",
        "        kept = np.sort(order[differs])\n",
        "        kept = np.sort(np.append(order[differs], order[-1:]))\n",
    ),
    Break(
        "swap two outputs, portable",
        "property/test_laws.py",
        "src/tapeflow/engine/windows.py",
        '(values["open"], values["high"], values["low"], values["close"])',
        '(values["open"], values["low"], values["high"], values["close"])',
    ),
    Break(
        "swap two outputs, kernel",
        "property/test_laws.py",
        f"{KERNEL}/windows.c",
        ".high = candle->high,",
        ".high = candle->low,",
    ),
    Break(
        "swap two outputs, files",
        "golden/test_candles.py",
        "src/tapeflow/stores/results.py",
        '"volume": Wide(rows["volume_lo"], rows["volume_hi"])',
        '"volume": Wide(rows["taker_lo"], rows["taker_hi"])',
    ),
    Break(
        "float sums, portable",
        "property/test_laws.py",
        "src/tapeflow/domain/candle.py",
        "quote_volume = left.quote_volume + right.quote_volume",
        "quote_volume = int(float(left.quote_volume) + float(right.quote_volume))",
    ),
    Break(
        "float sums, kernel",
        "property/test_laws.py",
        f"{KERNEL}/windows.c",
        "u128 total = wide(*lo, *hi) + more;",
        "u128 total = (u128)((double)wide(*lo, *hi) + (double)more);",
    ),
    Break(
        "revision by batch, kernel",
        "property/test_laws.py",
        f"{KERNEL}/windows.c",
        "into->late += late;\n    if (trade->coarse)",
        "into->late = late;\n    if (trade->coarse)",
    ),
    Break(
        "forget state at a restart",
        "unit/engine/test_holds.py",
        "src/tapeflow/engine/indicators.py",
        "        self._dirty = dict(dirty)\n",
        "        self._dirty = {}\n",
    ),
    Break(
        "commit rows without their position",
        "unit/stores/test_duckdb_store.py",
        "src/tapeflow/stores/duckdb.py",
        """            self._db.execute("UPDATE meta SET value = ? WHERE name = 'position'", [str(position)])\n""",
        "",
    ),
    Break(
        "commit rows one by one",
        "unit/stores/test_duckdb_store.py",
        "src/tapeflow/stores/duckdb.py",
        "                self._write_rows(channel, rows, again=again)\n",
        '                self._write_rows(channel, rows, again=again)\n                self._db.execute("COMMIT")\n'
        '                self._db.execute("BEGIN")\n',
    ),
    Break(
        "give rows again after a restart",
        "property/test_restart.py",
        "src/tapeflow/app/pipeline.py",
        "        committed = self._store.position\n",
        "        committed = 0\n",
    ),
    Break(
        "give rows again after a restart within a block",
        "property/test_restart.py",
        "src/tapeflow/app/pipeline.py",
        "        if stop == silent:\n            self._engine.flush()\n            self._give(is_known=True)\n",
        "",
    ),
    Break(
        "drop the state of an open hole, portable",
        "unit/engine/test_holds.py",
        "src/tapeflow/engine/windows.py",
        "track.prune(min(ts_watermark - self._horizon_us, key.hold))",
        "track.prune(ts_watermark - self._horizon_us)",
    ),
    Break(
        "drop the state of an open hole, kernel",
        "unit/engine/test_holds.py",
        f"{KERNEL}/windows.c",
        "    if (key->hold < reach) reach = key->hold;\n",
        "",
    ),
    Break(
        "let go of an open hole after a restart, kernel",
        "unit/engine/test_holds.py",
        f"{KERNEL}/windows.c",
        "windows->keep_holes ? INT64_MIN / 2 : INT64_MAX",
        "windows->keep_holes ? INT64_MIN : INT64_MAX",
    ),
    Break(
        "drop the bars of an open hole",
        "unit/engine/test_holds.py",
        "src/tapeflow/engine/indicators.py",
        "        return min(reach, self._holds[symbol]) if symbol < len(self._holds) else NONE_TIME\n",
        "        return reach\n",
    ),
    Break(
        "no hold for late trades, portable",
        "unit/engine/test_holds.py",
        "src/tapeflow/engine/intake.py",
        "if self._keep_holes and ts_event < reach else reach",
        "if False else reach",
    ),
    Break(
        "no hold for late trades, kernel",
        "unit/engine/test_holds.py",
        f"{KERNEL}/intake.c",
        "        if (hold < reach) reach = hold;\n",
        "        (void)hold;\n",
    ),
    Break(
        "play an answer that failed",
        "property/test_restart.py",
        "src/tapeflow/tape/playback.py",
        " if status == 200}",
        " if status is not None}",
    ),
    Break(
        "call a hole that was given up complete",
        "unit/engine/test_holds.py",
        "src/tapeflow/engine/coverage.py",
        '{"state": "gap", "reason": gap.reason}',
        '{"state": "gap" if gap.reason != "missing_ids" else "complete", "reason": gap.reason}',
    ),
    Break(
        "take a hole that was given up off coverage",
        "unit/engine/test_holds.py",
        "src/tapeflow/engine/coverage.py",
        "for gap in trade_gaps(symbol, ranges)]\n    return runs",
        "for gap in trade_gaps(symbol, ranges) if not given_up(gap)]\n    return runs",
    ),
)


def copy(into: Path) -> None:
    for name in ("src", "tests"):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, into / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, into / name)


def is_noticed(broken: Break, folder: Path) -> bool:
    path = folder / broken.file
    text = path.read_text()
    if text.count(broken.right) != 1:
        sys.exit(f"{broken.name}: the line to break is in {broken.file} {text.count(broken.right)} times, not once")
    path.write_text(text.replace(broken.right, broken.wrong))
    env = os.environ | {"PYTHONPATH": str(folder / "src"), "CI": "", "TAPEFLOW_RECORDINGS": recordings()}
    env["TAPEFLOW_HYPOTHESIS"] = "quick"
    if broken.file.endswith(".c"):
        build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"]
        subprocess.run(build, cwd=folder, env=env, check=True, capture_output=True)
    test = f"tests/{broken.test}"
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", test]
    done = subprocess.run(pytest, cwd=folder, env=env, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{broken.name}: the tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    print(f"{'noticed ' if failed else 'SURVIVED'}  {broken.name}  {failed[0][7:100] if failed else ''}", flush=True)
    return bool(failed)


def recordings() -> str:
    return os.environ.get("TAPEFLOW_RECORDINGS", str((ROOT / "../shared/data/wire").resolve()))


def break_one(broken: Break) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        copy(Path(folder))
        return is_noticed(broken, Path(folder))


def main(wanted: list[str]) -> int:
    chosen = [b for b in BREAKS if not wanted or any(word in b.name for word in wanted)]
    with ThreadPoolExecutor(2) as pool:
        noticed = list(pool.map(break_one, chosen))
    print("breaks noticed (passed) and not (failed):")
    print(f"{sum(noticed)} passed, {len(noticed) - sum(noticed)} failed")
    return 0 if all(noticed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
