"""SQL of strangers over a store: one statement that reads tables, within limits, and nothing else.

Four walls, each enough for most: the database has no way to files, network, extensions or settings (`CONFIG`,
`lock`); the statement's tree has only what is listed here (`_check`); it runs in a transaction that cannot write;
time, rows and bytes are counted while it runs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from tapeflow.domain.errors import StoreError

#: How every store of ours is opened.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 2,
    "memory_limit": "1GB",
    "wal_autocheckpoint": "64MB",
    "enable_external_access": False,
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}

ROWS = 100_000
SECONDS = 10.0
#: What the rows of one answer may take in memory.
BYTES = 64 << 20
#: The longest statement.
LONGEST = 64 << 10

_HINT = "expected one statement that reads, such as SELECT * FROM candles LIMIT 10"
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?", re.IGNORECASE)

_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLE_FUNCTIONS = frozenset({
    "range", "generate_series", "unnest", "repeat", "summary", "json_each", "json_tree", "histogram",
    "histogram_values", "icu_calendar_names", "pg_timezone_names", "pragma_table_info", "pragma_version",
    "duckdb_columns", "duckdb_functions", "duckdb_keywords", "duckdb_schemas", "duckdb_tables", "duckdb_types",
    "duckdb_views",
})  # fmt: skip
#: What tells of the machine, changes something, or makes a value of any size of one row, which no limit would see.
_FUNCTIONS = frozenset({
    "getenv", "getvariable", "current_setting", "write_log", "nextval", "currval", "setseed", "which_secret",
    "query", "query_table", "json_execute_serialized_sql", "repeat", "lpad", "rpad", "printf", "format", "bar",
    "list_resize", "array_resize", "range", "generate_series", "current_query", "in_search_path", "txid_current",
    "pg_sleep", "sleep", "sleep_ms",
})  # fmt: skip
_VIEWS = frozenset({"duckdb_logs", "duckdb_settings", "duckdb_secrets", "pg_settings", "duckdb_databases"})


class SqlError(StoreError):
    """A statement is not one that may be asked, is wrong, or takes more than it may; the store is as it was."""


class Selected(msgspec.Struct, frozen=True):
    """The rows of a statement; ``is_truncated`` says that there were more."""

    rows: pa.Table
    is_truncated: bool = False


def lock(db: duckdb.DuckDBPyConnection) -> None:
    """Let nobody change the settings of a database from now on; all its connections show times in UTC."""
    db.execute("SET GLOBAL TimeZone = 'UTC'")
    db.execute("SET lock_configuration = true")


def select(
    db: duckdb.DuckDBPyConnection, sql: str, *, rows: int = ROWS, seconds: float = SECONDS, bytes: int = BYTES
) -> Selected:
    """The rows of one statement, on a connection of its own; raises `SqlError`."""
    cursor = db.cursor()
    clock = _Clock(cursor, seconds)
    try:
        check(cursor, sql)
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        with clock:
            return _fetch(cursor, sql, rows, bytes)
    except duckdb.Error as error:
        raise SqlError(_said(error, seconds, is_over=clock.is_over)) from error
    finally:
        cursor.close()


def select_file(path: Path, sql: str, *, rows: int = ROWS, seconds: float = SECONDS, bytes: int = BYTES) -> Selected:
    """As `select`, of a store that nobody writes; raises `StoreError`."""
    try:
        db = duckdb.connect(str(path), read_only=True, config=CONFIG)
    except duckdb.Error as error:
        raise StoreError(opening(path, error).replace("cannot open the store", "cannot ask")) from error
    try:
        lock(db)
        return select(db, sql, rows=rows, seconds=seconds, bytes=bytes)
    finally:
        db.close()


def opening(path: Path, error: duckdb.Error) -> str:
    """Why a store cannot be opened, for a person."""
    text = str(error).splitlines()[0]
    if "lock" in text.lower():
        return f"the store {path} is in use by another process; stop it, or ask it: {text}"
    return f"cannot open the store {path}: {text}"


def _said(error: duckdb.Error, seconds: float, *, is_over: bool) -> str:
    if is_over:
        return (
            f"the statement took longer than {seconds:g} s and was ended; ask for less, as with WHERE ts_start >= ..."
        )
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]).strip()


class _Clock:
    """Interrupts a connection when the time is over."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, seconds: float) -> None:
        self._cursor = cursor
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self.is_over = False

    def _end(self) -> None:
        self.is_over = True
        self._cursor.interrupt()

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()


def _fetch(cursor: duckdb.DuckDBPyConnection, sql: str, rows: int, bytes: int) -> Selected:
    found = cursor.sql(sql)
    if found is None:
        raise SqlError(_HINT)
    reader = found.to_arrow_reader(2048)
    kept: list[pa.RecordBatch] = []
    count = size = 0
    for batch in reader:
        kept.append(batch)
        count += batch.num_rows
        size += batch.nbytes
        if count > rows or size > bytes:
            break
    table = pa.Table.from_batches(kept, reader.schema)
    is_truncated = count > rows or size > bytes
    return Selected(table.slice(0, rows), is_truncated)


# -- what may be asked -----------------------------------------------------------------------------------


def check(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse what is not one reading statement of what is allowed; raises `SqlError`, `duckdb.Error`."""
    if len(sql) > LONGEST:
        raise SqlError(f"the statement has {len(sql):,} characters; at most {LONGEST:,} are read")
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        raise SqlError(f"{_HINT}; got {len(statements) or 'no'} statements")
    kind = statements[0].type.name
    if kind == "EXPLAIN":
        inner = _EXPLAIN.match(sql)
        if inner is None:
            raise SqlError("write EXPLAIN before a SELECT, without options and comments")
        check(cursor, sql[inner.end() :])
    elif kind == "SELECT":
        _check_tree(_tree(cursor, sql))
    else:
        raise SqlError(f"{_HINT}; {kind.replace('_', ' ')} is not one: the store is read-only here")


def _tree(cursor: duckdb.DuckDBPyConnection, sql: str) -> Any:
    found = cursor.execute("SELECT CAST(json_serialize_sql(?) AS VARCHAR)", [sql]).fetchall()
    tree = msgspec.json.decode(found[0][0])
    if tree.get("error", True):
        raise SqlError(f"{_HINT}; {tree.get('error_message', 'this one cannot be looked into')}")
    return tree["statements"]


def _check_tree(tree: Any) -> None:
    for node, is_table in _walk(tree):
        kind, name = node.get("type"), str(node.get("function_name", "")).lower()
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _NODES:
            raise SqlError(f"{_HINT}; a {kind.split('_')[0]} inside of it is not allowed")
        if name and is_table and name not in _TABLE_FUNCTIONS:
            raise SqlError(f"the table function {name} is not allowed here; {_HINT}")
        if name and not is_table and name in _FUNCTIONS:
            raise SqlError(f"the function {name} is not allowed here; leave it out")
        if str(node.get("table_name", "")).lower() in _VIEWS and kind == "BASE_TABLE":
            raise SqlError(f"the view {node['table_name']} is not shown here; ask the channels: candles, trades, ...")


def _walk(tree: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """Every object of the tree, and whether it is the call of a table function."""
    waiting: list[tuple[Any, bool]] = [(tree, False)]
    while waiting:
        node, is_table = waiting.pop()
        if isinstance(node, dict):
            yield node, is_table
            calls = node.get("type") == "TABLE_FUNCTION"
            waiting += [(value, calls and name == "function") for name, value in node.items()]
        elif isinstance(node, list):
            waiting += [(value, False) for value in node]
