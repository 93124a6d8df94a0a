"""Rows out of the tables, as Arrow tables like those of the other stores; ranges and pages of a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import pyarrow as pa

from tapeflow.stores.channels import REVISED, Channel
from tapeflow.stores.pages import Asked, Page, key_names, time_term
from tapeflow.stores.postgres.writing import time_of
from tapeflow.stores.render import schema_of, table_of
from tapeflow.stores.schema import revised_name, table_name

#: A limit where all rows are asked for.
ALL = 1 << 62

Connection = psycopg.Connection[tuple[Any, ...]]


def us(term: str) -> str:
    """The microseconds of a time, as SQL; exact."""
    return f"(extract(epoch from {term}) * 1000000)::bigint"


def select_list(channel: Channel) -> str:
    """The columns of a channel such that rows come as JSON has them."""
    return ", ".join(_shown(name, kind) for name, kind in channel.fields)


def _shown(name: str, kind: str) -> str:
    match kind:
        case "time":
            return us(f'"{name}"')
        case "bytes":
            return f"translate(encode(\"{name}\", 'base64'), E'\\n', '')"
        case _:
            return f'"{name}"'


def table(channel: Channel, rows: Sequence[tuple[Any, ...]], scales: tuple[int, int]) -> pa.Table:
    """Rows of `select_list` as a table."""
    names = [name for name, _ in channel.fields]
    return table_of([dict(zip(names, row, strict=True)) for row in rows], schema_of(channel, *scales))


def read(db: Connection, asked: Asked, scales: tuple[int, int]) -> pa.Table:
    """Rows in the order of a file of the channel."""
    channel = asked.known
    where, values = _where(asked)
    nulls = "FIRST" if asked.newest else "LAST"
    by = ", ".join(f"{term} {asked.way} NULLS {nulls}" for term in file_order(channel))
    query = f'SELECT {select_list(channel)} FROM "{table_name(channel.name)}" WHERE {where} ORDER BY {by}'
    rows = db.execute(f"{query} LIMIT {int(asked.limit)}", values).fetchall()
    return table(channel, rows[::-1] if asked.newest else rows, scales)


def since(
    db: Connection, channel: Channel, seq: int, limit: int, key: dict[str, str | int], scales: tuple[int, int]
) -> pa.Table:
    """Rows of one series by their numbers, those that were replaced too.

    No number beyond is looked at: of a symbol's series, which share an index, one may have few rows, others millions.
    """
    tables = [table_name(channel.name), *([revised_name(channel.name)] if channel.name in REVISED else [])]
    where = " AND ".join(["seq >= %s", "seq < %s", *(f'"{name}" = %s' for name in key)])
    # Each on its own: the planner then takes the index of each.
    parts = [f'(SELECT {select_list(channel)} FROM "{name}" WHERE {where} ORDER BY seq)' for name in tables]
    place = [name for name, _ in channel.fields].index("seq") + 1
    query = f"SELECT * FROM ({' UNION ALL '.join(parts)}) found ORDER BY {place}"
    return table(channel, db.execute(query, [seq, seq + limit, *key.values()] * len(tables)).fetchall(), scales)


def page(db: Connection, asked: Asked, scales: tuple[int, int]) -> Page:
    """A page in a total order, see `tapeflow.stores.pages`."""
    channel = asked.known
    found = db.execute(*page_query(asked)).fetchall()
    if asked.newest:
        found = found[::-1]
    width = len(channel.fields)
    rows = table(channel, [row[:width] for row in found[: asked.limit]], scales)
    if len(found) <= asked.limit:
        return Page(rows)
    return Page(rows, tuple(_plain(value) for value in found[asked.limit - 1][width:]))


def page_query(asked: Asked) -> tuple[str, list[str | int]]:
    """The statement of a page and its values; the index on the time gives its rows all but in order."""
    channel, order = asked.known, terms(asked.known)
    where, values = _where(asked)
    by = ", ".join(f"{term} {asked.way}" for term in (time_term(channel), *order[1:]))
    query = f'SELECT {select_list(channel)}, {", ".join(order)} FROM "{table_name(channel.name)}" WHERE {where}'
    return f"{query} ORDER BY {by} LIMIT {int(asked.most)}", values


def _plain(value: Any) -> int | str:
    return value if isinstance(value, str) else int(value)


def terms(channel: Channel) -> list[str]:
    """The order of a channel's pages as integers and texts without null: time first, then its key."""
    kinds = dict(channel.fields)
    return [us(time_term(channel)), *(_term(name, kinds.get(name, "int")) for name in key_names(channel))]


def _term(name: str, kind: str) -> str:
    match kind:
        case "time":
            return f"coalesce({us(_quoted(name))}, -1)"
        case "id":
            return f"coalesce({_number(_quoted(name))}, -1)"
        case "int":
            return f"coalesce({_quoted(name)}, -1)" if name != "rowid" else "rowid"
        case _:
            return f"coalesce({_quoted(name)}, '')"


def _number(term: str) -> str:
    """An id as a number. Sinks of before kept others too: one such row must not spoil every page that covers it."""
    return f"CASE WHEN {term} ~ '^-?[0-9]+$' THEN {term}::numeric END"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _where(asked: Asked) -> tuple[str, list[str | int]]:
    channel, time = asked.known, time_term(asked.known)
    where, values = ["TRUE"], list[str | int]()
    bounds = ((asked.start, ">="), (asked.end, "<"), (int(asked.after[0]) if asked.after else None, ">="))
    for bound, sign in bounds:
        if bound is not None:
            where.append(f"{time} {sign} {time_of('%s')}")
            values.append(bound)
    for name, value in asked.key.items():
        where.append(f'"{name}" = %s')
        values.append(value)
    if asked.after is not None:
        order = terms(channel)
        where.append(f"({', '.join(order)}) > ({', '.join('%s' for _ in order)})")
        values += asked.after
    return " AND ".join(where), values


def file_order(channel: Channel) -> list[str]:
    """The order of a file of this channel; ids compare as numbers."""
    kinds = dict(channel.fields)
    made = []
    for name in channel.order:
        first, _, second = name.partition("|")
        term = f"coalesce({_quoted(first)}, {_quoted(second)})" if second else _quoted(first)
        made.append(_number(term) if kinds[first] == "id" else term)
    return made
