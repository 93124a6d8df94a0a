"""Coverage of what is asked for, in memory: always as the last commit left it, without a look into the store."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pyarrow as pa

from tapeflow.stores.render import objects

Row = dict[str, Any]
#: Symbol and stream.
Key = tuple[str, str]

#: Rows that are kept in all; when there are more, all are read again.
MOST = 200_000
#: Commits whose coverage nobody has asked for since.
WAITING = 64


class Change(msgspec.Struct):
    """What one transaction does to coverage: rows in the place of those of their streams, or anything."""

    fresh: pa.Table | None = None
    is_any: bool = False


class Covered:
    """Rows of coverage by symbol and stream, read once and then kept up by the commits; one writer, any readers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Key, list[Row]] = {}
        self._waiting: list[pa.Table] = []
        #: Odd while a transaction is under way: what is read then may be of before it or of after it, and is not kept.
        self._version = 0

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """Around a transaction: what it says counts when it has ended well, else anything may have happened."""
        change = Change()
        with self._lock:
            self._version += 1
        try:
            yield change
        except BaseException:
            change.is_any = True
            raise
        finally:
            with self._lock:
                self._take(change)
                self._version += 1

    def _take(self, change: Change) -> None:
        if change.is_any or len(self._waiting) >= WAITING:
            self._rows.clear()
            self._waiting.clear()
        elif change.fresh is not None and self._rows:
            self._waiting.append(change.fresh)

    def rows(self, key: Key, start: int, end: int, read: Callable[[], list[Row]]) -> list[Row]:
        """The rows that touch ``[start, end]``, ascending; ``read`` gives all of the key from the store."""
        with self._lock:
            self._catch_up()
            found, version = self._rows.get(key), self._version
        if found is None:
            found = read()
            with self._lock:
                if version == self._version and not version % 2:
                    self._keep(key, found)
        last = bisect_right(found, end, key=_start)
        return [row for row in found[:last] if row["ts_end"] is not None and row["ts_end"] >= start]

    def _keep(self, key: Key, rows: list[Row]) -> None:
        if len(rows) + sum(map(len, self._rows.values())) > MOST:
            self._rows.clear()
        self._rows[key] = rows

    def _catch_up(self) -> None:
        for table in self._waiting:
            fresh: dict[Key, list[Row]] = {}
            for row in objects(table):
                fresh.setdefault((row["symbol"], row["stream"]), []).append(row)
            for key in fresh.keys() & self._rows.keys():
                self._rows[key] = renewed(self._rows[key], fresh[key])
        self._waiting.clear()


def _start(row: Row) -> int:
    return int(row["ts_start"])


def renewed(kept: list[Row], fresh: list[Row]) -> list[Row]:
    """Rows of one symbol and stream after a commit: of each guarantee from the first time on that it tells."""
    fresh = [row for row in fresh if row["ts_start"] is not None]
    first: dict[str, int] = {}
    for row in fresh:
        first[row["guarantee"]] = min(first.get(row["guarantee"], row["ts_start"]), row["ts_start"])
    old = [row for row in kept if row["guarantee"] not in first or row["ts_start"] < first[row["guarantee"]]]
    return sorted(old + fresh, key=lambda row: (row["ts_start"], row["ts_end"] is None, row["ts_end"]))
