"""The tables of a SQL store: types, creation and migrations. One table for each channel, `.` written as `_`."""

from __future__ import annotations

from tapeflow.domain.errors import StoreError
from tapeflow.stores.channels import REVISED, Channel, Kind

#: The form of the tables; see MIGRATIONS.
VERSION = 3

#: What turns a store of the version before into one of this version.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    # Version 1 did not say which code had made its rows.
    2: ("INSERT INTO meta VALUES ('fingerprint', '')",),
    # Version 2 did not number its rows; what it had cannot be resumed from.
    3: tuple(
        f"ALTER TABLE IF EXISTS {table} ADD COLUMN IF NOT EXISTS seq BIGINT"
        for table in ("trades", "candles", "moving_average", "indicators")
    ),
}

META = "CREATE TABLE IF NOT EXISTS meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)"

_PLAIN: dict[Kind, str] = {
    "text": "VARCHAR",
    "id": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "time": "TIMESTAMPTZ",
    "values": "MAP(VARCHAR, DOUBLE)",
    "bytes": "BLOB",
}


def table_name(channel: str) -> str:
    """The table of a channel."""
    return channel.replace(".", "_")


def revised_name(channel: str) -> str:
    """The table of the rows of a channel that a later revision has replaced."""
    return f"{table_name(channel)}_revised"


def create_tables(channel: Channel, price_scale: int, size_scale: int) -> list[str]:
    """The statements that make the tables of a channel; exact values are DECIMAL(38, scale)."""
    columns = ", ".join(f'"{name}" {_sql_type(kind, price_scale, size_scale)}' for name, kind in channel.fields)
    tables = [table_name(channel.name), *([revised_name(channel.name)] if channel.name in REVISED else [])]
    return [f'CREATE TABLE IF NOT EXISTS "{table}" ({columns})' for table in tables]


def _sql_type(kind: Kind, price_scale: int, size_scale: int) -> str:
    price, size = f"DECIMAL(38, {price_scale})", f"DECIMAL(38, {size_scale})"
    exact: dict[Kind, str] = {
        "price": price,
        "size": size,
        "quote": f"DECIMAL(38, {price_scale + size_scale})",
        "levels": f"STRUCT(price {price}, size {size})[]",
    }
    return exact.get(kind) or _PLAIN[kind]


def steps(found: int) -> list[tuple[int, tuple[str, ...]]]:
    """The migrations from a version found to this one; raises `StoreError` for one that is newer."""
    if found > VERSION:
        raise StoreError(
            f"expected a store of version {VERSION} or older, got {found}: it was made by a newer release; "
            "use that release, or start with another data folder"
        )
    return [(version, MIGRATIONS[version]) for version in range(found + 1, VERSION + 1)]
