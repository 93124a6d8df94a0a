"""The tables in PostgreSQL: one for each channel, another for what was replaced, and what is kept of their origin.

Exact values are NUMERIC(38, scale), times TIMESTAMPTZ (microseconds, as everywhere), ``values`` and levels JSONB.
"""

from __future__ import annotations

from collections.abc import Iterable

from tapeflow.domain.errors import StoreError
from tapeflow.stores.channels import REVISED, Channel, Kind
from tapeflow.stores.schema import revised_name, table_name

#: The form of the tables; see `MIGRATIONS`.
VERSION = 1

#: What turns tables of the version before into those of this version.
MIGRATIONS: dict[int, tuple[str, ...]] = {}

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
    time = _time(channel)
    if time not in channel.key:
        made.append(f'CREATE INDEX IF NOT EXISTS "{table}_time" ON "{table}" (symbol, "{time}")')
    if channel.name in REVISED:
        revised = revised_name(channel.name)
        made.append(f'CREATE TABLE IF NOT EXISTS "{revised}" ({columns})')
        made.append(f'CREATE INDEX IF NOT EXISTS "{revised}_seq" ON "{revised}" (symbol, seq)')
    if any(name == "seq" for name, _ in channel.fields):
        made.append(f'CREATE INDEX IF NOT EXISTS "{table}_seq" ON "{table}" (symbol, seq)')
    return made


def _time(channel: Channel) -> str:
    names = [name for name, _ in channel.fields]
    if channel.name == "quotes":
        return "ts_recv"
    return next(name for name in ("ts_start", "ts_event", "ts_recv") if name in names)


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
