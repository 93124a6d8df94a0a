"""The pipeline: tape in, committed rows out, in one thread; after a restart it goes on where the store stands.

Rows and tape position commit together. Operator state is kept now and then; a restart restores the newest state not
ahead of the store, plays the tape from there, and gives nothing to the store until its position is reached.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tapeflow import venues
from tapeflow.app.carried import Carried
from tapeflow.domain.errors import SnapshotError, StoreError
from tapeflow.domain.events import Action, Fetch, Gap
from tapeflow.engine.embedded import Engine
from tapeflow.flow.nodes import Flow
from tapeflow.stores.results import Results
from tapeflow.stores.states import States
from tapeflow.stores.store import Store
from tapeflow.stores.swapped import SwappedResults
from tapeflow.tape.blocks import Block
from tapeflow.tape.playback import answered, play
from tapeflow.tape.reader import TapeReader

#: Records given to the engine before rows are committed: bounds the rows of one transaction.
BATCH = 20_000
#: Playing is interrupted for a commit after so long.
PLAY_S = 0.2
#: The store is written at least this often while the tape grows, also without rows, so that a restart is short.
COMMIT_S = 1.0
#: How often it is looked for windows that our trades do not cover.
LOOK_S = 1.0
#: State is kept at most this often, and takes at most a twentieth of the time.
STATE_S = 5.0
#: How long a failing store is left alone before it is tried again.
RETRY_S = 0.5


class Progress(msgspec.Struct, frozen=True):
    """Where a pipeline stands, as others may see it."""

    played: int = 0
    committed: int = 0
    is_live: bool = False
    holes: tuple[Gap, ...] = ()
    wanted: tuple[tuple[str, str, int, int], ...] = ()
    edges: dict[str, tuple[int, int]] = {}
    error: str = ""
    rows: int = 0
    symbols: int = 0
    ts_recv: int = 0


class Pipeline:
    """Plays a tape to an engine and commits its rows. ``act`` is given what the venue asks for, once it is live.

    ``tell`` is called, in the pipeline's thread, after each step; it must be quick.
    """

    def __init__(
        self,
        flow: Flow,
        venue: str,
        tape: Path,
        store: Store,
        states: States,
        *,
        channels: tuple[str, ...],
        act: Callable[[Action], None],
        tell: Callable[[Progress], None],
        state_s: float = STATE_S,
    ) -> None:
        self._flow = flow
        self._venue = venue
        self._tape = tape
        self._store = store
        self._states = states
        self._channels = channels
        self._act = act
        self._tell = tell
        self._state_s = state_s
        self._pending: dict[str, Fetch] = {}
        self._warmed: set[str] = set()
        self.progress = Progress()
        self._sink = SwappedResults(self._results)
        self._engine = self._new_engine()
        self._wake = threading.Event()
        now = time.monotonic()
        self._covered = 0  # the position of which the store knows the coverage
        self._cover_after = self._keeping_took = 0.0
        self._committed_at = self._looked_at = self._kept_at = now
        self._rest: Block | None = None
        self._to_retain: dict[str, int] = {}
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._failure: BaseException | None = None

    # -- set-up ------------------------------------------------------------------------------------------

    def _new_engine(self) -> Engine:
        codec = venues.create(self._venue)
        self._scales = (codec.price_scale, codec.size_scale)
        return Engine(
            self._flow, codec, self._sink, channels=self._channels, act=self._on_action, patience=1 << 62, of_tape=True
        )

    def _results(self) -> Results:
        price, size = self._scales
        return Results(self._flow, self._venue, self._channels, price_scale=price, size_scale=size)

    def restore(self, end: int) -> None:
        """Become what the newest state says that the store has reached; ``end`` is that of the tape.

        Rows made by other code, or by another flow, are made again from the whole tape. A store that is ahead of its
        tape has outlived records that a power failure took. Either way rows up to now may be there already. Raises
        `StoreError`.
        """
        fingerprint = self._engine.fingerprint
        is_of_other = self._store.fingerprint not in ("", fingerprint)
        if is_of_other:
            self._states.drop()
        self._states.forget_after(end)
        if is_of_other or self._store.position > end:
            self._store.rewind(0 if is_of_other else end, time.time_ns() // 1000)
        if self._store.fingerprint != fingerprint:
            self._store.claim(fingerprint)
        committed = self._store.position
        carried = self._newest_state(committed)
        if carried is not None:
            self._pending = {fetch.request: fetch for fetch in carried.pending}
            self._warmed = set(carried.warmed)
        at = carried.position if carried is not None else 0
        self._reader = TapeReader(self._tape, at)
        self.progress = Progress(played=at, committed=committed, edges=self._engine.edges())

    def _newest_state(self, committed: int) -> Carried | None:
        for position in reversed(self._states.positions()):
            packed = self._states.load(position) if position <= committed else None
            if packed is None:
                continue
            try:
                carried = msgspec.msgpack.decode(packed, type=Carried)
                self._engine.restore(carried.engine)
            except (SnapshotError, msgspec.DecodeError):
                self._engine = self._new_engine()
            else:
                return carried
        return None

    @property
    def warmed(self) -> frozenset[str]:
        """The requests for candles that were answered, also before a restart."""
        return frozenset(self._warmed)

    # -- the thread --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to play, from where `restore` left it."""
        self._thread.start()

    def wake(self) -> None:
        """There is more on the tape."""
        self._wake.set()

    def stop(self) -> None:
        """Play the tape to its end, commit, keep the state; raises what the thread died of."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    @property
    def counts(self) -> dict[str, int]:
        """What the engine has met so far."""
        return msgspec.structs.asdict(self._engine.tally())

    def retain(self, older_than: dict[str, int]) -> None:
        """Have rows older than these times dropped from the store, between two commits."""
        self._to_retain = older_than

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._play_all()
        except BaseException as error:  # noqa: BLE001 - it is raised again by `stop`
            self._failure = error
            self._say(error=f"{type(error).__name__}: {error}")

    def _play_all(self) -> None:
        while True:
            self._wake.clear()
            has_more = self._play_some()
            now = time.monotonic()
            if self._is_due(now):
                self._commit()
            self._look_after(now)
            if has_more:
                continue
            if not self.progress.is_live:
                self._go_live()
            elif self._is_stopping:
                self._end()
                return
            else:
                self._wake.wait(0.1)

    def _play_some(self) -> bool:
        """Play what there is, but not more than one commit should hold; True if there is more."""
        started, at = time.monotonic(), self.progress.played
        ts_recv = self.progress.ts_recv
        has_more = True
        while at - self.progress.played < BATCH and time.monotonic() - started < PLAY_S:
            block = self._rest or self._reader.read()
            self._rest = None
            if block is None:
                has_more = False
                break
            at = self._play(block, at)
            ts_recv = int(block.ts_recv[min(at, block.next) - block.first - 1])
        if at > self.progress.played:
            self._engine.flush()
            if at <= self.progress.committed:
                self._sink.take()  # the store has these rows
            self._say(played=at, ts_recv=ts_recv)
        return has_more

    def _play(self, block: Block, at: int) -> int:
        """Play what is new of a block, up to where the store stands if that lies within; where playing has come to."""
        start, stop = max(at, block.first), block.next
        silent = self.progress.committed
        if start < silent < stop:
            stop, self._rest = silent, block
        if start >= stop:
            return at
        self._note_answers(block, start - block.first, stop - block.first)
        play(block, self._engine, start - block.first, stop - block.first)
        if stop == silent:
            self._engine.flush()
            self._sink.take()
        return stop

    def _is_due(self, now: float) -> bool:
        if self.progress.played <= self.progress.committed:
            return False
        return self._sink.has_rows or now - self._committed_at >= COMMIT_S

    def _look_after(self, now: float) -> None:
        """What is done now and then."""
        if self._to_retain:
            self._drop_old()
        if now - self._looked_at >= LOOK_S:
            self._say(wanted=tuple(self._engine.wanted_candles()), edges=self._engine.edges())
            self._looked_at = now
        if now - self._kept_at >= max(self._state_s, 20 * self._keeping_took):
            self._keep_state()

    def _end(self) -> None:
        if self.progress.played > min(self.progress.committed, self._covered):
            self._commit()
        self._keep_state()
        self._reader.close()

    def _note_answers(self, block: Block, start: int, stop: int) -> None:
        for status, request in answered(block, start, stop).values():
            self._pending.pop(request, None)
            if status == 200 and "/klines?" in request:
                self._warmed.add(request)

    def _on_action(self, action: Action) -> None:
        if isinstance(action, Fetch):
            self._pending[action.request] = action
        if self.progress.is_live:
            self._act(action)

    def _go_live(self) -> None:
        """The end of the tape was reached: from now on what the venue asks for is done, also what it asked before."""
        self._say(is_live=True)
        for fetch in list(self._pending.values()):
            self._act(fetch)

    def _commit(self) -> None:
        results = self._sink.take(self._engine.symbols)
        position, coverage = self.progress.played, self._coverage()
        while True:
            try:
                rows = self._store.commit(results, position, coverage=coverage)
            except StoreError as error:
                self._say(error=str(error))
                time.sleep(RETRY_S)
            else:
                self._say(committed=position, error="", rows=self.progress.rows + rows)
                self._committed_at = time.monotonic()
                return

    def _coverage(self) -> list[dict[str, Any]] | None:
        """What the engine has seen, as often as the store need know it."""
        now = time.monotonic()
        if now < self._cover_after and not self._is_stopping:
            return None
        coverage = self._engine.coverage()
        took = time.monotonic() - now
        self._cover_after, self._covered = now + max(COMMIT_S, 20 * took), self.progress.played
        return coverage

    def _drop_old(self) -> None:
        older_than, self._to_retain = self._to_retain, {}
        try:
            self._store.retain(older_than)
        except StoreError as error:
            self._say(error=str(error))

    def _keep_state(self) -> None:
        """Keep the state as of the store's position."""
        started = time.monotonic()
        if self.progress.committed != self.progress.played:
            return
        carried = Carried(
            self.progress.played, self._engine.snapshot(), list(self._pending.values()), sorted(self._warmed)
        )
        try:
            self._states.save(carried.position, msgspec.msgpack.encode(carried), self.progress.ts_recv)
        except StoreError as error:
            self._say(error=str(error))
        self._kept_at = time.monotonic()
        self._keeping_took = self._kept_at - started

    def _say(self, **changes: Any) -> None:
        if "played" in changes:
            changes["holes"] = tuple(self._engine.holes())
            changes["symbols"] = len(self._engine.symbols)
        self.progress = msgspec.structs.replace(self.progress, **changes)
        self._tell(self.progress)
