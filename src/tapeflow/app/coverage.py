"""Coverage for people: per stream, symbol and day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from tapeflow.app.query import select
from tapeflow.app.run import Folder
from tapeflow.app.running import address
from tapeflow.domain.errors import InputError, StoreError
from tapeflow.domain.time import DAY, SECOND, time_text
from tapeflow.stores.duckdb import DuckStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Hole(msgspec.Struct):
    """A span that is not complete, and why."""

    ts_start: int
    ts_end: int
    state: str
    reason: str | None
    first_id: str | None
    last_id: str | None


class Day(msgspec.Struct):
    """One stream of a symbol on one day (UTC): seconds complete between the first and the last event seen."""

    stream: str
    symbol: str
    day: str
    ts_first: int
    ts_last: int
    complete_s: float
    missing_s: float
    holes: list[Hole] = []


def days(data: Path, symbol: str | None = None, key: str | None = None) -> list[Day]:
    """The days of a data folder's coverage, as the run tells that has it open; raises `InputError` if it has none."""
    rows = _told(data, symbol, key) if address(data) is not None else _stored(data)
    found: dict[tuple[str, str, int], Day] = {}
    for row in rows:
        if symbol is None or row["symbol"].upper() == symbol.upper():
            _add(found, row)
    return [found[key] for key in sorted(found)]


def _stored(data: Path) -> list[dict[str, Any]]:
    place = Folder(data).store
    if not place.exists():
        raise InputError(f"{data} holds no results.duckdb; give the data folder of `tapeflow run`")
    store = DuckStore(place, ("coverage",), read_only=True)
    try:
        return store.read("coverage").to_pylist()  # type: ignore[no-any-return]
    finally:
        store.close()


def _told(data: Path, symbol: str | None, key: str | None) -> list[dict[str, Any]]:
    text = (symbol or "").upper().replace("'", "''")
    where = f" WHERE upper(symbol) = '{text}'" if symbol else ""
    found = select(data, f"SELECT * FROM coverage{where} ORDER BY ts_start, ts_end", key)
    if found.is_truncated:
        raise StoreError("there is more coverage than one answer holds; ask for one --symbol, or stop the run")
    return found.rows.to_pylist()  # type: ignore[no-any-return]


def _add(found: dict[tuple[str, str, int], Day], row: dict[str, Any]) -> None:
    end = _us(row["ts_end"])
    start = end if row["ts_start"] is None else _us(row["ts_start"])  # as an older release wrote gaps of books
    for number in range(start // DAY, end // DAY + 1):
        first, last = max(start, number * DAY), min(end, (number + 1) * DAY)
        key = (row["stream"], row["symbol"], number)
        day = found.get(key)
        if day is None:
            day = found[key] = Day(row["stream"], row["symbol"], time_text(number * DAY)[:10], first, last, 0.0, 0.0)
        day.ts_first, day.ts_last = min(day.ts_first, first), max(day.ts_last, last)
        if row["state"] == "complete":
            day.complete_s += (last - first) / SECOND
        else:
            day.missing_s += (last - first) / SECOND
            day.holes.append(Hole(first, last, row["state"], row["reason"], row["first_id"], row["last_id"]))


def _us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def table(found: list[Day]) -> Table:
    """The days as a table, holes below their day."""
    shown = Table(title="coverage (UTC)", title_justify="left")
    for name in ("stream", "symbol", "day", "from", "to"):
        shown.add_column(name)
    for name in ("complete", "missing"):
        shown.add_column(name, justify="right")
    shown.add_column("holes: trades, reason")
    for day in found:
        holes = "\n".join(
            f"{time_text(hole.ts_start)[11:-1]} {hole.first_id}..{hole.last_id} {hole.reason}" for hole in day.holes[:5]
        )
        more = f"\n... {len(day.holes) - 5} more (--json)" if len(day.holes) > 5 else ""
        first, last = time_text(day.ts_first)[11:19], time_text(day.ts_last)[11:19]
        complete, missing = f"{day.complete_s:.1f} s", f"{day.missing_s:.1f} s"
        shown.add_row(day.stream, day.symbol, day.day, first, last, complete, missing, holes + more)
    return shown
