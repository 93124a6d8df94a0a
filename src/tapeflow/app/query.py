"""SQL over a store: one statement that reads, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from rich.table import Table

from tapeflow.app.run import Folder
from tapeflow.domain.errors import InputError, OutputError
from tapeflow.stores.duckdb import query

SHOWN = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def select(data: Path, sql: str) -> pa.Table:
    """The rows of a statement over the tables of a data folder; raises `InputError`, `StoreError`."""
    store = Folder(data).store
    if not store.exists():
        raise InputError(f"{data} holds no results.duckdb; give the data folder of `tapeflow run`")
    return query(store, sql)


def write(rows: pa.Table, out: Path) -> None:
    """Write rows as Parquet, or CSV by the suffix; raises `OutputError`."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".csv":
            pc.write_csv(rows, out)
        else:
            pq.write_table(rows, out, compression="zstd")
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"cannot write {out}: {error}; choose another --out, ending in .parquet or .csv") from error


def json_lines(rows: pa.Table) -> Iterator[bytes]:
    """One JSON object a row, by the rules of the contract: times in microseconds, exact values as decimal text."""
    for row in rows.to_pylist():
        yield msgspec.json.encode({name: _plain(value) for name, value in row.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def table(rows: pa.Table) -> Table:
    """The first rows for a person."""
    shown = Table(title=f"{rows.num_rows} rows" + (f", the first {SHOWN}" if rows.num_rows > SHOWN else ""))
    for name in rows.column_names:
        shown.add_column(name)
    for row in rows.slice(0, SHOWN).to_pylist():
        shown.add_row(*(str(value) for value in row.values()))
    return shown
