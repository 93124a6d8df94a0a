"""Pages of a channel's table: rows in a total order, so that a page goes on exactly where the one before ended."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

import duckdb
import msgspec
import pyarrow as pa

from tapeflow.domain.time import parse_span
from tapeflow.stores.channels import CHANNELS, Channel
from tapeflow.stores.schema import table_name

#: A place in the order: the values of its terms for one row.
Position = tuple[int | str, ...]

#: Statements that a thread keeps.
SHAPES = 256

_OF_THREAD = threading.local()
_TIMES = ("ts_start", "ts_event", "ts_recv")
#: What tells rows of the same time apart in a channel without a key.
_CONTENT = {
    "coverage": ("venue", "symbol", "stream", "first_id", "last_id", "state", "guarantee", "ts_end"),
    "quarantine": ("venue", "symbol", "rowid"),
}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a channel are asked for: at most ``limit``, whose time lies in ``[start, end)`` and whose fields
    have the values of ``key``; after a position, or the last ones if ``newest``."""

    channel: str
    key: Mapping[str, str | int] = {}
    start: int | None = None
    end: int | None = None
    after: Position | None = None
    limit: int
    newest: bool = False

    @property
    def known(self) -> Channel:
        """What a channel of this name has."""
        return CHANNELS[self.channel]

    @property
    def way(self) -> str:
        """The order in which a database finds the rows."""
        return "DESC" if self.newest else "ASC"

    @property
    def most(self) -> int:
        """How many rows a database must find to know whether there are more."""
        return self.limit + (not self.newest)


class Page(msgspec.Struct, frozen=True):
    """Rows, ascending; ``end`` is the position of the last one if there are more."""

    rows: pa.Table
    end: Position | None = None


def time_term(channel: Channel) -> str:
    """The time that ranges of a channel test, as SQL: ``ts_recv`` stands in where ``ts_event`` may be null.

    The index in PostgreSQL is on this very term.
    """
    first, *other = _times(channel)
    return f'coalesce("{first}", "{other[0]}")' if other else f'"{first}"'


def _times(channel: Channel) -> list[str]:
    """The column with the time of a row, and the one that stands in for it where the channel's order says so."""
    names = [name for name, _ in channel.fields]
    first = next(name for name in _TIMES if name in names)
    return [first, "ts_recv"] if f"{first}|ts_recv" in channel.order else [first]


def terms(channel: Channel) -> list[str]:
    """The order of a channel's pages, as SQL terms of integers and texts without null: time first, then its key."""
    return [term for _, term in _named_terms(channel)]


def _named_terms(channel: Channel) -> list[tuple[str, str]]:
    """The terms with the columns that they are of; that of the time has no name, for it may be of two."""
    kinds = dict(channel.fields)
    named = [(name, _term(name, kinds.get(name, "int"))) for name in key_names(channel)]
    return [("", f"epoch_us({time_term(channel)})"), *named]


def _term(name: str, kind: str) -> str:
    match kind:
        case "time":
            return f'coalesce(epoch_us("{name}"), -1)'
        case "id":
            return f'coalesce(try_cast("{name}" AS BIGINT), -1)'
        case "int":
            return f'coalesce("{name}", -1)' if name != "rowid" else "rowid"
        case _:
            return f"coalesce(\"{name}\", '')"


def read(db: duckdb.DuckDBPyConnection, asked: Asked) -> Page:
    """What is asked for. ``db`` must be a connection of the caller's own; it is closed. Raises `duckdb.Error`."""
    try:
        return _read(db, asked)
    finally:
        db.close()


def _read(db: duckdb.DuckDBPyConnection, asked: Asked) -> Page:
    if _most(asked) <= asked.limit:
        return Page(_all(db, asked))
    # What is the same in all rows orders nothing: a column that is sorted alone is sorted sooner.
    order = [term for name, term in _named_terms(asked.known) if name not in asked.key]
    names = [f"position_{number}" for number in range(len(order))]
    fields = [f'"{name}"' for name, _ in asked.known.fields]
    fields += [f'{term} AS "{name}"' for term, name in zip(order, names, strict=True)]
    where, values = _where(_narrowed(db, asked) if _times(asked.known)[0] == "ts_event" else asked)
    by = ", ".join(f"{name} {asked.way}" for name in (time_term(asked.known), *names[1:]))
    query = f"SELECT {', '.join(fields)} {_from(asked)} WHERE {where} ORDER BY {by} LIMIT {asked.most}"
    found = db.sql(_parsed(db, query), params=values).to_arrow_table()
    if asked.newest:
        found = found.take(pa.array(range(found.num_rows - 1, -1, -1), pa.int64()))
    rows = found.slice(0, asked.limit).drop_columns(names)
    if found.num_rows <= asked.limit:
        return Page(rows)
    last = iter(found.select(names).slice(asked.limit - 1, 1).to_pylist()[0].values())
    return Page(rows, tuple(asked.key[n] if n in asked.key else next(last) for n, _ in _named_terms(asked.known)))


def _parsed(db: duckdb.DuckDBPyConnection, query: str) -> duckdb.Statement:
    """A statement that this thread has parsed once: the queries of all clients are of few shapes."""
    known: dict[str, duckdb.Statement] = _OF_THREAD.__dict__.setdefault("known", {})
    if query not in known:
        if len(known) >= SHAPES:
            known.clear()
        (known[query],) = db.extract_statements(query)
    return known[query]


def _most(asked: Asked) -> float:
    """How many rows there can be: as many as windows, where one interval of one series is asked for, and a range."""
    start = asked.start if asked.start is not None else int(asked.after[0]) if asked.after else None
    is_one = "interval" in asked.key and all(name in asked.key for name in key_names(asked.known))
    if start is None or asked.end is None or not is_one or asked.channel == "klines":
        return math.inf
    return -(-max(0, asked.end - start) // parse_span(str(asked.key["interval"])))


def _all(db: duckdb.DuckDBPyConnection, asked: Asked) -> pa.Table:
    """All rows of a range in which there are few: to sort them in the database takes it longer than to read them."""
    where, values = _where(asked)
    fields = ", ".join(f'"{name}"' for name, _ in asked.known.fields)
    query = _parsed(db, f"SELECT {fields} {_from(asked)} WHERE {where}")
    found = db.sql(query, params=values).to_arrow_table()
    time = _times(asked.known)[0]
    at = found.column(time).cast(pa.int64()).to_numpy()
    return found if (at[1:] > at[:-1]).all() else found.sort_by(time)


def _from(asked: Asked) -> str:
    return f'FROM "{table_name(asked.channel)}"'


def _narrowed(db: duckdb.DuckDBPyConnection, asked: Asked) -> Asked:
    """A range with the same first rows, so short that they are found quickly.

    The order by a bare column lets the database pass over what it need not read; that by a term of two does not, and
    that by more columns does so less. Events are many.
    """
    first, *other = _times(asked.known)
    where, values = _where(asked)
    places = [(first, f'"{first}" IS NOT NULL'), *((second, f'"{first}" IS NULL') for second in other)]
    for column, only in places:
        query = f'SELECT "{column}" AS place {_from(asked)} WHERE {where} AND {only} '
        query += f"ORDER BY place {asked.way} LIMIT {asked.most}"
        edge = "min" if asked.newest else "max"
        counted = _parsed(db, f"SELECT count(*), epoch_us({edge}(place)) FROM ({query})")
        found = db.execute(counted, values).fetchall()
        count, place = found[0]
        if count == asked.most:
            change = {"start": place} if asked.newest else {"end": place + 1}
            return msgspec.structs.replace(asked, **change)
    return asked


def _where(asked: Asked) -> tuple[str, list[str | int]]:
    channel, after = asked.known, asked.after
    time, (first, *other) = time_term(channel), _times(channel)
    where, values = ["TRUE"], list[str | int]()
    bounds = ((asked.start, ">="), (asked.end, "<"), (int(after[0]) if after else None, ">="))
    for bound, sign in bounds:
        if bound is not None:
            where.append(f"{time} {sign} make_timestamptz(?)")
            values.append(bound)
            if other:  # says nothing new, but lets the database pass over what is of another time
                where.append(f'("{first}" {sign} make_timestamptz(?) OR "{first}" IS NULL)')
                values.append(bound)
    for name, value in asked.key.items():
        where.append(f'"{name}" = ?')
        values.append(value)
    if after is not None:
        order = terms(channel)
        where.append(f"({', '.join(order)}) > ({', '.join('?' for _ in order)})")
        values += after
    return " AND ".join(where), values


def is_position(channel: Channel, position: Position) -> bool:
    """Whether these values can be a place in the order of a channel."""
    kinds = [int, *(int if _is_number(channel, name) else str for name in key_names(channel))]
    return (
        len(position) == len(kinds)
        and all(isinstance(value, kind) for value, kind in zip(position, kinds, strict=True))
        and all(abs(value) < 1 << 63 for value in position if isinstance(value, int))
        and abs(int(position[0])) < 10**18
    )


def key_names(channel: Channel) -> list[str]:
    """The columns that tell rows of the same time apart."""
    return [name for name in channel.key or _CONTENT[channel.name] if name not in ("ts_start", "ts_recv")]


def _is_number(channel: Channel, name: str) -> bool:
    return dict(channel.fields).get(name, "int") in ("int", "id", "time")
