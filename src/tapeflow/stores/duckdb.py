"""Results in a DuckDB file: rows and tape position in one transaction.

Rows with a key are written once: what is later than all that its series has is appended, anything else replaces the row
of its key, but never one of a higher count: what is computed from a tape that was cut knows less.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tapeflow.domain.errors import StoreError
from tapeflow.stores import schema, sql
from tapeflow.stores.channels import CHANNELS, REVISED, Channel, numbered
from tapeflow.stores.covered import Change, Covered
from tapeflow.stores.render import objects
from tapeflow.stores.results import Results
from tapeflow.stores.sql import CONFIG, Selected, Statements, lock, opening

#: A live row begins at most so long before the newest one of its table: a window of a week, and a day.
REACH_DAYS = 8

#: Rows that were replaced are kept so long, for clients that resume.
KEPT_DAYS = 2

_RENEWED = """
    DELETE FROM coverage AS kept
    USING (SELECT symbol, stream, guarantee, min(ts_start) AS first FROM fresh GROUP BY ALL) AS told
    WHERE kept.symbol = told.symbol AND kept.stream = told.stream AND kept.guarantee = told.guarantee
        AND kept.ts_start >= told.first
"""

_COVERAGE = """
    SELECT * FROM coverage WHERE venue = ? AND symbol = ? AND stream = ? AND ts_start IS NOT NULL
    ORDER BY ts_start, ts_end
"""

#: What tells rows of a channel without a key apart.
_CONTENT = {
    "quarantine": ("ts_recv", "connection", "reason", "frame"),
    "coverage": ("symbol", "stream", "guarantee", "ts_start", "first_id"),
}


class DuckStore:
    """A `tapeflow.stores.store.Store` in one file; ``read_only`` for a look at one that nobody writes."""

    #: Rows written again replace themselves.
    replaces = True

    def __init__(
        self,
        path: Path,
        channels: tuple[str, ...],
        *,
        price_scale: int = 8,
        size_scale: int = 8,
        read_only: bool = False,
    ) -> None:
        self._path = path
        self._channels = {name: numbered(CHANNELS[name]) for name in channels}
        self._scales = (price_scale, size_scale)
        self._newest: dict[str, dict[tuple[Any, ...], Any]] = {}
        self._statements = Statements()
        self._covered = Covered()
        try:
            self._db = duckdb.connect(str(path), read_only=read_only, config=CONFIG)
            lock(self._db)
        except duckdb.Error as error:
            raise StoreError(opening(path, error)) from error
        with self._said(f"cannot open the store {path}"):
            if not read_only:
                self._prepare()
            self._check_version()

    # -- opening -----------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._db.execute("BEGIN")
        self._db.execute(schema.META)
        if self._meta("schema_version") is None:
            self._set("schema_version", str(schema.VERSION))
            self._set("position", "0")
            self._set("fingerprint", "")
        if self._meta("epoch") is None:
            self._set("epoch", _new_epoch())
        for version, statements in schema.steps(int(self._meta("schema_version") or 0)):
            for statement in statements:
                self._db.execute(statement)
            self._set("schema_version", str(version))
        for channel in self._channels.values():
            for statement in schema.create_tables(channel, *self._scales):
                self._db.execute(statement)
        self._db.execute("COMMIT")

    def _check_version(self) -> None:
        self._doubtful_to = int(self._meta("doubtful_to") or 0)
        found = int(self._meta("schema_version") or 0)
        if found != schema.VERSION:
            schema.steps(found)
            raise StoreError(f"{self._path} is of version {found}: `tapeflow run` brings it up to date when it starts")

    def _meta(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", [name]).fetchone()
        return None if found is None else str(found[0])

    def _set(self, name: str, value: str) -> None:
        self._db.execute("DELETE FROM meta WHERE name = ?", [name])
        self._db.execute("INSERT INTO meta VALUES (?, ?)", [name, value])

    @property
    def position(self) -> int:
        return int(self._meta("position") or 0)

    @property
    def fingerprint(self) -> str:
        return self._meta("fingerprint") or ""

    @property
    def epoch(self) -> str:
        """Within one epoch the numbers of rows mean the same."""
        return self._meta("epoch") or ""

    def renew(self) -> None:
        with self._said("cannot write to the store"), self._transaction():
            self._set("epoch", _new_epoch())

    def rewind(self, position: int, doubtful_to: int) -> None:
        with self._said("cannot write to the store"), self._transaction():
            self._set("epoch", _new_epoch())
            self._set("position", str(position))
            self._set("doubtful_to", str(doubtful_to))
        self._doubtful_to = doubtful_to

    def claim(self, fingerprint: str) -> None:
        with self._said("cannot write to the store"):
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'fingerprint'", [fingerprint])
        self.renew()

    # -- writing -----------------------------------------------------------------------------------------

    def commit(
        self,
        results: Results,
        position: int,
        *,
        coverage: list[dict[str, Any]] | None = None,
        again: bool = False,
        start: int | None = None,
    ) -> int:
        try:
            return self._commit(results, position, coverage, again=again, start=start)
        except StoreError as error:
            # What is captured comes before what is asked: statements of others have the memory that lacks.
            if not isinstance(error.__cause__, duckdb.OutOfMemoryException) or not self._statements.give_way():
                raise
        return self._commit(results, position, coverage, again=again, start=start)

    def _commit(
        self,
        results: Results,
        position: int,
        coverage: list[dict[str, Any]] | None,
        *,
        again: bool,
        start: int | None,
    ) -> int:
        with self._said("cannot write to the store"), self._covered.changing() as change, self._transaction():
            count = self._write(results, coverage, change, again=again, start=start)
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'position'", [str(position)])
        return count

    def _write(
        self,
        results: Results,
        coverage: list[dict[str, Any]] | None,
        change: Change,
        *,
        again: bool,
        start: int | None,
    ) -> int:
        count = 0
        for symbol in results.retracted:
            self._retract(symbol)
            change.is_any = True
        for name, channel in self._channels.items():
            table = results.table(name)
            if len(table):
                rows = _from(table.to_arrow(), channel.time, start)
                count += rows.num_rows
                self._write_rows(channel, rows, again=again)
        if coverage is not None and "coverage" in self._channels:
            change.fresh = self._cover(results, coverage)
            count += change.fresh.num_rows
        return count

    def _retract(self, symbol: str) -> None:
        for name in ("trades", "candles", "moving_average", "indicators", "late"):
            if name in self._channels:
                self._db.execute(f'DELETE FROM "{schema.table_name(name)}" WHERE symbol = ?', [symbol])
                self._newest.pop(name, None)
        if "coverage" in self._channels:
            self._db.execute("DELETE FROM coverage WHERE symbol = ? AND stream = 'trades'", [symbol])

    def _write_rows(self, channel: Channel, rows: pa.Table, *, again: bool) -> None:
        if channel.name in REVISED:
            rows = self._put_aside(channel, rows)
        if channel.name == "coverage":  # what is settled now was told before, as what might still change
            self._replace(channel, rows, keep=False)
            return
        known = self._is_known(channel, rows, again=again)
        if known is not None:
            self._replace(channel, rows.filter(known), keep=not again)
            rows = rows.filter([not one for one in known])
        self._insert(channel, rows)

    def _insert(self, channel: Channel, rows: pa.Table) -> None:
        self._insert_into(schema.table_name(channel.name), rows)

    def _insert_into(self, table: str, rows: pa.Table) -> None:
        if rows.num_rows:
            self._db.register("fresh", rows)
            self._db.execute(f'INSERT INTO "{table}" BY NAME SELECT * FROM fresh')
            self._db.unregister("fresh")

    def _put_aside(self, channel: Channel, rows: pa.Table) -> pa.Table:
        """The last revision of each window; those before it, given in the same commit, are kept for who resumes."""
        last = np.ones(rows.num_rows, bool)
        if rows.num_rows > 1:
            same = np.ones(rows.num_rows - 1, bool)
            for name in channel.key:
                column = rows.column(name).combine_chunks()
                same &= pc.equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy(zero_copy_only=False)
            last[:-1] = ~same
        if last.all():
            return rows
        self._insert_into(schema.revised_name(channel.name), rows.filter(pa.array(~last)))
        return rows.filter(pa.array(last))

    def _is_known(self, channel: Channel, rows: pa.Table, *, again: bool) -> list[bool] | None:
        """Which rows may be in the table already: those not later than the newest of their series. None: none may."""
        if again:
            return [True] * rows.num_rows
        if channel.name == "trades" or not channel.key:
            return self._is_doubtful(channel, rows)
        *series, last = channel.key
        newest = self._series(channel, series, last)
        columns = [rows.column(name).to_pylist() for name in series]
        order = rows.column(last).cast(pa.int64()).to_pylist()
        known = []
        for key, value in zip(zip(*columns, strict=True), order, strict=True):
            best = newest.get(key)
            known.append(value is None or (best is not None and value <= best))
            if value is not None and (best is None or value > best):
                newest[key] = value
        return known if any(known) else None

    def _is_doubtful(self, channel: Channel, rows: pa.Table) -> list[bool] | None:
        """Such rows come once, and position and rows are one: but for what was there before a rewind."""
        if not self._doubtful_to:
            return None
        at = rows.column(channel.time).cast(pa.int64()).to_pylist()
        known = [ts is not None and ts <= self._doubtful_to for ts in at]
        return known if any(known) else None

    def _series(self, channel: Channel, series: list[str], last: str) -> dict[tuple[Any, ...], Any]:
        """The greatest time or id of each series of a table, read once; none of what no live row can come to."""
        newest = self._newest.get(channel.name)
        if newest is None:
            names = ", ".join(f'"{name}"' for name in series)
            value = f'CAST("{last}" AS BIGINT)' if dict(channel.fields)[last] == "id" else f'epoch_us("{last}")'
            table, time = schema.table_name(channel.name), channel.time
            found = self._db.execute(
                f'SELECT {names}, max({value}) FROM "{table}" '
                f'WHERE "{time}" >= (SELECT max("{time}") FROM "{table}") - INTERVAL {REACH_DAYS} DAY GROUP BY ALL'
            ).fetchall()
            newest = self._newest[channel.name] = {tuple(row[:-1]): row[-1] for row in found if row[-1] is not None}
        return newest

    def _replace(self, channel: Channel, rows: pa.Table, *, keep: bool) -> None:
        """Put rows in the place of those of their keys, and ``keep`` these for clients that have not seen them."""
        name = schema.table_name(channel.name)
        same = " AND ".join(
            f'kept."{key}" IS NOT DISTINCT FROM fresh."{key}"' for key in channel.key or _CONTENT[channel.name]
        )
        if channel.name == "trades":  # an aggregate and the single trades in it are the same trades
            same = "kept.symbol = fresh.symbol"
            same += f" AND {_first('kept')} <= {_last('fresh')} AND {_last('kept')} >= {_first('fresh')}"
        fewer = ' AND kept."count" <= fresh."count"' if ("count", "int") in channel.fields else ""
        time = channel.time
        self._db.register("fresh", rows)
        least = f'kept."{time}" >= (SELECT min("{time}") FROM fresh)'  # lets old row groups be passed over
        if keep and channel.name in REVISED:
            self._db.execute(
                f'INSERT INTO "{schema.revised_name(channel.name)}" '
                f'SELECT kept.* FROM "{name}" AS kept, fresh WHERE {least} AND {same}{fewer}'
            )
        self._db.execute(f'DELETE FROM "{name}" AS kept USING fresh WHERE {least} AND {same}{fewer}')
        if keep and channel.name in REVISED:  # what is refused was published too
            self._db.execute(
                f'INSERT INTO "{schema.revised_name(channel.name)}" BY NAME SELECT * FROM fresh '
                f'WHERE EXISTS (SELECT 1 FROM "{name}" AS kept WHERE {same})'
            )
        self._db.execute(
            f'INSERT INTO "{name}" BY NAME SELECT * FROM fresh '
            f'WHERE NOT EXISTS (SELECT 1 FROM "{name}" AS kept WHERE {same})'
        )
        self._db.unregister("fresh")

    def _cover(self, results: Results, coverage: list[dict[str, Any]]) -> pa.Table:
        """The engine's coverage in the place of the one before: of each stream from the first time on that it tells."""
        rows = results.table_of("coverage", coverage).to_arrow()
        self._db.register("fresh", rows)
        self._db.execute(_RENEWED)
        self._db.unregister("fresh")
        self._insert(self._channels["coverage"], rows)
        return rows

    # -- reading -----------------------------------------------------------------------------------------

    def read(
        self,
        channel: str,
        *,
        start: int | None = None,
        end: int | None = None,
        limit: int | None = None,
        **key: str | int,
    ) -> pa.Table:
        known = self._known(channel)
        time = known.time
        where: list[str] = ["TRUE"]
        values: list[str | int] = []
        for bound, sign in ((start, ">="), (end, "<")):
            if bound is not None:
                where.append(f'"{time}" {sign} make_timestamptz(?)')
                values.append(bound)
        for name, value in key.items():
            where.append(f'"{name}" = ?')
            values.append(value)
        order = _order(known)
        last = start is None and limit is not None
        query = f'SELECT {_shown(channel)} FROM "{schema.table_name(channel)}" WHERE {" AND ".join(where)}'
        query += f" ORDER BY {', '.join(f'{name} DESC' for name in order) if last else ', '.join(order)}"
        if limit is not None:
            query += f" LIMIT {int(limit)}"
        if last:
            query = f"SELECT * FROM ({query}) ORDER BY {', '.join(order)}"
        with self._said(f"cannot read {channel}"):
            return self._db.cursor().sql(query, params=values).to_arrow_table()

    def since(self, channel: str, seq: int, limit: int, **key: str | int) -> pa.Table:
        """The rows of one series of ``limit`` numbers from ``seq`` on, every revision, with ``seq`` as a column."""
        known = self._known(channel)
        tables = [schema.table_name(channel), *([schema.revised_name(channel)] if channel in REVISED else [])]
        where = " AND ".join(['"seq" >= ?', '"seq" < ?', *(f'"{name}" = ?' for name in key)])
        names = ", ".join(f'"{name}"' for name, _ in known.fields)
        query = " UNION ALL ".join(f'SELECT {names} FROM "{table}" WHERE {where}' for table in tables)
        values = [seq, seq + limit, *key.values()] * len(tables)
        with self._said(f"cannot read {channel}"):
            found = self._db.cursor().sql(f"SELECT * FROM ({query}) ORDER BY seq", params=values)
            return found.to_arrow_table()

    def coverage(self, venue: str, symbol: str, stream: str, start: int, end: int) -> list[dict[str, Any]]:
        """The rows of coverage that touch ``[start, end]``, as JSON has them, ascending. From any thread."""

        def read() -> list[dict[str, Any]]:
            with self._said("cannot read coverage"), self._db.cursor() as cursor:
                return objects(cursor.sql(_COVERAGE, params=[venue, symbol, stream]).to_arrow_table())

        return self._covered.rows((symbol, stream), start, end, read)

    def _known(self, channel: str) -> Channel:
        if channel not in self._channels:
            raise StoreError(f"the store has no channel {channel!r}; it has {', '.join(self._channels)}")
        return self._channels[channel]

    def retain(self, older_than: dict[str, int]) -> dict[str, int]:
        gone: dict[str, int] = {}
        with self._said("cannot write to the store"), self._covered.changing() as change:
            change.is_any = "coverage" in older_than
            for name, ts in older_than.items():
                known = self._known(name)
                found = self._db.execute(
                    f'DELETE FROM "{schema.table_name(name)}" WHERE "{known.time}" < make_timestamptz(?)', [ts]
                ).fetchone()
                gone[name] = int(found[0]) if found else 0
            for name in set(REVISED) & self._channels.keys():
                self._db.execute(
                    f'DELETE FROM "{schema.revised_name(name)}" '
                    f'WHERE ts_end < (SELECT max(ts_end) FROM "{schema.table_name(name)}") - INTERVAL {KEPT_DAYS} DAY'
                )
        return gone

    def export(self, channel: str, path: str) -> int:
        known = self._known(channel)
        query = f'SELECT {_shown(channel)} FROM "{schema.table_name(channel)}" ORDER BY {", ".join(_order(known))}'
        count = 0
        with self._said(f"cannot write {path}"):
            reader = self._db.cursor().sql(query).to_arrow_reader(1 << 16)
            try:
                with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
                    for batch in reader:
                        writer.write_batch(batch)
                        count += batch.num_rows
            except (OSError, pa.ArrowException) as error:
                raise StoreError(f"cannot write {path}: {error}") from error
        return count

    def select(self, statement: str, *, rows: int = sql.ROWS, seconds: float = sql.SECONDS) -> Selected:
        """The rows of a statement of anybody, within limits; raises `sql.SqlError`. From any thread."""
        return sql.select(self._db, statement, rows=rows, seconds=seconds, statements=self._statements)

    def keeps(self, channel: str) -> bool:
        """Whether there is a table of this channel."""
        return channel in self._channels

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for one reader, in any thread; it sees what is committed."""
        return self._db.cursor()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing; also after one that could not even be given up, for want of memory or of room."""
        with suppress(duckdb.Error):
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._newest.clear()  # it may tell of rows that are not there
            with suppress(duckdb.Error):  # a failed COMMIT, as on a full disk, has ended it already
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise StoreError(f"{what}: {str(error).splitlines()[0]}") from error


def _new_epoch() -> str:
    return secrets.token_hex(4)


def _shown(channel: str) -> str:
    """The columns of a channel's table that are for others, as SQL."""
    return ", ".join(f'"{name}"' for name, _ in CHANNELS[channel].fields)


def _first(rows: str) -> str:
    return f"CAST(coalesce({rows}.first_id, {rows}.id) AS BIGINT)"


def _last(rows: str) -> str:
    return f"CAST(coalesce({rows}.last_id, {rows}.id) AS BIGINT)"


def _from(rows: pa.Table, time: str, start: int | None) -> pa.Table:
    """The rows from a time on."""
    if start is None:
        return rows
    return rows.filter(pa.array(rows.column(time).cast(pa.int64()).to_numpy() >= start))


def _order(channel: Channel) -> list[str]:
    """The order of a file of this channel, as SQL; ids compare as numbers."""
    kinds = dict(channel.fields)
    terms = []
    for name in channel.order:
        first, _, second = name.partition("|")
        text = f'coalesce("{first}", "{second}")' if second else f'"{first}"'
        terms.append(f"try_cast({text} AS HUGEINT)" if kinds[first] == "id" else text)
    return terms
