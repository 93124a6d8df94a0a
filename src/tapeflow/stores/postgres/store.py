"""The store: `tapeflow.stores.store.Store` in PostgreSQL, and what sinks need beside it."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from tapeflow.domain.errors import OwnerError, SlowError, StoreError
from tapeflow.stores.channels import CHANNELS, REVISED, Channel, numbered
from tapeflow.stores.pages import Asked, Page
from tapeflow.stores.postgres import reading, schema
from tapeflow.stores.postgres.columns import Columns
from tapeflow.stores.postgres.text import Unfit
from tapeflow.stores.postgres.writing import Connection, Writer, cover, time_of
from tapeflow.stores.render import objects, schema_of
from tapeflow.stores.results import Results
from tapeflow.stores.schema import revised_name, table_name

#: Rows that were replaced are kept so long, for clients that resume.
KEPT_DAYS = 2
#: So many old rows of a channel are dropped in one transaction: a fraction of a second.
DROPPED = 20_000
#: A lock that whoever changes the form of the tables holds.
_LOCK = 0x7461_7065
_CONNECT_S = 5
#: So long a read may take; a page takes milliseconds.
READ_S = 10.0
#: Faults of what is written, which come again however often it is tried: the last is a value too long for its index.
_OF_ROWS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)

Place = tuple[str, int]


class PostgresStore:
    """Tables of some channels in one schema of a database; one transaction at a time, reads beside it."""

    #: Rows written again replace themselves.
    replaces = True

    def __init__(
        self,
        url: str,
        channels: Sequence[str],
        *,
        price_scale: int = 8,
        size_scale: int = 8,
        name: str = "tapeflow",
        read_only: bool = False,
        reader: str = "",
    ) -> None:
        """``reader`` is a role that is given the right to read the tables."""
        self._url = url
        self._name = name
        self._reader_role = reader
        self._channels = {one: numbered(CHANNELS[one]) for one in channels}
        self._scales = (price_scale, size_scale)
        self._readers: dict[threading.Thread, Connection] = {}
        self._lock = threading.Lock()  # of the readers
        self._writers: dict[str, Writer] = {}
        with self._said("cannot open the store"):
            self._db = self._connect()
            try:
                if not read_only:
                    self._prepare()
                self._check_version()
            except BaseException:
                self._db.close()
                raise
            self._doubtful_to = int(self._meta("doubtful_to") or 0)

    # -- opening -----------------------------------------------------------------------------------------

    def _connect(self, *, is_reader: bool = False, seconds: float = 0) -> Connection:
        """A connection; ``seconds`` is how long a statement may take, 0 for as long as it does."""
        db = psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_S, application_name="tapeflow")
        db.execute(f"SET search_path TO {schema.identifier(self._name)}")
        db.execute("SET timezone TO 'UTC'")
        if is_reader:
            db.execute("SET default_transaction_read_only TO on")
        db.execute("SELECT set_config('statement_timeout', %s, false)", (f"{1000 * seconds:.0f}ms",))
        return db

    def _prepare(self) -> None:
        with self._db.transaction():
            self._db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            self._db.execute(f"CREATE SCHEMA IF NOT EXISTS {schema.identifier(self._name)}")
            for statement in schema.OWN:
                self._db.execute(statement)
            first = {"schema_version": str(schema.VERSION), "position": "0", "fingerprint": "", "epoch": _new_epoch()}
            for name, value in first.items():
                self._db.execute("INSERT INTO meta VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, value))
            for version, statements in schema.steps(int(self._meta("schema_version") or 0)):
                for statement in statements:
                    self._db.execute(statement)
                self._set("schema_version", str(version))
            for channel in self._channels.values():
                for statement in schema.create_tables(channel, *self._scales):
                    self._db.execute(statement)
            if self._reader_role:
                for statement in schema.grants(self._name, self._reader_role, self._channels.values()):
                    self._db.execute(statement)

    def _check_version(self) -> None:
        found = int(self._meta("schema_version") or 0)
        if found != schema.VERSION:
            schema.steps(found)
            raise StoreError(f"the tables are of version {found}: a sink brings them up to date when it starts")

    def _meta(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM meta WHERE name = %s", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _set(self, name: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )

    @property
    def position(self) -> int:
        with self._said("cannot read the store"):
            return int(self._meta("position") or 0)

    @property
    def fingerprint(self) -> str:
        with self._said("cannot read the store"):
            return self._meta("fingerprint") or ""

    @property
    def epoch(self) -> str:
        """Within one epoch the numbers of rows mean the same."""
        with self._said("cannot read the store"):
            return self._meta("epoch") or ""

    def renew(self) -> None:
        with self._said("cannot write to the store"):
            self._set("epoch", _new_epoch())

    def rewind(self, position: int, doubtful_to: int) -> None:
        with self._said("cannot write to the store"), self._db.transaction():
            self._set("epoch", _new_epoch())
            self._set("position", str(position))
            self._set("doubtful_to", str(doubtful_to))
        self._doubtful_to = doubtful_to

    def claim(self, fingerprint: str) -> None:
        with self._said("cannot write to the store"), self._db.transaction():
            self._set("fingerprint", fingerprint)
            self._set("epoch", _new_epoch())

    # -- writing -----------------------------------------------------------------------------------------

    def _writer(self, channel: str) -> Writer:
        made = self._writers.get(channel)
        if made is None:
            made = self._writers[channel] = Writer(self._db, self._channels[channel], self._scales)
        return made

    def commit(
        self,
        results: Results,
        position: int,
        *,
        coverage: list[dict[str, Any]] | None = None,
        again: bool = False,
        start: int | None = None,
    ) -> int:
        count = 0
        with self._said("cannot write to the store"), self._transaction():
            for symbol in results.retracted:
                self._retract(symbol)
            for name, channel in self._channels.items():
                rows = _from(objects(results.table(name).to_arrow()), channel, start)
                doubtful = again or (not channel.key and bool(self._doubtful_to))
                count += self._writer(name).write(rows, again=doubtful)
            if coverage is not None and "coverage" in self._channels:
                told = objects(results.table_of("coverage", coverage).to_arrow())
                count += cover(self._db, self._writer("coverage"), told)
            self._set("position", str(position))
        return count

    def take(
        self,
        rows: Mapping[str, Sequence[dict[str, Any]] | Columns],
        positions: Mapping[Place, tuple[int, int]],
        counts: Mapping[tuple[str, str], tuple[int, int]],
    ) -> int:
        """Write rows of topics with the places that they come from, as one; how many rows.

        ``positions``: of each partition the next offset before and after. ``counts``: of each (channel, series) its
        partition and how many rows it has had. Raises `OwnerError` where another sink has moved a position, `Unfit`.
        """
        count = 0
        with self._said("cannot write to the store"), self._transaction():
            self._move(positions)
            for channel, found in rows.items():
                if isinstance(found, Columns):
                    count += self._writer(channel).write_columns(found)
                elif channel == "coverage":
                    count += cover(self._db, self._writer(channel), found)
                else:
                    count += self._writer(channel).write(found)
            if counts:
                names, series = zip(*counts, strict=True)
                parts, numbers = zip(*counts.values(), strict=True)
                self._db.execute(
                    "INSERT INTO series (channel, series, part, count) "
                    "SELECT * FROM unnest(%s::text[], %s::text[], %s::int[], %s::bigint[]) "
                    "ON CONFLICT (channel, series) DO UPDATE SET part = excluded.part, count = excluded.count",
                    (list(names), list(series), list(parts), list(numbers)),
                )
        return count

    def _move(self, positions: Mapping[Place, tuple[int, int]]) -> None:
        for (topic, part), (before, after) in positions.items():
            done = self._db.execute(
                "INSERT INTO positions VALUES (%s, %s, %s) ON CONFLICT (topic, part) "
                "DO UPDATE SET next = excluded.next WHERE positions.next = %s",
                (topic, part, after, before),
            )
            if done.rowcount != 1:
                raise OwnerError(f"another sink has written what comes after offset {before} of {topic} {part}")

    def pass_over(self, gone: Mapping[Place, tuple[int, int]]) -> None:
        """Go on behind rows that topics have no more, from one offset to another; raises `OwnerError`.

        What counted those rows counts otherwise than we do from here on: it is another epoch.
        """
        with self._said("cannot write to the store"), self._transaction():
            self._move(gone)
            self._set("epoch", _new_epoch())

    def counts(self) -> tuple[dict[Place, int], dict[tuple[str, str], int]]:
        """The next offset of each partition whose rows are here, and how many rows each (channel, series) has had.

        Both as of one instant.
        """
        with self._said("cannot read the store"), self._reader() as db, db.transaction():
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            places = db.execute("SELECT topic, part, next FROM positions").fetchall()
            rows = db.execute("SELECT channel, series, count FROM series").fetchall()
        positions = {(str(topic), int(part)): int(at) for topic, part, at in places}
        return positions, {(str(channel), str(series)): int(count) for channel, series, count in rows}

    def count(self, channel: str, series: str) -> int:
        """How many rows a series has had, those that were replaced too."""
        with self._said("cannot read the store"), self._reader() as db:
            query = "SELECT count FROM series WHERE channel = %s AND series = %s"
            found = db.execute(query, (channel, series)).fetchone()
        return 0 if found is None else int(found[0])

    def _retract(self, symbol: str) -> None:
        for name in ("trades", "candles", "moving_average", "indicators", "late"):
            if name in self._channels:
                self._db.execute(f'DELETE FROM "{table_name(name)}" WHERE symbol = %s', (symbol,))
        if "coverage" in self._channels:
            self._db.execute("DELETE FROM coverage WHERE symbol = %s AND stream = 'trades'", (symbol,))

    # -- reading -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reader(self) -> Iterator[Connection]:
        """A connection of this thread's own; one that has failed is not used again."""
        db = self._readers.get(threading.current_thread())
        if db is None or db.closed:
            db = self._connect(is_reader=True, seconds=READ_S)
            self._keep(db)
        try:
            yield db
        except psycopg.errors.QueryCanceled:
            raise  # the connection is as good as before
        except psycopg.OperationalError:
            db.close()
            raise

    def _keep(self, db: Connection) -> None:
        """Keep a connection for this thread; those of threads that have ended are closed, or they would stay."""
        with self._lock:
            for thread in [one for one in self._readers if not one.is_alive()]:
                self._readers.pop(thread).close()
            self._readers[threading.current_thread()] = db

    def read(
        self,
        channel: str,
        *,
        start: int | None = None,
        end: int | None = None,
        limit: int | None = None,
        **key: str | int,
    ) -> pa.Table:
        self._known(channel)
        most, is_last = reading.ALL if limit is None else limit, start is None and limit is not None
        asked = Asked(channel=channel, key=key, start=start, end=end, limit=most, newest=is_last)
        with self._said(f"cannot read {channel}"), self._reader() as db:
            return reading.read(db, asked, self._scales)

    def page(self, asked: Asked) -> Page:
        """What is asked for; raises `StoreError`."""
        self._known(asked.channel)
        with self._said(f"cannot read {asked.channel}"), self._reader() as db:
            return reading.page(db, asked, self._scales)

    def since(self, channel: str, seq: int, limit: int, **key: str | int) -> pa.Table:
        known = self._known(channel)
        with self._said(f"cannot read {channel}"), self._reader() as db:
            return reading.since(db, known, seq, limit, key, self._scales)

    def coverage(self, venue: str, symbol: str, stream: str, start: int, end: int) -> list[dict[str, Any]]:
        """The coverage rows that touch ``[start, end]``, ascending."""
        channel = CHANNELS["coverage"]
        query = (
            f"SELECT {reading.select_list(channel)} FROM coverage WHERE venue = %s AND symbol = %s AND stream = %s "
            f"AND ts_start <= {time_of('%s')} AND ts_end >= {time_of('%s')} ORDER BY ts_start, ts_end"
        )
        with self._said("cannot read coverage"), self._reader() as db:
            rows = db.execute(query, (venue, symbol, stream, end, start)).fetchall()
        return objects(reading.table(channel, rows, self._scales))

    def symbols(self) -> list[str]:
        """The symbols of which there is coverage."""
        with self._said("cannot read coverage"), self._reader() as db:
            return [str(row[0]) for row in db.execute("SELECT DISTINCT symbol FROM coverage").fetchall()]

    def _known(self, channel: str) -> Channel:
        if channel not in self._channels:
            raise StoreError(f"the store has no channel {channel!r}; it has {', '.join(self._channels)}")
        return self._channels[channel]

    def keeps(self, channel: str) -> bool:
        """Whether there is a table of this channel."""
        return channel in self._channels

    def retain(self, older_than: dict[str, int]) -> dict[str, int]:
        gone, is_more = dict.fromkeys(older_than, 0), True
        while is_more:
            found, is_more = self.drop(older_than)
            gone = {name: count + found[name] for name, count in gone.items()}
        return gone

    def drop(self, older_than: dict[str, int]) -> tuple[dict[str, int], bool]:
        """A part of `retain`: `DROPPED` rows of each channel at most, and whether there may be more.

        What writes here waits for one part only, however much is to go.
        """
        gone: dict[str, int] = {}
        with self._said("cannot write to the store"), self._transaction():
            # Those that went before are still in the table's pages: to read it from its beginning takes ever longer.
            self._db.execute("SET LOCAL enable_seqscan TO off")
            for name, ts in older_than.items():
                query = schema.dropped(self._known(name), time_of("%s"), DROPPED)
                gone[name] = self._db.execute(query, (ts,)).rowcount
            if max(gone.values(), default=0) >= DROPPED:
                return gone, True
            for name in set(REVISED) & self._channels.keys():
                table = f'"{revised_name(name)}"'  # it is short; to find the newest row of a channel reads them all
                newest = f"(SELECT max(ts_end) FROM {table})"
                self._db.execute(f"DELETE FROM {table} WHERE ts_end < {newest} - interval '{KEPT_DAYS} days'")
        return gone, False

    def export(self, channel: str, path: str) -> int:
        self._known(channel)
        known, count = CHANNELS[channel], 0
        query = f'SELECT {reading.select_list(known)} FROM "{table_name(channel)}" ORDER BY '
        query += ", ".join(reading.file_order(known))
        with self._said(f"cannot write {path}"), self._connect(is_reader=True) as db, db.transaction():
            try:
                with (
                    db.cursor("export") as cursor,
                    pq.ParquetWriter(path, schema_of(known, *self._scales), compression="zstd") as writer,
                ):
                    cursor.execute(query)
                    while rows := cursor.fetchmany(1 << 14):
                        writer.write_table(reading.table(known, rows, self._scales))
                        count += len(rows)
            except (OSError, pa.ArrowException) as error:
                raise StoreError(f"cannot write {path}: {error}") from error
        return count

    def close(self) -> None:
        with self._lock:
            for one in (self._db, *self._readers.values()):
                one.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing, on a connection that works: one that is lost is made anew."""
        if self._db.closed:
            self._db = self._connect()
            self._writers = {}
        try:
            with self._db.transaction():
                yield
        except BaseException as error:
            self._writers = {}  # their tables may be gone with what else was undone
            if isinstance(error, psycopg.OperationalError) and not isinstance(error, _OF_ROWS):
                self._db.close()
            raise

    @contextlib.contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.UndefinedTable as error:
            raise StoreError(f"{what}: schema {self._name} has no such tables yet; a sink makes them") from error
        except psycopg.errors.QueryCanceled as error:
            raise SlowError(f"{what}: it took longer than {READ_S:g} s and was ended; ask for less") from error
        except psycopg.Error as error:
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            if isinstance(error, _OF_ROWS):
                raise Unfit(text) from error
            raise StoreError(f"{what}: {text}") from error


def _from(rows: list[dict[str, Any]], channel: Channel, start: int | None) -> list[dict[str, Any]]:
    """The rows from a time on."""
    if start is None:
        return rows
    time = channel.time
    return [row for row in rows if row[time] is not None and row[time] >= start]


def _new_epoch() -> str:
    return secrets.token_hex(4)
