"""Answers about channels: rows, where they go on, and what they can be trusted for."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from tapeflow.api import cursors, studies
from tapeflow.api.complete import Coverage, judge
from tapeflow.api.fill import fill
from tapeflow.api.problem import Problem
from tapeflow.api.query import Query
from tapeflow.api.resources import Resource
from tapeflow.api.source import Source
from tapeflow.domain.time import parse_span
from tapeflow.stores.channels import CHANNELS
from tapeflow.stores.pages import Asked, Page
from tapeflow.stores.render import objects, schema_of, table_of

_TIMES = ("ts_start", "ts_event", "ts_recv")
_SYMBOLS = ("venue", "symbol", "status", "size_unit", "tick", "step", "lot", "multiplier")


class Answer(msgspec.Struct, frozen=True):
    """What an answer says, whatever its form; without ``has_frame`` it is rows alone (those of a statement)."""

    rows: pa.Table
    next: str | None = None
    coverage: Coverage = Coverage()
    ts_watermark: int | None = None
    has_frame: bool = True
    is_truncated: bool = False


def read(source: Source, resource: Resource, query: Query) -> Answer:
    """A range of a channel; raises `Problem`, `StoreError`."""
    if resource.channel not in source.channels:
        raise not_kept(resource.channel, source)
    symbol = query.symbol
    watermark = source.watermark(symbol) if symbol else None  # before the rows: they are never older than it says
    is_study = studies.is_study(source, resource.channel, query)
    page = studies.study(source, query) if is_study else _page(source, resource, query, watermark)
    rows = page.rows
    if query.has_forming and page.end is None and not is_study:
        rows = _with_forming(source, resource, query, rows)
    following = None if page.end is None else cursors.encode(resource.channel, query.key, page.end)
    return Answer(rows, following, _coverage(source, resource, query, rows, watermark), watermark)


def not_kept(channel: str, source: Source) -> Problem:
    """That a channel is not in the store, and how it comes there."""
    detail = f"this run keeps no {channel}; add {channel!r} to `channels` of [store] in its settings and start it again"
    return Problem(404, "not_kept", f"{detail}. It keeps {', '.join(source.channels)}")


def _page(source: Source, resource: Resource, query: Query, watermark: int | None) -> Page:
    return _filled(source, resource, query, watermark) if query.has_fill else _stored(source, resource, query)


def _stored(source: Source, resource: Resource, query: Query) -> Page:
    return source.read(
        Asked(
            channel=resource.channel,
            key=query.key,
            start=query.start,
            end=query.end,
            after=query.after,
            limit=query.limit,
            newest=query.is_newest,
        )
    )


# -- windows without trades, and those that have not closed ------------------------------------------------


def _filled(source: Source, resource: Resource, query: Query, watermark: int | None) -> Page:
    """Every window of the range that has closed, from the first that is known."""
    step = parse_span(str(query.key["interval"]))
    closed = (watermark or 0) - step + 1  # a window has closed when the watermark has reached its end
    until = closed if query.end is None else min(query.end, closed)
    if query.is_newest:
        page = source.read(
            Asked(channel=resource.channel, key=query.key, end=query.end, limit=query.limit, newest=True)
        )
        start = max(_first(page.rows), until - query.limit * step)
        rows = fill(page.rows, step, start, max(until, _last(page.rows) + 1), 2 * query.limit + 2)
        return Page(rows.slice(max(0, rows.num_rows - query.limit)))
    start = max(query.start if query.start is not None else 0, int(query.after[0]) + 1 if query.after else 0)
    before = source.read(Asked(channel=resource.channel, key=query.key, end=start, limit=1, newest=True))
    page = source.read(
        Asked(channel=resource.channel, key=query.key, start=start, end=query.end, limit=query.limit + 1)
    )
    known = pa.concat_tables([before.rows, page.rows])
    end = _last(page.rows) + 1 if page.end is not None else max(until, _last(page.rows) + 1)
    rows = fill(known, step, start, end, query.limit + 1) if known.num_rows else known
    if rows.num_rows <= query.limit:
        return Page(rows)
    rows = rows.slice(0, query.limit)
    return Page(rows, (_last(rows), *(str(query.key[name]) for name in ("venue", "symbol", "interval"))))


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def _first(rows: pa.Table) -> int:
    return int(rows.column("ts_start").cast(pa.int64())[0].as_py()) if rows.num_rows else 0


def _last(rows: pa.Table) -> int:
    return int(rows.column("ts_start").cast(pa.int64())[-1].as_py()) if rows.num_rows else -1


def _with_forming(source: Source, resource: Resource, query: Query, rows: pa.Table) -> pa.Table:
    """The rows, and those of windows of the range that have not closed and are not among them."""
    channel = CHANNELS[resource.channel]
    known = {
        tuple(row[name] for name in channel.key)
        for row in objects(rows.select(list(channel.key)).slice(max(0, rows.num_rows - 1000)))
    }
    after = int(query.after[0]) if query.after else -1
    start, end = query.start if query.start is not None else after, query.end
    found = [
        row
        for row in source.forming(f"{resource.channel}.forming", **query.key)
        if row["ts_start"] >= start
        and (end is None or row["ts_start"] < end)
        and tuple(row[name] for name in channel.key) not in known
    ]
    if not found:
        return rows
    made = pa.concat_tables([rows, table_of(found, rows.schema)])
    surplus = made.num_rows - query.limit
    return made.slice(max(0, surplus)) if query.is_newest else made


# -- trust -----------------------------------------------------------------------------------------------


def _coverage(source: Source, resource: Resource, query: Query, rows: pa.Table, watermark: int | None) -> Coverage:
    start = query.start
    if start is None:
        start = int(query.after[0]) if query.after else _earliest(rows)
    bound = _least(query.end, watermark)
    if query.symbol is None or start is None or bound is None or watermark is None:
        return Coverage()
    stream = str(query.key.get("stream", resource.stream))
    seen = source.coverage(stream, query.symbol, start, bound)
    if query.end is None:  # what there is was asked for: up to the newest that was seen, however quiet it is since
        bound = min(bound, max((row["ts_end"] for row in seen if row["state"] == "complete"), default=bound))
    return judge(seen, start, bound)


def _earliest(rows: pa.Table) -> int | None:
    """The time of the first row."""
    if not rows.num_rows:
        return None
    for name in _TIMES:
        value = rows.column(name).cast(pa.int64())[0].as_py() if name in rows.column_names else None
        if value is not None:
            return int(value)
    return None


# -- the present -----------------------------------------------------------------------------------------


def latest(source: Source, channel: str, symbol: str, depth: int | None = None) -> Answer:
    """The newest row of a channel, as a list of one or none; raises `Problem`."""
    row = source.latest(channel, symbol)
    if row is None and channel not in source.channels:
        raise not_kept(channel, source)
    if row is not None and depth is not None:
        row = row | {side: row[side][:depth] for side in ("bids", "asks")}
    schema = schema_of(CHANNELS[channel], *source.scales)
    return Answer(table_of([] if row is None else [row], schema), ts_watermark=source.watermark(symbol))


def symbols(source: Source, symbol: str | None) -> Answer:
    """What is followed, and what its numbers mean."""
    rows: list[dict[str, Any]] = [row for row in source.symbols() if symbol is None or row["symbol"] == symbol]
    fields = [pa.field(name, pa.string()) for name in _SYMBOLS]
    schema = pa.schema([*fields, pa.field("valid_from", pa.timestamp("us", "UTC"))])
    return Answer(table_of(rows, schema), coverage=Coverage(complete=True))
