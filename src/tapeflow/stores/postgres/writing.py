"""Rows into the tables, within a transaction of the caller's: new ones appended, known ones replaced if they are newer.

Rows go by COPY into a table of this connection, and from there by one statement each; trades and the like, which come
once, by COPY where they belong, and the other way only if one of them is there already. A row of a lower ``count``, or
of an older revision, never overwrites; what is replaced or refused stays in the table of revisions, for clients that
resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import pyarrow as pa

from tapeflow.stores.channels import REVISED, Channel
from tapeflow.stores.postgres.columns import Columns
from tapeflow.stores.postgres.schema import CONTENT, column_type
from tapeflow.stores.postgres.text import copy_text
from tapeflow.stores.schema import revised_name, table_name

Row = dict[str, Any]
Connection = psycopg.Connection[tuple[Any, ...]]


def time_of(value: str) -> str:
    """The time of an integer of microseconds, as SQL; exact."""
    return f"('epoch'::timestamptz + {value} * interval '1 microsecond')"


class Writer:
    """Writes the rows of one channel on one connection."""

    def __init__(self, db: Connection, channel: Channel, scales: tuple[int, int]) -> None:
        self._db = db
        self._channel = channel
        self._table = f'"{table_name(channel.name)}"'
        self._fresh = f'"fresh_{table_name(channel.name)}"'
        self._revised = f'"{revised_name(channel.name)}"' if channel.name in REVISED else ""
        self._names = ", ".join(f'"{name}"' for name, _ in channel.fields)
        times = {name for name, kind in channel.fields if kind == "time"}
        self._values = ", ".join(time_of(f'f."{n}"') + f' AS "{n}"' if n in times else f'f."{n}"'
                                 for n, _ in channel.fields)  # fmt: skip
        columns = ", ".join(
            f'"{name}" {"BIGINT" if kind == "time" else column_type(kind, *scales)}' for name, kind in channel.fields
        )
        db.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {self._fresh} ({columns})")

    def write(self, rows: Sequence[Row], *, again: bool = False) -> int:
        """Write rows in their order; how many. Raises `Unfit`."""
        if not rows:
            return 0
        channel = self._channel
        if channel.name in REVISED:
            rows = self._put_aside(rows, again=again)
        elif channel.key:
            if not again and self._append(rows):
                return len(rows)
            rows = list({tuple(row[name] for name in channel.key): row for row in rows}.values())
        self._copy(rows)
        if not channel.key:
            self._add_content(again=again)
        elif channel.name == "trades":
            self._trades(again=again)
        else:
            self._replace(again=again)
        return len(rows)

    def write_columns(self, made: Columns) -> int:
        """The same for events that were made ready before."""
        if len(made.rows) and not self._put("(FORMAT csv)", made.csv):
            return self.write(made.rows.to_pylist())
        return len(made.rows)

    def _append(self, rows: Sequence[Row]) -> bool:
        """Put rows where they belong, at once; False if one of them is there, and then nothing was done."""
        return self._put("", copy_text(self._channel, rows, with_times=True))

    def _put(self, options: str, text: str | pa.Buffer) -> bool:
        try:
            with (
                self._db.transaction(),
                self._db.cursor().copy(f"COPY {self._table} ({self._names}) FROM STDIN {options}") as copy,
            ):
                copy.write(text)
        except psycopg.errors.UniqueViolation:
            return False
        return True

    def _copy(self, rows: Sequence[Row]) -> None:
        self._db.execute(f"TRUNCATE {self._fresh}")
        with self._db.cursor().copy(f"COPY {self._fresh} ({self._names}) FROM STDIN") as copy:
            copy.write(copy_text(self._channel, rows))

    def _put_aside(self, rows: Sequence[Row], *, again: bool) -> list[Row]:
        """The last row of each window; those before it, given in the same batch, are kept for who resumes."""
        last, before = last_of_each(self._channel, rows, again=again)
        if before and not again:
            self._copy(before)
            self._db.execute(f"INSERT INTO {self._revised} ({self._names}) SELECT {self._values} FROM {self._fresh} f")
        return last

    def _insert(self, conflict: str) -> None:
        self._db.execute(
            f"INSERT INTO {self._table} AS kept ({self._names}) SELECT {self._values} FROM {self._fresh} f {conflict}"
        )

    def _add_content(self, *, again: bool) -> None:
        """Rows without a key: those that are there already, and may be, are left out."""
        where = ""
        if again:
            same = " AND ".join(f"kept.{n} IS NOT DISTINCT FROM {self._value(n)}" for n in CONTENT[self._channel.name])
            where = f"WHERE NOT EXISTS (SELECT 1 FROM {self._table} kept WHERE {same})"
        self._insert(where)

    def _value(self, name: str) -> str:
        return time_of(f'f."{name}"') if dict(self._channel.fields)[name] == "time" else f'f."{name}"'

    def _trades(self, *, again: bool) -> None:
        """A trade is there once; an aggregate and the single trades in it are the same trades."""
        if again:
            overlap = (
                f"kept.symbol = f.symbol AND {_first('kept')} <= {_last('f')} AND {_last('kept')} >= {_first('f')}"
            )
            near = f"kept.ts_event >= (SELECT {time_of('min(ts_event)')} FROM {self._fresh})"
            self._db.execute(f"DELETE FROM {self._table} kept USING {self._fresh} f WHERE {near} AND {overlap}")
        self._insert(f"ON CONFLICT ({self._key()}) DO NOTHING")

    def _replace(self, *, again: bool) -> None:
        if self._revised and not again:
            wins = self._wins("f", again=again)
            same = " AND ".join(f"kept.{name} = {self._value(name)}" for name in self._channel.key)
            kept = ", ".join(f'kept."{name}"' for name, _ in self._channel.fields)
            self._db.execute(
                f"INSERT INTO {self._revised} ({self._names}) "
                f"SELECT {kept} FROM {self._table} kept, {self._fresh} f WHERE {same} AND {wins}"
            )
            self._db.execute(
                f"INSERT INTO {self._revised} ({self._names}) "
                f"SELECT {self._values} FROM {self._table} kept, {self._fresh} f "
                f"WHERE {same} AND NOT ({wins})"
            )
        sets = ", ".join(f'"{n}" = excluded."{n}"' for n, _ in self._channel.fields if n not in self._channel.key)
        self._insert(f"ON CONFLICT ({self._key()}) DO UPDATE SET {sets} WHERE {self._wins('excluded', again=again)}")

    def _wins(self, fresh: str, *, again: bool) -> str:
        """Whether a ``fresh`` row stands before the kept one of its key."""
        names = {name for name, _ in self._channel.fields}
        terms = [f'coalesce({fresh}."count", 0) >= coalesce(kept."count", 0)'] if "count" in names else []
        if "revision" in names and not again:
            terms.append(f"{fresh}.revision >= kept.revision")
        return " AND ".join(terms) or "TRUE"

    def _key(self) -> str:
        return ", ".join(f'"{name}"' for name in self._channel.key)


def last_of_each(channel: Channel, rows: Sequence[Row], *, again: bool) -> tuple[list[Row], list[Row]]:
    """The row of each window that stands, and all the others; one that knows less only where it comes ``again``."""
    last: dict[tuple[Any, ...], Row] = {}
    others: list[Row] = []
    for row in rows:
        key = tuple(row[name] for name in channel.key)
        known = last.get(key)
        if known is not None and not again and not _stands(row, known):
            others.append(row)
            continue
        if known is not None:
            others.append(known)
        last[key] = row
    return list(last.values()), others


def _stands(row: Row, known: Row) -> bool:
    """Whether a row stands before one of its key that came before it."""
    return bool(row["revision"] >= known["revision"] and (row.get("count") or 0) >= (known.get("count") or 0))


def cover(db: Connection, writer: Writer, rows: Sequence[Row]) -> int:
    """Coverage in the place of the one before: of each stream from the first time on that it tells."""
    first: dict[tuple[str, str, str, str], int] = {}
    for row in rows:
        key = (row["venue"], row["symbol"], row["stream"], row["guarantee"])
        first[key] = min(first.get(key, row["ts_start"]), row["ts_start"])
    for (venue, symbol, stream, guarantee), ts in first.items():
        db.execute(
            f"DELETE FROM coverage WHERE venue = %s AND symbol = %s AND stream = %s AND guarantee = %s "
            f"AND ts_start >= {time_of('%s')}",
            (venue, symbol, stream, guarantee, ts),
        )
    return writer.write(rows)


def _first(rows: str) -> str:
    return f"coalesce({rows}.first_id, {rows}.id)::numeric"


def _last(rows: str) -> str:
    return f"coalesce({rows}.last_id, {rows}.id)::numeric"
