"""Studies: indicators that the run does not compute, made from its candles when they are asked for.

The same `Step` as in the run, over the same closes. It begins as many candles before the first row asked for as it
takes until the beginning is no longer felt (`indicators.settles`), so the values are those of a run that had always had
it. They are not stored and not streamed.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from tapeflow import indicators
from tapeflow.api.problem import Problem, unknown
from tapeflow.api.query import Query
from tapeflow.api.source import Source
from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import parse_span
from tapeflow.stores.channels import CHANNELS
from tapeflow.stores.pages import Asked, Page, Position
from tapeflow.stores.render import schema_of, table_of

#: The longest period of a study, and most rows of one answer: it is computed while others wait.
LONGEST = 500
ROWS = 5_000

_COLUMNS = ["ts_start", "ts_end", "close", "revision"]


class Catalogue(msgspec.Struct, frozen=True):
    """The kinds there are: `/v1/catalogue`."""

    data: list[indicators.Described]
    next: None = None


def is_study(source: Source, channel: str, query: Query) -> bool:
    """Whether one indicator is asked for, and it is none of the run's own."""
    return channel == "indicators" and query.key.get("name", "") not in ("", *source.indicators)


def study(source: Source, query: Query) -> Page:
    """The rows of a study, those of windows still open last if they are asked for; raises `Problem`, `StoreError`."""
    indicator = _indicator(source, str(query.key["name"]))
    if not {"symbol", "interval"} <= query.key.keys():
        detail = f"{indicator.name} is computed when it is asked for, which needs symbol and interval; give both"
        raise Problem(400, "missing_parameter", detail)
    if "candles" not in source.channels:
        raise Problem(404, "not_kept", f"this run keeps no candles, which {indicator.name} is computed from")
    candles, first, page_end = _candles(source, query, indicators.settles(indicator))
    rows = _rows(source, query, indicator, candles, first, has_forming=query.has_forming and page_end is None)
    key = [str(query.key[name]) for name in ("venue", "symbol", "interval")]
    end: Position | None = None if page_end is None else (page_end, *key, indicator.name)
    return Page(table_of(rows, schema_of(CHANNELS["indicators"], *source.scales)), end)


def _indicator(source: Source, name: str) -> indicators.Indicator:
    try:
        found = indicators.parse(name)
    except SettingsError as error:
        if name.split("_", maxsplit=1)[0] not in indicators.names():
            raise unknown(400, "indicator", name, {*source.indicators, *indicators.names()}) from error
        raise Problem(400, "bad_name", f"name: {error}") from error
    longest = max((getattr(found, field) for field in getattr(found, "__struct_fields__", ())), default=0)
    if longest > LONGEST:
        detail = f"{found.name} is not among the run's indicators, and a study has periods of at most {LONGEST}"
        raise Problem(400, "bad_name", f"{detail}; add it to `indicators` of [flow.candles] in the run's settings")
    return found


def _candles(source: Source, query: Query, lead: int) -> tuple[pa.Table, int, int | None]:
    """Candles with as many before as the beginning needs; the first start that is asked for; where a page ends."""
    key = {name: query.key[name] for name in ("venue", "symbol", "interval")}
    limit = min(query.limit, ROWS)
    if query.is_newest:
        page = source.read(Asked(channel="candles", key=key, end=query.end, limit=limit + lead, newest=True))
        rows = page.rows.select(_COLUMNS)
        first = max(0, rows.num_rows - limit)
        return rows, _start(rows, first), None
    start = max(query.start or 0, int(query.after[0]) + 1 if query.after else 0)
    before = source.read(Asked(channel="candles", key=key, end=start, limit=lead, newest=True))
    page = source.read(Asked(channel="candles", key=key, start=start, end=query.end, limit=limit))
    rows = pa.concat_tables([before.rows.select(_COLUMNS), page.rows.select(_COLUMNS)])
    return rows, start, None if page.end is None else _start(rows, rows.num_rows - 1)


def _start(rows: pa.Table, at: int) -> int:
    return int(rows.column("ts_start").cast(pa.int64())[at].as_py()) if at < rows.num_rows else 0


def _rows(
    source: Source, query: Query, indicator: indicators.Indicator, candles: pa.Table, first: int, *, has_forming: bool
) -> list[dict[str, Any]]:
    """Rows as JSON has them; ``bars`` counts from the first candle that was read."""
    key = {name: str(query.key[name]) for name in ("venue", "symbol", "interval")}
    starts, ends = (candles.column(name).cast(pa.int64()).to_pylist() for name in ("ts_start", "ts_end"))
    closes = [float(close) for close in candles.column("close").to_pylist()]
    revisions = candles.column("revision").to_pylist()
    bars = list(zip(starts, ends, closes, revisions, [True] * len(starts), strict=True))
    if has_forming:
        bars += _forming(source, key, query, starts[-1] if starts else -1)
    state, rows = indicator.zero(), []
    for bar, (ts_start, ts_end, close, revision, closed) in enumerate(bars, 1):
        state, values = indicator.on_event(state, close)
        if values is None or ts_start < first:
            continue
        at = {"name": indicator.name, "ts_start": ts_start, "ts_end": ts_end, "values": values, "bars": bar}
        rows.append(key | at | {"closed": closed, "revision": revision})
    return rows


def _forming(source: Source, key: dict[str, str], query: Query, last: int) -> list[tuple[int, int, float, int, bool]]:
    """The bars of windows still open, after the last that is stored."""
    size = parse_span(key["interval"])
    return [
        (row["ts_start"], row["ts_start"] + size, float(row["close"]), row["revision"], False)
        for row in source.forming("candles.forming", **key)
        if row["ts_start"] > last and (query.end is None or row["ts_start"] < query.end)
    ]
