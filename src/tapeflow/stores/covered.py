"""Coverage of trades as the live capture knows it, joined with what a backfill or a repair has found complete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Row = dict[str, object]


class Run(NamedTuple):
    """Trades ``first..last`` of a symbol, all there, and the times of the two ends."""

    first: int
    last: int
    ts_start: int
    ts_end: int


def join(rows: Iterable[Row], filled: Iterable[Run]) -> list[Row]:
    """Coverage rows of one symbol's trades: runs that touch are one, and what lies within a run is no gap."""
    rows = list(rows)
    whole = [row for row in rows if row["state"] == "complete"]
    runs = union([*map(_run, whole), *filled])
    like: Row = dict(rows[0]) if rows else {}
    complete = [like | _fields(run) for run in runs]
    return complete + [row for row in rows if row["state"] != "complete" and not _is_within(row, runs)]


def union(runs: Iterable[Run]) -> list[Run]:
    """The runs in order, those that overlap or follow on each other joined."""
    joined: list[Run] = []
    for run in sorted(runs):
        if joined and run.first <= joined[-1].last + 1:
            last = joined[-1]
            if run.last > last.last:
                joined[-1] = Run(last.first, run.last, last.ts_start, run.ts_end)
        else:
            joined.append(run)
    return joined


def _run(row: Row) -> Run:
    return Run(*(int(str(row[name])) for name in ("first_id", "last_id", "ts_start", "ts_end")))


def _fields(run: Run) -> Row:
    names = {"first_id": run.first, "last_id": run.last, "ts_start": run.ts_start, "ts_end": run.ts_end}
    return names | {"stream": "trades", "state": "complete", "reason": None, "guarantee": "sequence"}


def _is_within(row: Row, runs: list[Run]) -> bool:
    first, last = int(str(row["first_id"])), int(str(row["last_id"]))
    return any(run.first <= first and last <= run.last for run in runs)
