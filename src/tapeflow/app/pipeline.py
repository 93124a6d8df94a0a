"""The pipeline: tape in, committed rows out, in one thread; after a restart it goes on where the store stands.

Rows are published as soon as they are made: the tape has what they come from. Rows and tape position commit together,
in a thread of their own. Operator state is kept now and then; a restart restores the newest state not ahead of the
store, plays the tape from there, and gives nothing to the store until its position is reached.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from tapeflow import venues
from tapeflow.app.carried import Carried, Own, carried
from tapeflow.app.committer import Committer, Job
from tapeflow.domain.errors import SnapshotError, StoreError
from tapeflow.domain.events import Action, Fetch, Gap
from tapeflow.domain.instrument import Instrument
from tapeflow.engine.closings import Closings
from tapeflow.engine.embedded import Engine
from tapeflow.engine.pushes import Pushes
from tapeflow.flow.nodes import Candles, Flow
from tapeflow.stores.events import stamped
from tapeflow.stores.numbers import Code
from tapeflow.stores.results import Results
from tapeflow.stores.states import States
from tapeflow.stores.store import Ledger
from tapeflow.stores.swapped import SwappedResults
from tapeflow.tape.blocks import Block
from tapeflow.tape.playback import answered, play
from tapeflow.tape.reader import TapeReader

#: Records given to the engine before rows are committed: bounds the rows of one transaction.
BATCH = 20_000
#: Playing is interrupted for a commit after so long; live, so that what was made is published after so long.
PLAY_S = 0.2
LIVE_S = 0.01
#: The store is written at least this often while the tape grows, also without rows, so that a restart is short.
COMMIT_S = 1.0
#: How often it is looked for windows that our trades do not cover.
LOOK_S = 1.0
#: State is kept at most this often, and takes at most a hundredth of the time: nothing is published meanwhile.
STATE_S = 5.0
STATE_SHARE = 100
#: Rows that wait for a store which is slow or fails; with more of them playing stops.
HELD = 500_000
#: Forming rows of one symbol are given at most this often.
FORMING_S = 0.02


T = TypeVar("T")

#: Takes the rows of a batch, and whether they are of windows that are still forming.
Publish = Callable[[Results, bool], None]


class Pace(NamedTuple):
    """Transactions begin so many seconds apart, and so many times what the last one took."""

    apart_s: float
    share: float


#: Each costs milliseconds whatever it holds; what is live waits for none, but has to share the processor with it.
STORED = Pace(0.1, 12)


class Progress(msgspec.Struct, frozen=True):
    """Where a pipeline stands, as others may see it."""

    played: int = 0
    committed: int = 0
    is_live: bool = False
    holes: tuple[Gap, ...] = ()
    wanted: tuple[tuple[str, str, int, int], ...] = ()
    edges: dict[str, tuple[int, int]] = {}
    watermarks: dict[str, int] = {}
    error: str = ""
    rows: int = 0
    symbols: int = 0
    ts_recv: int = 0


class Pipeline:
    """Plays a tape to an engine and commits its rows. ``act`` is given what the venue asks for, once it is live.

    The rows of ``channels`` are made and given to ``publish``, those of ``stored`` (all, if left out) are kept.
    With ``closings`` and ``pushes`` trades and klines are kept with what they say of windows that are computed
    elsewhere, with ``told`` with what the venue says of them.
    ``tell`` is called after each step, ``publish`` with each batch; both must be quick.
    """

    def __init__(
        self,
        flow: Flow,
        venue: str,
        tape: Path,
        store: Ledger,
        states: States,
        *,
        channels: tuple[str, ...],
        act: Callable[[Action], None],
        tell: Callable[[Progress], None],
        stored: tuple[str, ...] | None = None,
        publish: Publish | None = None,
        publish_coverage: Callable[[list[dict[str, Any]]], None] | None = None,
        closings: Closings | None = None,
        pushes: Pushes | None = None,
        told: Sequence[Candles] = (),
        state_s: float = STATE_S,
        pace: Pace = STORED,
    ) -> None:
        self._flow = flow
        self._venue = venue
        self._tape = tape
        self._store = store
        self._states = states
        self._channels = channels
        self._stored = channels if stored is None else stored
        self._publish = publish
        self._publish_coverage = publish_coverage
        self._act = act
        self._tell = tell
        self._closings = closings
        self._pushes = pushes
        self._told = told
        self._tells_again = False
        self._state_s = state_s
        self._pace = pace
        self._pending: dict[str, Fetch] = {}
        self._warmed: set[str] = set()
        self.progress = Progress()
        codec = venues.create(venue)
        self._blank = Results(
            flow,
            venue,
            channels,
            price_scale=codec.price_scale,
            size_scale=codec.size_scale,
            all_revisions=True,
            numbered=True,
        )
        self._sink = SwappedResults(self._blank.empty)
        self._engine = self._new_engine()
        self._held: Results | None = None
        self._held_rows = 0
        self._committer = Committer(store, states, done=self._committed, failed=self._failed)
        self._telling = threading.Lock()
        self._asked: deque[tuple[Callable[[Engine], Any], Future[Any]]] = deque()
        self._watched = self._with_steps = frozenset[str]()
        self._known_watched: frozenset[str] = frozenset()
        self._formed: dict[str, float] = {}
        self._moved: set[str] = set()
        self._wake = threading.Event()
        now = time.monotonic()
        self._cover_after = self._keeping_took = self._commit_after = 0.0
        self._committed_at = self._looked_at = self._kept_at = now
        self._rest: Block | None = None
        self._to_retain: dict[str, int] | None = None
        self._is_stopping = self._is_over = False
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._failure: BaseException | None = None

    # -- set-up ------------------------------------------------------------------------------------------

    def _new_engine(self) -> Engine:
        return Engine(
            self._flow,
            venues.create(self._venue),
            self._sink,
            channels=self._channels,
            act=self._on_action,
            patience=1 << 62,
            of_tape=True,
            told=self._told,
        )

    def restore(self, end: int) -> None:
        """Become what the newest state says that the store has reached; ``end`` is that of the tape.

        Rows made by other code, or by another flow, are made again from the whole tape, if the store replaces what it
        has; else the tape is played to where the store stands without a row, and the flow counts from there. A store
        that is ahead of its tape has outlived records that a power failure took. Rows up to now may be there already.
        Raises `StoreError`.
        """
        fingerprint = self._engine.fingerprint
        is_of_other = self._store.fingerprint not in ("", fingerprint)
        if is_of_other:
            self._states.drop()
        self._states.forget_after(end)
        begins_anew = is_of_other and self._store.replaces
        if begins_anew or self._store.position > end:
            self._store.rewind(0 if begins_anew else end, time.time_ns() // 1000)
        if self._store.fingerprint != fingerprint:
            self._store.claim(fingerprint)
        committed = self._store.position
        state = self._newest_state(committed)
        if state is not None:
            self._pending = {fetch.request: fetch for fetch in state.own.pending}
            self._warmed = set(state.own.warmed)
            self._sink.numbers.restore(state.own.numbers)
            if self._closings is not None:
                self._closings.restore(state.own.closings)
            if self._pushes is not None:
                self._pushes.restore(*state.own.pushes)
        # Another life may have had other candles, or none: what it was told it may not have told on.
        is_after_other = is_of_other or any(p <= committed for p in self._states.positions())
        self._tells_again = bool(self._told) and state is None and is_after_other
        at = state.own.position if state is not None else 0
        self._reader = TapeReader(self._tape, at)
        if committed and not at and self._reader.begins:
            self._store.renew()  # how many rows there were before the cut of the tape is not known any more
        self.progress = Progress(played=at, committed=committed, edges=self._engine.edges())

    def _newest_state(self, committed: int) -> Carried | None:
        for position in reversed(self._states.positions()):
            pieces = self._states.load(position) if position <= committed else None
            if pieces is None:
                continue
            try:
                state = carried(pieces)
                self._engine.restore_pieces(state.engine)
            except (SnapshotError, msgspec.DecodeError):
                self._engine = self._new_engine()
            else:
                return state
        return None

    @property
    def warmed(self) -> frozenset[str]:
        """The requests for candles that were answered, also before a restart."""
        return frozenset(self._warmed)

    # -- the thread --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to play, from where `restore` left it."""
        self._committer.start()
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
        self._committer.stop()
        if self._failure is not None:
            raise self._failure

    @property
    def counts(self) -> dict[str, int]:
        """What the engine has met so far."""
        return msgspec.structs.asdict(self._engine.tally())

    def instrument(self, symbol: str) -> Instrument | None:
        """What a symbol's numbers mean, as far as the venue has told."""
        known = getattr(self._engine.venue, "instruments", None)
        return None if known is None else cast("Instrument | None", known.at(symbol))

    def retain(self, older_than: dict[str, int]) -> None:
        """Have rows older than these times dropped from the store, between two commits."""
        self._to_retain = older_than

    def count(self, channel: str, code: Code) -> int:
        """How many rows a series has had so far; for `ask`."""
        return self._sink.numbers.counts[channel].get(code, 0)

    def ask(self, question: Callable[[Engine], T]) -> Future[T]:
        """Have a question answered by the engine, between two batches, in the pipeline's thread; it must be quick."""
        future: Future[T] = Future()
        self._asked.append((question, future))
        self._wake.set()
        if self._is_over:
            self._answer_nobody()
        return future

    def watch(self, symbols: Collection[str], with_steps: Collection[str]) -> None:
        """From now on publish the forming rows of these symbols whenever they change, of some those of steps too."""
        self._watched, self._with_steps = frozenset(symbols), frozenset(with_steps)
        self._wake.set()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._play_all()
        except BaseException as error:  # noqa: BLE001 - it is raised again by `stop`
            self._failure = error
            self._say(error=f"{type(error).__name__}: {error}")
        finally:
            self._is_over = True
            self._answer_nobody()

    def _answer_nobody(self) -> None:
        """Whoever asks an engine that has ended is told so."""
        while self._asked:
            _, future = self._asked.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(StoreError("the run has ended; start it again"))

    def _play_all(self) -> None:
        while True:
            self._wake.clear()
            is_full = self._held_rows > HELD and not self._committer.is_idle
            has_more = not is_full and self._play_some()
            now = time.monotonic()
            self._answer()
            self._form(now)
            if self._is_due(now):
                self._commit(with_state=self._is_state_due(now))
            self._look_after(now)
            if self._committer.failure is not None:
                raise self._committer.failure
            if has_more:
                continue
            if is_full:
                self._wake.wait(0.05)
            elif not self.progress.is_live:
                self._go_live()
            elif self._is_stopping:
                self._end()
                return
            else:
                self._wake.wait(self._rest_s())

    def _rest_s(self) -> float:
        """How long nothing has to be done if nothing comes."""
        if self._moved:
            return FORMING_S
        if self._held is None or not self._committer.is_idle:
            return 0.1
        return max(0.0, min(0.1, self._commit_after - time.monotonic()))

    def _play_some(self) -> bool:
        """Play what there is, but not more than one commit should hold; True if there is more."""
        started, at = time.monotonic(), self.progress.played
        ts_recv = self.progress.ts_recv
        has_more = True
        bound = started + (LIVE_S if self.progress.is_live else PLAY_S)
        while at - self.progress.played < BATCH and time.monotonic() < bound:
            block = self._rest or self._reader.read()
            self._rest = None
            if block is None:
                has_more = False
                break
            at = self._play(block, at)
            ts_recv = max(ts_recv, int(block.ts_recv[min(at, block.next) - block.first - 1]))  # one may have none
        if at > self.progress.played:
            self._engine.flush()
            self._give(is_known=at <= self.progress.committed)
            self._say(played=at, ts_recv=ts_recv)
        return has_more

    def _give(self, *, is_known: bool) -> None:
        """Publish what was made, and hold it for the next commit; not what the store had at the start."""
        if not self._sink.has_rows and self._closings is None:
            return
        results = self._sink.take(self._engine.symbols)
        if self._closings is not None:
            closed_among(results, self._engine.watermarks(), self._closings, self._pushes)
        if is_known or not results.size:
            return
        if self._publish is not None:
            self._publish(results, False)  # noqa: FBT003 - of finished rows
        if self._watched:
            self._moved |= results.symbols_of("trades") & self._watched
        if self._held is None:
            self._held = self._blank.empty(self._stored)
        self._held.merge(results)
        self._held_rows += results.size

    def _play(self, block: Block, at: int) -> int:
        """Play what is new of a block, up to where the store stands if that lies within; where playing has come to."""
        start, stop = max(at, block.first), block.next
        silent = self.progress.committed
        if start < silent < stop:  # never once it plays on: the store is behind from then on
            stop, self._rest = silent, block
        if start >= stop:
            return at
        if self._tells_again and start >= silent:
            self._tells_again = False
            self._engine.tell_again()
        self._note_answers(block, start - block.first, stop - block.first)
        play(block, self._engine, start - block.first, stop - block.first)
        if stop == silent:
            self._engine.flush()
            self._give(is_known=True)
        return stop

    def _is_due(self, now: float) -> bool:
        if self.progress.played <= self.progress.committed or not self._committer.is_idle:
            return False
        return (self._held is not None and now >= self._commit_after) or now - self._committed_at >= COMMIT_S

    def _is_state_due(self, now: float) -> bool:
        is_time = now - self._kept_at >= max(self._state_s, STATE_SHARE * self._keeping_took)
        return is_time and not self._committer.is_keeping

    def _answer(self) -> None:
        while self._asked:
            question, future = self._asked.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(question(self._engine))
                except Exception as error:  # noqa: BLE001 - it is the asker's
                    future.set_exception(error)

    def _form(self, now: float) -> None:
        """Publish the forming rows of symbols that moved, or are watched anew, each at most so often."""
        watched = self._watched
        self._moved |= watched - self._known_watched
        self._known_watched = watched
        due = [symbol for symbol in self._moved if now - self._formed.get(symbol, -inf) >= FORMING_S]
        if not due or self._publish is None:
            return
        self._moved -= set(due)
        self._formed |= dict.fromkeys(due, now)
        self._publish(self._forming(self._engine, due, self._with_steps), True)  # noqa: FBT003 - of forming rows

    def newest(self, engine: Engine, channel: str, symbol: str) -> Results:
        """The newest value of a symbol in a channel, or its rows of windows still open; for `ask`."""
        if channel not in ("quotes", "book", "tickers"):
            return self._forming(engine, [symbol], [symbol] if channel == "indicators" else ())
        results = self._blank.empty()
        engine.newest(engine.number_of(symbol), channel, results)
        results.names = engine.symbols
        return results

    def _forming(self, engine: Engine, symbols: Collection[str], with_steps: Collection[str]) -> Results:
        """The rows of windows that have not closed."""
        results, known = self._blank.empty(), set(engine.symbols)  # to number another one would change the state
        numbers = {symbol: engine.number_of(symbol) for symbol in symbols if symbol in known}
        stepped = [number for symbol, number in numbers.items() if symbol in with_steps]
        engine.forming(list(numbers.values()), results, stepped)
        results.names = engine.symbols
        return results

    def _look_after(self, now: float) -> None:
        """What is done now and then."""
        if now - self._looked_at >= LOOK_S:
            wanted, watermarks = tuple(self._engine.wanted_candles()), self._engine.watermarks()
            self._say(wanted=wanted, edges=self._engine.edges(), watermarks=watermarks)
            self._looked_at = now

    def _end(self) -> None:
        self._committer.wait()
        self._commit(with_state=True)
        self._committer.wait()
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

    def _commit(self, *, with_state: bool = False) -> None:
        """Have what is held committed, with the state as of now if it is to be kept."""
        started = time.monotonic()
        self._commit_after = started + max(self._pace.apart_s, self._pace.share * self._committer.took_s)
        state = self._state() if with_state else None
        held = self._blank.empty(self._stored) if self._held is None else self._held
        results, self._held, self._held_rows = held, None, 0
        results.names = self._engine.symbols
        older_than, self._to_retain = self._to_retain, None
        position, ts_recv = self.progress.played, self.progress.ts_recv
        self._committer.submit(Job(results, position, self._coverage(), state, ts_recv, older_than))
        if with_state:
            self._kept_at = time.monotonic()
            self._keeping_took = self._kept_at - started
        if self._committer.failure is not None:
            raise self._committer.failure

    def _committed(self, job: Job, rows: int) -> None:
        self._committed_at = time.monotonic()
        self._say(committed=job.position, error="", rows=self.progress.rows + rows)
        self._wake.set()

    def _failed(self, error: str) -> None:
        self._say(error=error)

    def _coverage(self) -> list[dict[str, Any]] | None:
        """What the engine has seen, as often as the store need know it."""
        now = time.monotonic()
        if now < self._cover_after and not self._is_stopping:
            return None
        coverage = self._engine.coverage()
        if self._publish_coverage is not None:
            self._publish_coverage(coverage)
        took = time.monotonic() - now
        self._cover_after = now + max(COMMIT_S, 20 * took)
        return coverage

    def _state(self) -> list[bytes]:
        """All that a restart goes on from, as of what was played."""
        engine = self._engine.pieces()  # gives the sink what waits
        self._give(is_known=self.progress.played <= self.progress.committed)
        numbers = self._sink.numbers.state()
        pending = list(self._pending.values())
        closings = [] if self._closings is None else self._closings.state()
        pushes = ([], []) if self._pushes is None else self._pushes.state()
        own = Own(self.progress.played, pending, sorted(self._warmed), numbers, closings, pushes)
        return Carried(own, engine).pieces()

    def _say(self, **changes: Any) -> None:
        if "played" in changes:
            changes["holes"] = tuple(self._engine.holes())
            changes["symbols"] = len(self._engine.symbols)
        with self._telling:
            self.progress = msgspec.structs.replace(self.progress, **changes)
            self._tell(self.progress)


def closed_among(results: Results, watermarks: dict[str, int], closings: Closings, pushes: Pushes | None) -> None:
    """Add to the trades, and to the klines, of a batch which windows have closed among them."""
    numbers = {name: at for at, name in enumerate(results.names)}
    marks = {numbers[name]: ts for name, ts in watermarks.items()}
    rows = closings.add(*stamped(results, numbers), marks)
    if rows:
        results.times([(symbol, 0, instant, place) for place, symbol, instant in rows])
    if pushes is not None:
        results.put_values("klines", pushes.add(results.values("klines"), numbers, marks))
