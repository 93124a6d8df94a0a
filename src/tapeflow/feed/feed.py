"""A feed: the streams of many symbols over several connections, with all that keeps them whole."""

from __future__ import annotations

import asyncio
import difflib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from tapeflow.domain.errors import VenueError
from tapeflow.domain.events import Action, Fetch, Gap, Reconnect
from tapeflow.feed.budget import BOOK, CANDLES, Budget
from tapeflow.feed.clock import Clock, monotonic_us
from tapeflow.feed.connection import Connection
from tapeflow.feed.recorder import Recorder, Say
from tapeflow.feed.refill import Refill
from tapeflow.feed.refused import REGION, explain, told_once
from tapeflow.feed.rest import ATTEMPTS, Rest
from tapeflow.feed.slot import Slot
from tapeflow.feed.warm import Wanted, Warm
from tapeflow.tape.playback import STARTED, Said
from tapeflow.venues.wire import Wire

TICK_S = 0.25
#: What the venue lists is not asked for again within so long: an answer is long, and kept on the tape.
LISTED_S = 60.0
#: A search of it may be answered from an older listing: a name that is missing there can still be added.
SEARCHED_S = 600.0
#: A connection is replaced so long before the venue cuts it.
BEFORE_CUT_S = 600


class FeedSettings(msgspec.Struct, frozen=True):
    """Addresses, what to follow, and limits. Symbols in the venue's spelling."""

    websocket: str
    rest: str
    channels: frozenset[str]
    intervals: tuple[str, ...]
    streams_per_connection: int = 200
    connection_s: float = 0.0  # 0: the venue's limit less ten minutes
    give_up_s: float = 1800.0
    weight_share: float = 0.9
    history: int = 500


class Feed:
    """Follows symbols of a venue: everything that arrives goes to the recorder, holes are filled.

    ``holes``, ``played``, ``edges`` and ``wanted`` tell what the engine knows; its questions come by `act`.
    """

    def __init__(
        self,
        settings: FeedSettings,
        wire: Wire,
        recorder: Recorder,
        clock: Clock,
        say: Say,
        *,
        holes: Callable[[], tuple[Gap, ...]],
        played: Callable[[], int],
        edges: Callable[[], dict[str, tuple[int, int]]],
        answered: Iterable[str],
        wanted: Callable[[], tuple[Wanted, ...]],
    ) -> None:
        self._settings = settings
        self._wire = wire
        self.recorder = recorder
        self._clock = clock
        self._say = say = told_once(say, explain(REGION, wire))
        budget = Budget(wire.limits.weight_per_minute, lambda: clock.now()[0] / 1e6, settings.weight_share)
        self.rest = Rest(settings.rest, wire, budget, recorder, say)
        self.refill = Refill(
            wire, self.rest, recorder, say, holes=holes, played=played, edges=edges, give_up_s=settings.give_up_s
        )
        self.warm = Warm(wire, self.rest, say, played=played, answered=answered, wanted=wanted)
        self._attempts: deque[float] = deque()
        self._connections: set[Connection] = set()
        self.slots: list[Slot] = []
        self._slot_tasks: dict[str, asyncio.Task[None]] = {}
        self._jobs: set[asyncio.Task[Any]] = set()
        self.symbols: list[str] = []
        self._next_slot = 1
        self._listed: dict[str, str] = {}
        self._listed_at = float("-inf")
        self._asking: asyncio.Task[dict[str, str]] | None = None

    async def run(self, symbols: Sequence[str]) -> None:
        """Follow these symbols until cancelled."""
        self.recorder.note(Said(STARTED))
        try:
            await self.follow(symbols)
            self._job(self._check_symbols())
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tick())
                group.create_task(self.refill.run())
                group.create_task(self.warm.run())
        finally:
            tasks = [*self._slot_tasks.values(), *self._jobs]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()

    async def _end(self) -> None:
        """Close what is open, so that the tape has the end of each connection; after that nothing is recorded."""
        open_ones = list(self._connections)
        for connection in open_ones:
            connection.end("we stop")
        if open_ones:
            await asyncio.wait([connection.closed for connection in open_ones], timeout=2.0)
        await self.rest.close()
        self.recorder.end()

    async def _check_symbols(self) -> None:
        """The venue accepts any name and then sends nothing: say which symbols it does not list."""
        try:
            listed = await self._ask_listed()
        except VenueError as error:
            self._say(str(error))
            return
        for symbol in self.symbols:
            status = listed.get(symbol)
            if status is None:
                near = difflib.get_close_matches(symbol, listed, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                self._say(f"{symbol} is not listed by {self._wire.name}, nothing will come of it{hint}")
            elif status != "TRADING":
                self._say(f"{symbol} is not trading at present: {status}")

    async def listed(self, symbol: str) -> dict[str, str]:
        """The status of every symbol that the venue lists, new enough to know of this one; raises `VenueError`."""
        return self._listed if symbol.upper() in self._listed else await self.listing(LISTED_S)

    async def listing(self, most_s: float = SEARCHED_S) -> dict[str, str]:
        """The status of every symbol that the venue lists, not older than that; raises `VenueError`.

        However many wait for it, the venue is asked once.
        """
        if asyncio.get_running_loop().time() - self._listed_at <= most_s:
            return self._listed
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_listed(attempts=2))
            self._jobs.add(self._asking)  # it ends with the feed; who waits is told what went wrong
            self._asking.add_done_callback(self._jobs.discard)
        return await asyncio.shield(self._asking)

    async def _ask_listed(self, attempts: int = ATTEMPTS) -> dict[str, str]:
        answer = await self.rest.ask(self._wire.instruments, CANDLES, attempts)  # it is light, books would hold it up
        if not answer.is_good:
            raise VenueError(f"cannot ask for the instruments: {answer.problem}")
        try:
            self._listed = self._wire.listed(answer.body)
        except msgspec.DecodeError as error:
            raise VenueError(f"cannot read the instruments: {error}") from error
        self._listed_at = asyncio.get_running_loop().time()
        return self._listed

    def act(self, action: Action) -> None:
        """Do what the venue's codec asks for."""
        if isinstance(action, Fetch):
            # A book without an answer is asked for again: not if the first question still waits for its turn.
            if not self.rest.is_unsent(action):
                self._job(self.rest.ask(action, BOOK))
        elif isinstance(action, Reconnect):
            for slot in self.slots:
                slot.renew(action.why)

    def _job(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._jobs.add(task)
        task.add_done_callback(self._job_done)

    def _job_done(self, task: asyncio.Task[Any]) -> None:
        self._jobs.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._say(f"a task of the feed failed: {task.exception()!r}")

    # -- symbols -----------------------------------------------------------------------------------------

    async def follow(self, symbols: Sequence[str]) -> None:
        """Follow these symbols from now on: new ones are added, those left out are given up."""
        added = [symbol for symbol in symbols if symbol not in self.symbols]
        wanted = [name for symbol in symbols for name in self._streams(symbol)]
        kept = set(wanted)
        self.symbols = list(symbols)
        for slot in list(self.slots):
            streams = [name for name in slot.streams if name in kept]
            kept -= set(streams)
            await self._shrink(slot, streams)
        await self._place([name for name in wanted if name in kept])
        if added:
            self._job(self.warm.history(added, self._settings.intervals, self._settings.history))

    def _streams(self, symbol: str) -> list[str]:
        return self._wire.streams(symbol, self._settings.channels, self._settings.intervals)

    async def _shrink(self, slot: Slot, streams: list[str]) -> None:
        if not streams:
            self.slots.remove(slot)
            self._slot_tasks.pop(slot.name).cancel()
        elif streams != slot.streams:
            await slot.change(streams)

    async def _place(self, names: list[str]) -> None:
        """Give streams to slots with room, and to new ones."""
        room = min(self._settings.streams_per_connection, self._wire.limits.streams)
        for slot in self.slots:
            free = room - len(slot.streams)
            if names and free > 0:
                await slot.change([*slot.streams, *names[:free]])
                names = names[free:]
        for at in range(0, len(names), room):
            name = f"{self._wire.name}-{self._next_slot}"
            part = names[at : at + room]
            slot = Slot(name, part, self._open, self._missed, self._say, most_s=self._most_s)
            self._next_slot += 1
            self.slots.append(slot)
            self._slot_tasks[slot.name] = asyncio.create_task(slot.run())

    def _missed(self, streams: list[str]) -> None:
        self._job(self.refill.catch_up(dict.fromkeys(self._wire.symbol_of(name) for name in streams)))

    @property
    def _most_s(self) -> float:
        return self._settings.connection_s or self._wire.limits.connection_s - BEFORE_CUT_S

    async def _open(self, name: str) -> Connection:
        """A connection, once the venue's limit of attempts allows."""
        limits = self._wire.limits
        loop = asyncio.get_running_loop()
        while len(self._attempts) >= limits.attempts * 0.9 and self._attempts[0] > loop.time() - limits.attempts_s:
            await asyncio.sleep(1.0)
        while self._attempts and self._attempts[0] <= loop.time() - limits.attempts_s:
            self._attempts.popleft()
        self._attempts.append(loop.time())
        connection = await Connection.open(name, self._settings.websocket, self._wire, self.recorder)
        self._connections.add(connection)
        connection.closed.add_done_callback(lambda _: self._connections.discard(connection))
        return connection

    # -- time --------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Time goes on, also on the tape; a clock that was set is told."""
        last = monotonic_us()
        while True:
            await asyncio.sleep(TICK_S)
            step = self._clock.step_us()
            if step:
                self._note("clock_step", f"the machine's clock was set by {step / 1e6:+.3f} s")
            now = monotonic_us()
            if now - last > 5_000_000:
                self._note("asleep", f"nothing ran for {(now - last) / 1e6:.1f} s")
            last = now
            if not self.recorder.is_full:
                self.recorder.tick()

    def _note(self, what: str, detail: str) -> None:
        self._say(detail)
        self.recorder.note(Said(what, detail))

    # -- how it is doing ---------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What an operator wants to see."""
        at = monotonic_us()
        return {
            "connections": [
                {
                    "name": slot.current.name if slot.current else slot.name,
                    "is_open": slot.current is not None,
                    "streams": len(slot.streams),
                    "frames": slot.current.frames if slot.current else 0,
                    "silent_s": round((at - slot.current.heard) / 1e6, 1) if slot.current else None,
                    "oldest_stream_s": round(slot.current.rhythms.oldest_us(at) / 1e6, 1) if slot.current else None,
                    "data_silent_s": round((at - slot.current.rhythms.whole.heard) / 1e6, 1) if slot.current else None,
                    "overdue": round(slot.current.rhythms.overdue(at), 2) if slot.current else None,
                    "is_paused": slot.current.is_paused if slot.current else False,
                    "reconnects": slot.reconnects,
                    "problem": slot.problem,
                }
                for slot in self.slots
            ],
            "weight_used": self.rest.budget.used,
            "weight_limit": self.rest.budget.limit,
            "requests": self.rest.budget.asked,
            "refused": self.rest.budget.refused,
            "blocked_s": round(self.rest.budget.blocked_s, 1),
            "clock_offset_s": self.rest.clock_offset_s,
            "holes_filled": self.refill.filled,
            "holes_given_up": self.refill.given_up,
            "refill_s": round(self.refill.remaining_s(), 1),
            "history_waiting": self.warm.waiting,
        }
