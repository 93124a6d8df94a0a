"""SQL of strangers over the tables in PostgreSQL: one statement that reads, within limits, and nothing else.

Four walls, as in `tapeflow.stores.sql`: the role may do nothing but read (`check_role`); the statement, which is one by
itself, is put in brackets as the table of a SELECT, where only one that reads fits; its transaction cannot write; the
database counts the time, and time, rows and bytes are counted here. What would raise a limit, take a statement as a
text, hold what others need or make a large value of the server's memory is refused by its name (`_REFUSED`).
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.conninfo import conninfo_to_dict

from tapeflow.domain.errors import SettingsError, StoreError
from tapeflow.stores.postgres.schema import identifier
from tapeflow.stores.sql import BYTES, LONGEST, ROWS, SECONDS, Selected, SqlError

#: What a row may have, in bytes: it is in memory as a whole.
ROW = 1 << 20
#: The database looks at its clock between two steps of its own: of one that lasts the connection is cut, so much later.
GRACE_S = 2.0
#: Rows that are made to columns at once.
_BATCH = 2_000
_CONNECT_S = 5
_DIGITS = 38

_HINT = "expected one statement that reads, such as SELECT * FROM candles LIMIT 10"
_REFUSED = re.compile(
    r"\b(?:(set_config|query_to_xml\w*|cursor_to_xml\w*|table_to_xml\w*|schema_to_xml\w*|database_to_xml\w*|ts_stat"
    r"|ts_rewrite|crosstab\w*|connectby|xpath_table|dblink\w*|pg_(?:try_)?advisory\w*|pg_notify|pg_sleep\w*"
    r"|pg_cancel_backend|pg_terminate_backend|pg_logical\w*|pg_export_snapshot|pg_locks|pg_lock_status"
    r"|pg_blocking_pids|pg_safe_snapshot\w*|txid_current\w*|pg_current_xact_id\w*|pg_stat_activity"
    r"|pg_stat_get_activity|pg_stat_get_backend\w*|pg_stat_statements\w*|lo_\w+|loread|lowrite|repeat|lpad|rpad|format"
    r"|array_fill|\w+agg(?:_\w+)?)\b|array\b(?!\s*\[))",
    re.IGNORECASE,
)
#: An identifier written by the numbers of its characters would pass by `_REFUSED`.
_ESCAPED = re.compile(r"\bu&\s*\"", re.IGNORECASE)

#: Arrow types by the numbers that PostgreSQL gives its own; what is not here comes as text.
_TYPES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    17: pa.binary(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    26: pa.int64(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}
_NUMERIC = 1700
_FIXED = frozenset(_TYPES) - {17}

_SETTINGS = {
    "timezone": "UTC",
    "default_transaction_read_only": "on",
    "client_encoding": "utf8",
    "work_mem": "32MB",
    "hash_mem_multiplier": "1",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
#: A connection whose other end has vanished is noticed in some ten seconds.
_ALIVE: dict[str, Any] = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
#: Beginnings of the codes of faults that are not the statement's: conflicts on a replica, shutdown, a full disk.
_NOT_ITS = ("40", "57P", "531", "533", "58")

#: What a role has beyond reading, in words: its own rights, those of roles it belongs to, and tables it may change.
_RIGHTS = """
SELECT 'is a superuser' FROM pg_roles WHERE rolname = current_user AND rolsuper
UNION ALL SELECT 'may make roles or databases, replicate, or pass by row security' FROM pg_roles
    WHERE rolname = current_user AND (rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
UNION ALL SELECT 'is not who has logged in' WHERE session_user <> current_user
UNION ALL SELECT 'belongs to ' || rolname FROM pg_roles
    WHERE rolname <> current_user AND pg_has_role(current_user, oid, 'member')
UNION ALL SELECT 'may change ' || nspname || '.' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v') AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
    AND has_table_privilege(pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
LIMIT 1
"""


class Reader:
    """Asks the database as the role of ``url``, which has but the right to read; a connection for each statement.

    ``seconds`` is how long a statement may take, ``rows`` and ``bytes`` how much of its answer is kept.
    """

    def __init__(
        self, url: str, schema: str, *, rows: int = ROWS, seconds: float = SECONDS, bytes: int = BYTES
    ) -> None:
        self._url = url
        self._schema = schema
        self._rows = rows
        self._seconds = seconds
        self._bytes = bytes

    def check_role(self) -> None:
        """Raise `SettingsError` if the role may do more than read, `StoreError` where it cannot be looked at."""
        try:
            with self._connect() as db:
                _check_role(db)
        except psycopg.Error as error:
            raise StoreError(f"cannot ask as a reader: {_said(error)}") from error

    def select(self, sql: str) -> Selected:
        """The rows of one statement; raises `SqlError`, `StoreError`."""
        checked = _checked(sql)
        try:
            db = self._connect()
        except psycopg.Error as error:
            raise StoreError(f"cannot ask as a reader: {_said(error)}") from error
        clock = _Clock(db, self._seconds + GRACE_S)
        try:
            with clock:
                _check_role(db)
                return self._fetch(db, checked)
        except SettingsError as error:
            raise StoreError(str(error)) from error
        except psycopg.Error as error:
            if clock.is_over or isinstance(error, psycopg.errors.QueryCanceled):
                said = f"the statement took longer than {self._seconds:g} s and was ended; ask for less"
                raise SqlError(f"{said}, as with WHERE ts_start >= ...") from error
            if _is_of_server(error):
                raise StoreError(f"the database cannot answer now: {_said(error)}") from error
            hint = f"; {_HINT}" if isinstance(error, psycopg.errors.SyntaxError) else ""
            raise SqlError(_said(error) + hint) from error
        except (pa.ArrowException, OverflowError, UnicodeError) as error:
            raise SqlError(_said(error)) from error
        finally:
            db.close()  # also of a statement that still gives rows: it ends with its connection

    def _connect(self) -> psycopg.Connection[Any]:
        db = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=_CONNECT_S,
            application_name="tapeflow-sql",
            tcp_user_timeout=int(1000 * (self._seconds + _CONNECT_S)),
            **_ALIVE,
        )
        own = {
            "search_path": identifier(self._schema),
            "statement_timeout": f"{max(1.0, self._seconds * 1000):.0f}ms",
        }
        pairs = (_SETTINGS | own).items()
        calls = ", ".join("set_config(%s, %s, false)" for _ in pairs)
        db.execute(f"SELECT {calls}", [word for pair in pairs for word in pair])
        return db

    def _fetch(self, db: psycopg.Connection[Any], sql: str) -> Selected:
        columns = _described(db, sql)
        rows: list[tuple[Any, ...]] = []
        batches: list[pa.RecordBatch] = []
        count = size = 0
        with db.cursor() as cursor:
            for *row, is_long in cursor.stream(_guarded(sql, columns, self._rows + 1)):
                if is_long:
                    raise SqlError(f"a row has more than {ROW:,} bytes; ask for less of it, as with left(value, 1000)")
                count += 1
                size += sum(map(_size, row))
                if count > self._rows or size > self._bytes:
                    break
                rows.append(tuple(row))
                if len(rows) == _BATCH:
                    batches.append(_batch(rows, columns))
                    rows = []
        table = pa.Table.from_batches([*batches, _batch(rows, columns)])
        return Selected(_finished(table, columns), count > self._rows or size > self._bytes)


def role_of(url: str) -> str:
    """The user that an address names; empty where there is none. Raises `SettingsError` for what is no address."""
    try:
        return str(conninfo_to_dict(url).get("user") or "")
    except psycopg.ProgrammingError as error:
        raise SettingsError(f"[postgres] reader: {_said(error)}") from error


def _checked(sql: str) -> str:
    """The statement without its last semicolon; raises `SqlError` for what must not be asked."""
    if len(sql) > LONGEST:
        raise SqlError(f"the statement has {len(sql):,} characters; at most {LONGEST:,} are read")
    if "\x00" in sql:
        raise SqlError(f"the statement has a character that no text has; {_HINT}")
    found = _REFUSED.search(sql)
    if found is not None:
        raise SqlError(f"{found[0].lower()} is not allowed here, not even as a text; leave it out")
    if _ESCAPED.search(sql):
        raise SqlError('names as U&"..." are not allowed here; write their characters')
    return sql.strip().removesuffix(";")


def _check_role(db: psycopg.Connection[Any]) -> None:
    found = db.execute(_RIGHTS).fetchone()
    if found:
        raise SettingsError(
            f"[postgres] reader: the role {db.info.user} {found[0]}; statements of strangers need one that may only "
            "read: CREATE ROLE tapeflow_reader LOGIN PASSWORD '...'"
        )


class _Clock:
    """Cuts a connection that has not ended what it does in time."""

    def __init__(self, db: psycopg.Connection[Any], seconds: float) -> None:
        self._socket = socket.socket(fileno=os.dup(db.fileno()))
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.is_over = False

    def _cut(self) -> None:
        self.is_over = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        self._socket.close()


def _is_of_server(error: psycopg.Error) -> bool:
    """True for what is no fault of the statement: the database is away, or has no room."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_NOT_ITS)


def _size(value: Any) -> int:
    """About how much memory a value takes."""
    if isinstance(value, str):
        return 8 + len(value) * (1 if value.isascii() else 4)
    return 8 + (len(value) if isinstance(value, bytes) else 0)


class _Column:
    """A column of the answer: its name, what Arrow makes of it, and how the database is asked for it."""

    def __init__(self, at: int, name: str, given: psycopg.Column) -> None:
        self.name = name
        self.is_number = given.type_code == _NUMERIC
        self.digits = (given.precision, given.scale) if given.precision is not None else None
        self.type = _TYPES.get(given.type_code, pa.string())
        place = f'asked."{at}"'
        shown = f"trim_scale({place})::text" if self.is_number else place
        if pa.types.is_string(self.type) and not self.is_number:
            shown = f"{place}::text"
        is_fixed = given.type_code in _FIXED
        self.shown = shown if is_fixed else f"CASE WHEN NOT is_long THEN {shown} END"
        self.length = "" if is_fixed else f"coalesce(octet_length({shown}), 0)::bigint"


def _described(db: psycopg.Connection[Any], sql: str) -> list[_Column]:
    """The columns of a statement, which is not run. It is one without brackets too, and prepared no more than one."""
    parsed = db.pgconn.prepare(b"", sql.encode())
    if parsed.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise SqlError(f"{parsed.get_error_message().splitlines()[0].removeprefix('ERROR:').strip()}; {_HINT}")
    cursor = db.execute(f"SELECT * FROM (\n{sql}\n) AS asked LIMIT 0", prepare=True)
    given = cursor.description or ()
    if not given:
        raise SqlError(f"{_HINT}; this one has no columns")
    named = zip(_distinct([column.name for column in given]), given, strict=True)
    return [_Column(at, name, column) for at, (name, column) in enumerate(named)]


def _distinct(names: Sequence[str]) -> Iterator[str]:
    """Of columns with one name all but the first are numbered."""
    given = set(names)
    seen = set[str]()
    for name in names:
        free = (f"{name}_{number}" for number in range(1, len(names) + 1))
        found = next(one for one in free if one not in given | seen) if name in seen else name
        seen.add(found)
        yield found


def _guarded(sql: str, columns: Sequence[_Column], rows: int) -> Any:
    """The statement with no more than so many rows, and nulls in long ones; the last column says which those are."""
    shown = ", ".join(column.shown for column in columns)
    length = " + ".join(column.length for column in columns if column.length) or "0"
    places = ", ".join(f'"{at}"' for at in range(len(columns)))
    measured = f"SELECT *, {length} > {ROW} AS is_long FROM (\n{sql}\n) AS asked({places})"
    return f"SELECT {shown}, is_long FROM ({measured}) AS asked LIMIT {rows}"


def _batch(rows: list[tuple[Any, ...]], columns: Sequence[_Column]) -> pa.RecordBatch:
    given = zip(*rows, strict=True) if rows else ((),) * len(columns)
    arrays = [pa.array(values, column.type) for values, column in zip(given, columns, strict=True)]
    return pa.record_batch(arrays, names=[column.name for column in columns])


def _finished(table: pa.Table, columns: Sequence[_Column]) -> pa.Table:
    """With numbers as decimals, that came as texts."""
    for at, column in enumerate(columns):
        if column.is_number:
            table = table.set_column(at, column.name, _decimals(table.column(at), column.digits))
    return table


def _decimals(texts: pa.ChunkedArray, digits: tuple[int, int | None] | None) -> pa.ChunkedArray:
    """Decimals of the digits that the column has, else of as many as its values need; texts if there are too many."""
    precision, scale = digits or (0, 0)
    if scale is None or not 0 <= scale <= precision <= _DIGITS or not precision:
        point = pc.find_substring(texts, ".")
        figures = pc.utf8_length(pc.replace_substring_regex(texts, "[-.]", ""))
        behind = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(pc.utf8_length(texts), point), 1))
        scale = pc.max(behind).as_py() or 0
        precision = (pc.max(pc.subtract(figures, behind)).as_py() or 1) + scale
    if precision > _DIGITS:
        return texts
    try:
        return texts.cast(pa.decimal128(precision, scale))
    except pa.ArrowInvalid:  # NaN, Infinity
        return texts


def _said(error: BaseException) -> str:
    """The first line of what went wrong, without the place in a text that nobody has written so."""
    diagnosed = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return diagnosed or (str(error).strip() or type(error).__name__).splitlines()[0]
