"""The spool: an event loop hands over its frames, threads write and sync them in groups."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from tapeflow.domain.errors import TapeError
from tapeflow.tape.records import LONGEST, OVERHEAD, Record
from tapeflow.tape.writer import TapeWriter, too_long

RETRY_S = 0.5


class Counters(NamedTuple):
    """What a spool has done since it began."""

    records: int
    bytes: int
    commits: int
    syncs: int
    slowest_commit_ms: float
    failures: int


class Spool:
    """What was put is committed in the order of putting, in groups ``commit_ms`` apart; ``on_commit`` tells when.

    While the disk refuses, ``error`` says why, records wait in memory and it is tried again every half second. At
    ``limit_bytes`` the spool ``is_full``: it still takes what comes, so that nothing is dropped, and the caller must
    stop reading. ``on_commit`` is called in the spool's own thread with the position after each commit.
    """

    def __init__(
        self,
        writer: TapeWriter,
        *,
        commit_ms: float = 2,
        sync_ms: float = 1000,
        limit_bytes: int = 64 << 20,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        self.writer = writer
        self.limit_bytes = limit_bytes
        self.error = ""
        self._commit_s = commit_ms / 1000
        self._sync_s = sync_ms / 1000
        self._on_commit = on_commit
        self._put: list[Record] = []
        self._put_bytes = 0
        self._lock = threading.Lock()
        self._is_woken = threading.Event()
        self._is_stopping = threading.Event()
        self._done = threading.Condition(self._lock)
        self._records = self._bytes = self._commits = self._syncs = self._failures = 0
        self._committed = 0
        self._slowest = 0.0
        self._has_ended = False
        self._write_error = self._sync_error = ""
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._write_all, "tape-commit"), (self._sync_all, "tape-sync"))
        ]
        for thread in self._threads:
            thread.start()

    def put(self, kind: int, connection: str, body: bytes, *, at: int, mono: int, head: str = "") -> None:
        """Hand over a record; costs about a microsecond and never waits for the disk."""
        size = len(body) + len(head)
        if size > LONGEST:
            raise too_long(size)
        with self._lock:
            is_first = not self._put
            self._put.append((kind, connection, at, mono, head, body))
            self._put_bytes += size
            self._records += 1
        if is_first:
            self._is_woken.set()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of memory that uncommitted records take, about."""
        return self._put_bytes + OVERHEAD * len(self._put) + self.writer.waiting

    @property
    def is_full(self) -> bool:
        return self.waiting_bytes >= self.limit_bytes

    @property
    def counters(self) -> Counters:
        return Counters(self._records, self._bytes, self._commits, self._syncs, self._slowest * 1000, self._failures)

    def flush(self, timeout_s: float | None = None) -> int:
        """Wait until all that was put so far is committed: the position then. `TapeError` after ``timeout_s``."""
        with self._done:
            wanted = self._records
            self._is_woken.set()
            if not self._done.wait_for(lambda: self._committed >= wanted or self._has_ended, timeout_s):
                raise TapeError(
                    self.error or f"the tape did not take {wanted - self._committed} records in {timeout_s} s"
                )
            if self._committed < wanted:
                raise TapeError(self.error or "the spool is stopped; records put after that are not on the tape")
        return self.writer.position

    def stop(self) -> None:
        """Commit and sync what was put, then end; `TapeError` if the disk refuses. The writer stays open."""
        self._is_stopping.set()
        self._is_woken.set()
        for thread in self._threads:
            thread.join()
        with self._lock:
            waiting = self._records - self._committed
        if waiting:
            raise TapeError(f"{waiting} records are not on the tape: {self.error or 'they were put after the end'}")
        if self.error:
            raise TapeError(self.error)

    def _write_all(self) -> None:
        """The thread that commits. One that dies says so, or a caller would wait for ever."""
        try:
            while not self._is_stopping.is_set():
                self._is_woken.wait()
                began = time.perf_counter()
                self._is_woken.clear()
                pause = self._commit_s if self._commit() else RETRY_S
                self._is_stopping.wait(max(pause - (time.perf_counter() - began), 0))
            self._commit()
        except BaseException as error:
            self._write_error = f"the spool has stopped: {error}"
            self._tell()
            raise
        finally:
            with self._done:
                self._has_ended = True
                self._done.notify_all()

    def _commit(self) -> bool:
        """Commit what was put; False if the disk refuses, and then it wakes itself again."""
        with self._lock:
            taken, self._put = self._put, []
            size, self._put_bytes = self._put_bytes, 0
        before = self.writer.position
        began = time.perf_counter()
        try:
            self.writer.extend(taken, size)
            self.writer.commit()
            self._write_error = ""
        except TapeError as error:
            self._write_error = str(error)
            self._failures += 1
            self._is_woken.set()
        self._tell()
        self._bytes += size
        self._count(self.writer.position - before, time.perf_counter() - began)
        return not self._write_error

    def _count(self, records: int, took_s: float) -> None:
        if not records:
            return
        self._commits += 1
        self._slowest = max(self._slowest, took_s)
        with self._done:
            self._committed += records
            self._done.notify_all()
        if self._on_commit is not None:
            self._on_commit(self.writer.position)

    def _sync_all(self) -> None:
        """The thread that syncs: a slow disk holds up no commit."""
        is_last = False
        while not is_last:
            is_last = self._is_stopping.wait(self._sync_s)
            if is_last:
                self._threads[0].join()
            if self.writer.synced < self.writer.position:
                self._sync()

    def _sync(self) -> None:
        try:
            self.writer.sync()
            self._syncs += 1
            self._sync_error = ""
        except TapeError as error:
            self._sync_error = str(error)
            self._failures += 1
        self._tell()

    def _tell(self) -> None:
        self.error = self._write_error or self._sync_error
