"""The tables of a SQL store: types, creation and migrations. One table for each channel, `.` written as `_`."""

from __future__ import annotations

from tapeflow.domain.errors import StoreError
from tapeflow.stores.channels import Channel, Kind

#: The form of the tables; see MIGRATIONS.
VERSION = 2

#: What turns a store of the version before into one of this version.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    # Version 1 did not say which code had made its rows.
    2: ("INSERT INTO meta VALUES ('fingerprint', '')",),
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


def create_table(channel: Channel, price_scale: int, size_scale: int) -> str:
    """The statement that makes the table of a channel; exact values are DECIMAL(38, scale)."""
    columns = ", ".join(f'"{name}" {_sql_type(kind, price_scale, size_scale)}' for name, kind in channel.fields)
    return f'CREATE TABLE IF NOT EXISTS "{table_name(channel.name)}" ({columns})'


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
