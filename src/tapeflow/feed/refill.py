"""Holes in the trades, filled from the venue's history or given up with a reason.

The engine says which holes are open; that alone is the state, so a restart needs no other. For each symbol the oldest
hole is worked on, a page at a time. A page that brought nothing leads to the next way of asking, and when there is none
the hole is given up, on the tape. A page by id takes the holes after it along: a stream that lost one message in ten
has hundreds of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from tapeflow.domain.events import Gap
from tapeflow.feed.budget import HOLE
from tapeflow.feed.recorder import Recorder, Say
from tapeflow.feed.refused import REGION
from tapeflow.feed.rest import Rest
from tapeflow.tape.playback import GiveUp
from tapeflow.venues.wire import Wire

#: How often the holes are looked at.
LOOK_S = 0.1
#: A hole is left alone so long: the trades may only have come out of order.
GRACE_S = 0.3
#: Ids that one page reaches.
REACH = 1000
#: What the venue does not answer for so long is given up.
UNANSWERED_S = 1800.0


class Work(msgspec.Struct):
    """What is being done about a symbol's oldest hole."""

    first_id: int
    last_id: int
    seen: float
    attempt: int = 0
    pages: int = 0
    told: bool = False


class Refill:
    """Fills holes. ``holes`` gives the open ones, ``edges`` the newest trade of each symbol, and ``played`` the tape
    position up to which that is known.
    """

    def __init__(
        self,
        wire: Wire,
        rest: Rest,
        recorder: Recorder,
        say: Say,
        *,
        holes: Callable[[], tuple[Gap, ...]],
        played: Callable[[], int],
        edges: Callable[[], dict[str, tuple[int, int]]],
        give_up_s: float = UNANSWERED_S,
    ) -> None:
        self._wire = wire
        self._rest = rest
        self._recorder = recorder
        self._say = say
        self._holes = holes
        self._played = played
        self._edges = edges
        self._give_up_s = give_up_s
        self._work: dict[str, Work] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, deque[tuple[int, int]]] = {}  # ranges of ids that were asked for, and answered
        self.filled = 0
        self.given_up = 0

    async def run(self) -> None:
        """Work on holes until cancelled."""
        try:
            while True:
                self._look()
                await asyncio.sleep(LOOK_S)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def catch_up(self, symbols: Iterable[str]) -> None:
        """Ask for what happened since the newest trade that is known: the next one may be minutes away."""
        edges = self._edges()
        async with asyncio.TaskGroup() as group:
            for symbol in symbols:
                if symbol in edges:
                    id, ts = edges[symbol]
                    fetch = self._wire.refill(Gap("trades", symbol, id + 1, id + 1, ts, ts, "reconnect"))
                    if fetch is not None:
                        group.create_task(self._rest.ask(fetch, HOLE))

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        oldest: dict[str, Gap] = {}
        for gap in self._holes():
            oldest.setdefault(gap.symbol, gap)
        for symbol in [symbol for symbol in self._work if symbol not in oldest and symbol not in self._tasks]:
            self._done(symbol)
        for symbol, gap in oldest.items():
            if symbol not in self._tasks:
                self._begin(symbol, gap, now)

    def _begin(self, symbol: str, gap: Gap, now: float) -> None:
        work = self._work.get(symbol)
        first, last = gap.first_id or 0, gap.last_id or 0
        if work is not None and (last < work.first_id or first > work.last_id):
            self._done(symbol)  # that one is filled, this is another
            work = None
        if work is None:
            work = self._work[symbol] = Work(first, last, now, self._tried(symbol, first, last))
        if now - work.seen < GRACE_S:
            return
        if first > work.first_id or last < work.last_id:
            work.attempt = 0  # the last page brought something
        work.first_id, work.last_id = first, last
        self._tasks[symbol] = asyncio.create_task(self._page(gap, work))

    def _tried(self, symbol: str, first: int, last: int) -> int:
        """The attempt to begin with: holes that pages by id have reached already are not asked for by time again."""
        reached = sum(lo <= first and last <= hi for lo, hi in self._asked.get(symbol, ()))
        return reached and 1 + reached

    def _with_next(self, gap: Gap) -> Gap:
        """A hole together with the others that a page by id from its first trade on reaches."""
        first = gap.first_id or 0
        lasts = [other.last_id or 0 for other in self._holes() if other.symbol == gap.symbol]
        last = max((last for last in lasts if last < first + REACH), default=0)
        return msgspec.structs.replace(gap, last_id=max(last, gap.last_id or 0))

    def _done(self, symbol: str) -> None:
        work = self._work.pop(symbol)
        if work.pages:
            self.filled += 1
            self._say(f"{symbol}: the hole is filled")

    async def _page(self, gap: Gap, work: Work) -> None:
        try:
            await self._ask(gap, work)
        except Exception as error:  # noqa: BLE001 - the hole is still open, and looked at again
            self._say(f"{gap.symbol}: {error!r}")
            await asyncio.sleep(1.0)
        finally:
            del self._tasks[gap.symbol]

    async def _ask(self, gap: Gap, work: Work) -> None:
        asked = self._with_next(gap) if work.attempt else gap
        fetch = self._wire.refill(asked, work.attempt)
        if fetch is None:
            self._give_up(gap, "not_at_venue")
            return
        if not work.told:
            work.told = True
            self._say(self._story(gap))
        answer = await self._rest.ask(fetch, HOLE)
        work.pages += 1
        if answer.is_good:
            if work.attempt:
                ranges = self._asked.setdefault(gap.symbol, deque(maxlen=8))
                ranges.append((asked.first_id or 0, min(asked.last_id or 0, (asked.first_id or 0) + REACH - 1)))
            work.attempt += 1
            await self._until_played(answer.position)
        elif 400 <= answer.status < 500 and not answer.may_pass and answer.status != REGION:
            work.attempt += 1
            self._say(f"{gap.symbol}: {answer.problem}")
        elif asyncio.get_running_loop().time() - work.seen > self._give_up_s:
            self._give_up(gap, "venue_unreachable")

    def _story(self, gap: Gap) -> str:
        size = (gap.last_id or 0) - (gap.first_id or 0) + 1
        seconds = ((gap.ts_end or 0) - (gap.ts_start or 0)) / 1e6
        rest = self.remaining_s()
        return f"{gap.symbol}: {size} trades of {seconds:.1f} s are missing; all holes filled in about {rest:.0f} s"

    def remaining_s(self) -> float:
        """About how long it takes to fill all open holes within the budget."""
        pages = sum(1 + ((gap.last_id or 0) - (gap.first_id or 0)) // 1000 for gap in self._holes())
        return 0.15 * pages / 4 + self._rest.budget.seconds_for(4 * pages)

    async def _until_played(self, position: int) -> None:
        """The engine has read what stands at this position: only then the hole tells what is still missing."""
        while self._played() <= position:
            await asyncio.sleep(0.01)

    def _give_up(self, gap: Gap, reason: str) -> None:
        self.given_up += 1
        self._work.pop(gap.symbol, None)
        self._say(f"{gap.symbol}: trades {gap.first_id}..{gap.last_id} cannot be had ({reason}); coverage says so")
        self._recorder.note(GiveUp(gap.symbol, gap.first_id or 0, gap.last_id or 0, reason))
