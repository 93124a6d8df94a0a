"""SQL of strangers over the tables in PostgreSQL: one statement that reads, within limits, and nothing else.

Four walls, as in `tapeflow.stores.sql`: the role may do nothing but read (`check_role`); the statement is put in
brackets as the table of a SELECT, where only one that reads fits; its transaction cannot write; the database counts the
time, and rows and bytes are counted here. What would raise a limit, take a statement as a text, hold what others need
or gather any number of rows in one value of the server's memory is refused by its name (`_REFUSED`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.conninfo import conninfo_to_dict

from tapeflow.domain.errors import SettingsError, StoreError
from tapeflow.stores.postgres.schema import identifier
from tapeflow.stores.sql import BYTES, LONGEST, ROWS, SECONDS, Selected, SqlError

#: The longest value of an answer, in bytes: a row is in memory as a whole.
VALUE = 1 << 20
#: Rows that are made to columns at once.
_BATCH = 2_000
_CONNECT_S = 5
_DIGITS = 38

_HINT = "expected one statement that reads, such as SELECT * FROM candles LIMIT 10"
_REFUSED = re.compile(
    r"\b(set_config|query_to_xml\w*|cursor_to_xml\w*|table_to_xml\w*|schema_to_xml\w*|database_to_xml\w*|ts_stat|ts_rewrite"
    r"|dblink\w*|pg_(?:try_)?advisory\w*|pg_notify|pg_sleep\w*|pg_cancel_backend|pg_terminate_backend|pg_logical\w*"
    r"|pg_stat_activity|pg_stat_get_activity|lo_\w+|repeat|lpad|rpad|\w*_agg|xmlagg|array(?=\s*\())\b",
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
    "work_mem": "32MB",
    "jit": "off",
}

#: What a role has beyond reading, in words: its own rights, those of roles it belongs to, and tables it may change.
_RIGHTS = """
SELECT 'is a superuser' FROM pg_roles WHERE rolname = current_user AND rolsuper
UNION ALL SELECT 'may make roles or databases, replicate, or pass by row security' FROM pg_roles
    WHERE rolname = current_user AND (rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
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
        try:
            _check_role(db)
            return self._fetch(db, checked)
        except SettingsError as error:
            raise StoreError(str(error)) from error
        except psycopg.errors.QueryCanceled as error:
            said = f"the statement took longer than {self._seconds:g} s and was ended; ask for less"
            raise SqlError(f"{said}, as with WHERE ts_start >= ...") from error
        except psycopg.OperationalError as error:
            if error.sqlstate is None:
                raise StoreError(f"the database has gone: {_said(error)}") from error
            raise SqlError(_said(error)) from error
        except (psycopg.Error, pa.ArrowException, OverflowError) as error:
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
        )
        own = {"search_path": identifier(self._schema), "statement_timeout": f"{self._seconds * 1000:.0f}ms"}
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
                    raise SqlError(
                        f"a value has more than {VALUE:,} bytes; ask for less of it, as with left(value, 1000)"
                    )
                count += 1
                size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
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
    if found:
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
        length = f"octet_length({shown})"
        self.is_fixed = given.type_code in _FIXED
        self.shown = shown if self.is_fixed else f"CASE WHEN {length} <= {VALUE} THEN {shown} END"
        self.is_long = "" if self.is_fixed else f"coalesce({length} > {VALUE}, false)"


def _described(db: psycopg.Connection[Any], sql: str) -> list[_Column]:
    """The columns of a statement, which is not run. Prepared, it cannot be more than one."""
    cursor = db.execute(f"SELECT * FROM (\n{sql}\n) AS asked LIMIT 0", prepare=True)
    given = cursor.description or ()
    if not given:
        raise SqlError(f"{_HINT}; this one has no columns")
    named = zip(_distinct([column.name for column in given]), given, strict=True)
    return [_Column(at, name, column) for at, (name, column) in enumerate(named)]


def _distinct(names: Sequence[str]) -> Iterator[str]:
    """Of two columns with one name the second is numbered."""
    seen = Counter[str]()
    for name in names:
        yield f"{name}_{seen[name]}" if seen[name] else name
        seen[name] += 1


def _guarded(sql: str, columns: Sequence[_Column], rows: int) -> Any:
    """The statement with no more than so many rows and no long value; the last column says that there was one."""
    shown = ", ".join(column.shown for column in columns)
    is_long = " OR ".join(column.is_long for column in columns if column.is_long) or "false"
    places = ", ".join(f'"{at}"' for at in range(len(columns)))
    return f"SELECT {shown}, {is_long} FROM (\n{sql}\n) AS asked({places}) LIMIT {rows}"


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
    if digits is None:
        point = pc.find_substring(texts, ".")
        length = pc.utf8_length(texts)
        behind = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(length, point), 1))
        scale = pc.max(behind).as_py() or 0
        digits = (pc.max(pc.subtract(length, behind)).as_py() or 1) + scale, scale
    precision, scale = digits
    if precision > _DIGITS:
        return texts
    try:
        return texts.cast(pa.decimal128(precision, scale or 0))
    except pa.ArrowInvalid:  # NaN, Infinity
        return texts


def _said(error: BaseException) -> str:
    """The first line of what went wrong, without the place in a text that nobody has written so."""
    diagnosed = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return diagnosed or (str(error).strip() or type(error).__name__).splitlines()[0]
