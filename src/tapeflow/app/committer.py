"""Rows to the store, and state beside it, each in a thread of its own: what is published never waits for the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from tapeflow.domain.errors import StoreError
from tapeflow.stores.results import Results
from tapeflow.stores.states import States
from tapeflow.stores.store import Ledger

#: How long a failing store is left alone before it is tried again.
RETRY_S = 0.5


class Job(msgspec.Struct, frozen=True):
    """What is committed as one: rows up to a position of the tape; ``state`` is kept when they are in the store.

    ``older_than`` has what is dropped then, beside rows replaced long ago; None: nothing is looked for.
    """

    results: Results
    position: int
    coverage: list[dict[str, Any]] | None = None
    state: list[bytes] | None = None
    ts_recv: int = 0
    older_than: dict[str, int] | None = None


class Committer:
    """Does one `Job` after the other. ``done`` is called after each, in its thread, with the rows written."""

    def __init__(
        self, store: Ledger, states: States, *, done: Callable[[Job, int], None], failed: Callable[[str], None]
    ) -> None:
        self._store = store
        self._states = states
        self._done = done
        self._failed = failed
        self._job: Job | None = None
        self._is_ending = False
        self._kept: Job | None = None  # whose state is being kept
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._keeper = threading.Thread(target=self._keep_all, name="state", daemon=True)
        self.failure: BaseException | None = None
        #: How long the last transaction took.
        self.took_s = 0.0

    def start(self) -> None:
        self._thread.start()
        self._keeper.start()

    @property
    def is_idle(self) -> bool:
        """True if a job would be begun at once."""
        return self._job is None

    @property
    def is_keeping(self) -> bool:
        """True while a state is being written."""
        return self._kept is not None

    def submit(self, job: Job) -> None:
        """Have a job done; only when it `is_idle`. Without the thread it is done here and now."""
        if self._thread.ident is None:
            self.do(job)
            return
        with self._changed:
            self._job = job
            self._changed.notify_all()

    def wait(self) -> None:
        """Return when nothing is under way; raises what the thread died of."""
        with self._changed:
            self._changed.wait_for(lambda: (self._job is None and self._kept is None) or self.failure is not None)
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """End the threads after what is under way."""
        self._is_ending = True
        for thread in (self._thread, self._keeper):
            with self._changed:
                self._changed.notify_all()
            if thread.ident is not None:
                thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._job is not None or self._is_ending)
            if self._job is None:
                return
            try:
                self.do(self._job)
            except BaseException as error:  # noqa: BLE001 - the pipeline raises it again
                self._die(error)
                return

    def _die(self, error: BaseException) -> None:
        with self._changed:
            self.failure = error
            self._changed.notify_all()

    def do(self, job: Job) -> None:
        """Commit, as often as it takes; then have the state kept, and drop what is too old."""
        rows = self._commit(job)
        older_than = job.older_than
        if older_than is not None:
            self._try(lambda: self._store.retain(older_than))
        with self._changed:
            self._job = None
            self._kept = job if job.state is not None else self._kept
            self._changed.notify_all()
        if self._keeper.ident is None:
            self._keep()
        self._done(job, rows)

    def _keep_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._kept is not None or self._is_over())
            if self._kept is None:
                return
            try:
                self._keep()
            except BaseException as error:  # noqa: BLE001 - as above: a run must not go on without keeping its state
                self._die(error)
                return

    def _is_over(self) -> bool:
        return self._is_ending and not self._thread.is_alive()

    def _keep(self) -> None:
        """Write the state of a job whose rows are in the store."""
        job = self._kept
        if job is not None and job.state is not None:
            pieces = job.state
            self._try(lambda: self._states.save(job.position, pieces, job.ts_recv))
        with self._changed:
            self._kept = None
            self._changed.notify_all()

    def _commit(self, job: Job) -> int:
        while True:
            began = time.monotonic()
            try:
                rows = self._store.commit(job.results, job.position, coverage=job.coverage)
            except StoreError as error:
                self._failed(str(error))
                time.sleep(RETRY_S)
            else:
                self.took_s = time.monotonic() - began
                return rows

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except StoreError as error:
            self._failed(str(error))
