"""SQL over a data folder: of the run that has it open, else of the file; one statement that reads, and nothing else."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from tapeflow.app.run import Folder
from tapeflow.app.running import address, detail
from tapeflow.domain.errors import InputError, OutputError, StoreError
from tapeflow.stores import render, sql
from tapeflow.stores.sql import Selected, SqlError

SHOWN = 50

_ARROW = "application/vnd.apache.arrow.stream"


def select(data: Path, statement: str, key: str | None = None) -> Selected:
    """The rows of a statement over the tables of a data folder; raises `InputError`, `StoreError`.

    A run that is using the folder answers, within its limits; ``key`` is for one that asks for it.
    """
    folder = Folder(data)
    at = address(data)
    if at is not None:
        return _ask(at, statement, key)
    if not folder.store.exists():
        raise InputError(f"{data} holds no results.duckdb; give the data folder of `tapeflow run`")
    return sql.select_file(folder.store, statement)


def _ask(address: str, statement: str, key: str | None) -> Selected:
    headers = {"Accept": _ARROW, "Content-Type": "text/plain; charset=utf-8"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{address}/v1/sql", statement.encode(), headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            rows = pa.ipc.open_stream(answer.read()).read_all()
            return Selected(rows, answer.headers["Tapeflow-Truncated"] == "true")
    except urllib.error.HTTPError as error:
        with error:
            raise SqlError(detail(error.read(), error.code)) from error
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"the run at {address} does not answer: {error}; see its log, or stop it") from error


def write(rows: pa.Table, out: Path) -> None:
    """Write rows as Parquet, or CSV by the suffix; raises `OutputError`."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".csv":
            out.write_bytes(render.csv(rows))
        else:
            pq.write_table(rows, out, compression="zstd")
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"cannot write {out}: {error}; choose another --out, ending in .parquet or .csv") from error


def table(rows: pa.Table) -> Table:
    """The first rows for a person."""
    shown = Table(title=f"{rows.num_rows} rows" + (f", the first {SHOWN}" if rows.num_rows > SHOWN else ""))
    for name in rows.column_names:
        shown.add_column(name)
    for row in rows.slice(0, SHOWN).to_pylist():
        shown.add_row(*(str(value) for value in row.values()))
    return shown
