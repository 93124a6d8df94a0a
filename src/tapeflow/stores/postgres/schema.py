"""The tables in PostgreSQL: one for each channel, another for what was replaced, and what is kept of their origin.

Exact values are NUMERIC(38, scale), times TIMESTAMPTZ (microseconds, as everywhere), ``values`` and levels JSONB.
"""

from __future__ import annotations

from collections.abc import Iterable

from tapeflow.domain.errors import StoreError
from tapeflow.stores.channels import REVISED, Channel, Kind
from tapeflow.stores.pages import time_term
from tapeflow.stores.schema import revised_name, table_name

#: The form of the tables; see `MIGRATIONS`.
VERSION = 3

#: What turns tables of the version before into those of this version; what lacks then is made by `create_tables`.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    # In version 1 indexes were on one column of the time where two stand in for each other.
    2: tuple(f'DROP INDEX IF EXISTS "{table}_time"' for table in ("quotes", "quotes_latest", "book", "tickers")),
    # In version 2 rows of all symbols together were found by no index.
    3: (),
}

#: Channels that are asked for without a symbol, too.
OF_ALL_SYMBOLS = ("late", "quarantine")

#: Rows of a channel without a key are the same if these are.
CONTENT = {
    "quarantine": ("ts_recv", "connection", "reason", "frame"),
    "coverage": ("symbol", "stream", "ts_start", "first_id"),
}

_PLAIN: dict[Kind, str] = {
    "text": "TEXT",
    "id": "TEXT",
    "int": "BIGINT",
    "float": "DOUBLE PRECISION",
    "bool": "BOOLEAN",
    "time": "TIMESTAMPTZ",
    "values": "JSONB",
    "levels": "JSONB",
    "bytes": "BYTEA",
}

#: ``meta``: version and marks of the whole. ``positions``: the next offset of each partition whose rows are here.
#: ``series``: how many rows each series has had, by the partition that it came from.
OWN = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS positions (topic TEXT, part INTEGER, next BIGINT NOT NULL, PRIMARY KEY (topic, part))
    WITH (fillfactor = 50)""",
    """CREATE TABLE IF NOT EXISTS series (channel TEXT, series TEXT, part INTEGER NOT NULL, count BIGINT NOT NULL,
    PRIMARY KEY (channel, series)) WITH (fillfactor = 50)""",
)


#: Tells rows apart that have no key.
_ROWID = "rowid BIGINT GENERATED ALWAYS AS IDENTITY"


def identifier(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def grants(schema: str, role: str, channels: Iterable[Channel]) -> list[str]:
    """The statements that let a role read the tables of these channels, and `OWN`."""
    tables = ["meta", "positions", "series"]
    for channel in channels:
        tables.append(table_name(channel.name))
        if channel.name in REVISED:
            tables.append(revised_name(channel.name))
    names, to = ", ".join(map(identifier, tables)), identifier(role)
    return [f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {to}", f"GRANT SELECT ON {names} TO {to}"]


def create_tables(channel: Channel, price_scale: int, size_scale: int) -> list[str]:
    """The statements that make the tables of a channel with their indexes."""
    columns = ", ".join(f'"{name}" {column_type(kind, price_scale, size_scale)}' for name, kind in channel.fields)
    table = table_name(channel.name)
    key = ", ".join(f'"{name}"' for name in channel.key)
    made = [
        f'CREATE TABLE IF NOT EXISTS "{table}" ({columns}, {f"UNIQUE NULLS NOT DISTINCT ({key})" if key else _ROWID})'
    ]
    if has_time_index(channel):
        made.append(f'CREATE INDEX IF NOT EXISTS "{table}_time" ON "{table}" (symbol, ({time_term(channel)}))')
    if channel.name in OF_ALL_SYMBOLS:
        made.append(f'CREATE INDEX IF NOT EXISTS "{table}_all_time" ON "{table}" (({time_term(channel)}))')
    if channel.name in REVISED:
        revised = revised_name(channel.name)
        made.append(f'CREATE TABLE IF NOT EXISTS "{revised}" ({columns})')
        made.append(f'CREATE INDEX IF NOT EXISTS "{revised}_seq" ON "{revised}" (symbol, seq)')
    if any(name == "seq" for name, _ in channel.fields):
        made.append(f'CREATE INDEX IF NOT EXISTS "{table}_seq" ON "{table}" (symbol, seq)')
    return made


def has_time_index(channel: Channel) -> bool:
    """Whether rows of a symbol are found by their time with an index of its own, not by that of the key.

    Only candles are always asked for with all of their key but the time.
    """
    return channel.name != "candles"


def dropped(channel: Channel, before: str, most: int) -> str:
    """The statement that deletes so many rows of before a time, itself SQL.

    An index that begins with the symbol is of use only where symbols are named: they are looked up in it, one by one.
    """
    table = f'"{table_name(channel.name)}"'
    old = f"SELECT ctid FROM {table} WHERE {time_term(channel)} < {before}"
    if "symbol" not in channel.key or not has_time_index(channel):
        return f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({old} LIMIT {most}))"
    least = f"SELECT min(symbol) FROM {table}"
    return (
        f"WITH RECURSIVE known(symbol) AS ({least} UNION ALL "
        f"SELECT ({least} t WHERE t.symbol > known.symbol) FROM known WHERE known.symbol IS NOT NULL) "
        f"DELETE FROM {table} WHERE ctid = ANY (ARRAY("
        f"{old} AND symbol = ANY (ARRAY(SELECT symbol FROM known)) LIMIT {most}))"
    )


def column_type(kind: Kind, price_scale: int, size_scale: int) -> str:
    """The type of a column."""
    scales: dict[Kind, int] = {"price": price_scale, "size": size_scale, "quote": price_scale + size_scale}
    return f"NUMERIC(38, {scales[kind]})" if kind in scales else _PLAIN[kind]


def steps(found: int) -> list[tuple[int, tuple[str, ...]]]:
    """The migrations from a version found to this one; raises `StoreError` for one that is newer."""
    if found > VERSION:
        raise StoreError(
            f"expected tables of version {VERSION} or older, got {found}: they were made by a newer release; use that "
            "release, or another schema in [postgres]"
        )
    return [(version, MIGRATIONS[version]) for version in range(found + 1, VERSION + 1)]
