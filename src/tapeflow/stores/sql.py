"""SQL of strangers over a store: one statement that reads tables, within limits, and nothing else.

Four walls, each enough for most: the database has no way to files, network, extensions or settings (`CONFIG`,
`lock`); the statement's tree has only what is listed here (`_check`); it runs in a transaction that cannot write;
time, rows and bytes are counted while it runs. What no clock could end, because it is one step of the database, is
refused before: nesting, chains of names, tables multiplied by CTEs, values that grow out of one row.
"""

from __future__ import annotations

import math
import mmap
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    # What a heavy statement took is given back to the machine when it has ended.
    "allocator_background_threads": True,
    # Unless said, nine tenths of the disk: which the tape needs too.
    "max_temp_directory_size": "4GB",
}

ROWS = 100_000
SECONDS = 10.0
#: How often a running statement is looked at.
LOOK_S = 0.05
#: How long the one that writes waits for statements to end.
WAY_S = 2.0
#: What the rows of one answer may take in memory.
BYTES = 64 << 20
#: What the process may grow by while a statement runs; values in the making are not in ``memory_limit``.
GROWTH = 1 << 30
#: The longest statement.
LONGEST = 64 << 10
#: Brackets within brackets, names in a chain of dots, and tables after every CTE has been put in its place.
DEPTH, CHAIN, TABLES = 100, 16, 500
#: How large a value may be made out of the text of the statement alone.
VALUE = 1 << 28

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
    "pg_sleep", "sleep", "sleep_ms", "bitstring",
    # of one step that takes the product of two lengths
    "levenshtein", "editdist3", "damerau_levenshtein", "jaccard", "jaro_similarity", "jaro_winkler_similarity",
})  # fmt: skip
#: What makes a value longer: each argument as much as the first.
_JOINS = frozenset({
    "||", "concat", "concat_ws", "list_concat", "list_cat", "array_concat", "array_cat", "hex", "to_hex", "bin",
    "to_binary", "base64", "to_base64", "url_encode", "to_json", "json_quote",
})  # fmt: skip
_REPLACES = frozenset({"replace", "regexp_replace"})
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


class Statements:
    """The statements that run over one store, which share its memory with the one that writes it."""

    def __init__(self) -> None:
        self._running: set[_Clock] = set()
        self._changed = threading.Condition()

    def give_way(self) -> bool:
        """End all of them, whose memory is needed; return when they have, at most `WAY_S` later. False: none ran."""
        with self._changed:
            found = bool(self._running)
            for clock in self._running:
                clock.is_full = True
            self._changed.wait_for(lambda: not self._running, WAY_S)
        return found

    @contextmanager
    def among(self, clock: _Clock) -> Iterator[None]:
        """While a statement runs."""
        with self._changed:
            self._running.add(clock)
        try:
            yield
        finally:
            with self._changed:
                self._running.discard(clock)
                self._changed.notify_all()


def select(
    db: duckdb.DuckDBPyConnection,
    sql: str,
    *,
    rows: int = ROWS,
    seconds: float = SECONDS,
    bytes: int = BYTES,
    statements: Statements | None = None,
) -> Selected:
    """The rows of one statement, on a connection of its own; raises `SqlError`."""
    cursor = db.cursor()
    clock = _Clock(cursor, seconds)
    with (statements or Statements()).among(clock):
        try:
            check(cursor, sql)
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            with clock:
                return _fetch(cursor, sql, rows, bytes)
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # the last two while rows are given
            if clock.is_full:
                said = "the statement took memory that it may not, or that the store needs, and was ended; ask for less"
                raise SqlError(said) from error
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


def _said(error: Exception, seconds: float, *, is_over: bool) -> str:
    if is_over:
        return (
            f"the statement took longer than {seconds:g} s and was ended; ask for less, as with WHERE ts_start >= ..."
        )
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]).strip()


class _Clock:
    """Interrupts a connection when the time is over, or the process has grown too much."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, seconds: float) -> None:
        self._cursor = cursor
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sql-clock", daemon=True)
        self.is_over = False
        self.is_full = False

    def _watch(self) -> None:
        end, most = time.monotonic() + self._seconds, _resident() + GROWTH
        while not self._ended.wait(min(LOOK_S, max(0.0, end - time.monotonic()))):
            self.is_full = self.is_full or _resident() > most
            self.is_over = self.is_over or time.monotonic() >= end
            if self.is_full or self.is_over:
                self._cursor.interrupt()
                self._ended.wait(LOOK_S)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _resident() -> int:
    """Bytes of memory that this process has; 0 where the machine does not tell cheaply."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


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
    _check_nesting(sql)
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
        try:
            tree = _tree(cursor, sql)
            _check_tree(tree)
            _check_size(tree, len(sql))
        except RecursionError as error:
            raise SqlError(f"the statement is nested too deeply; {_HINT}") from error
    else:
        raise SqlError(f"{_HINT}; {kind.replace('_', ' ')} is not one: the store is read-only here")


def _check_nesting(sql: str) -> None:
    """Refuse brackets within brackets within brackets, for which the parser takes time that nobody can end."""
    depth = 0
    raw = sql.encode()
    for at, kind in duckdb.tokenize(sql):
        if kind == duckdb.token_type.operator:
            depth += (raw[at : at + 1] in b"([{") - (raw[at : at + 1] in b")]}")
            if depth > DEPTH:
                raise SqlError(f"the statement has more than {DEPTH} brackets within each other; ask in parts")


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


# -- what would grow ---------------------------------------------------------------------------------------


def _check_size(tree: Any, length: int) -> None:
    """Refuse what makes much out of little: the database looks at no clock while it does."""
    bits = math.log2(length)
    for node, _ in _walk(tree):
        name = str(node.get("function_name", "")).lower()
        if len(node.get("column_names") or ()) > CHAIN:
            raise SqlError(f"a name has at most {CHAIN} parts; {_HINT}")
        if name in _JOINS:
            bits += max(1.0, math.log2(max(1, len(node.get("arguments", ())))))
        if name in _REPLACES:
            bits += math.log2(max(1, _replacement(node, name)))
    if bits > math.log2(VALUE):
        raise SqlError("the statement joins or replaces so many texts that they could outgrow any memory; ask in parts")
    if _tables(tree, {}) > TABLES:
        raise SqlError(f"with each CTE in its place the statement reads more than {TABLES} tables; ask in parts")


def _replacement(node: dict[str, Any], name: str) -> int:
    """How long the text is that is put in; raises `SqlError` where only the rows know."""
    given = node.get("arguments", ())
    if len(given) < 3:
        return 1
    literal = given[2].get("expression", {}).get("literal")
    if literal is None or any(one.get("name") for one in given):
        raise SqlError(f"{name} is allowed with a constant text to put in only; {_HINT}")
    return len(str(literal.get("text") or ""))


def _tables(node: Any, known: dict[str, int]) -> int:
    """How many tables a tree reads, those of the CTEs it names counted each time; ``known`` are CTEs around it."""
    if isinstance(node, list):
        return min(TABLES + 1, sum(_tables(one, known) for one in node))
    if not isinstance(node, dict):
        return 0
    ctes = node.get("cte_map")
    if isinstance(ctes, dict):
        known = dict(known)
        for entry in ctes.get("map", ()):
            known[str(entry["key"]).lower()] = max(1, _tables(entry["value"], known))
    own = known.get(str(node["table_name"]).lower(), 1) if node.get("type") == "BASE_TABLE" else 0
    rest = sum(_tables(value, known) for name, value in node.items() if name != "cte_map")
    return min(TABLES + 1, own + rest)
