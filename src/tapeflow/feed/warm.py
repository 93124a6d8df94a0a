"""Candles of the venue: history when a symbol is followed first, so that indicators are warm, and later the candles
of windows that our trades do not cover whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from tapeflow.domain.events import Fetch
from tapeflow.feed.budget import CANDLES
from tapeflow.feed.recorder import Say
from tapeflow.feed.rest import Rest
from tapeflow.venues.wire import Wire

#: (symbol, interval, start, end) of windows whose venue candle is wanted.
Wanted = tuple[str, str, int, int]

LOOK_S = 1.0
#: Answers on their way or not played yet: one holds a thousand candles, and what is live has to wait for its turn.
AHEAD = 2
#: How often it is looked whether an answer was played.
PLAYED_S = 0.005
#: After so long a question is asked again that the venue did not answer.
AGAIN_S = 60.0


class Warm:
    """Asks for candles. ``answered`` are the requests that have an answer, ``wanted`` the windows not covered."""

    def __init__(
        self,
        wire: Wire,
        rest: Rest,
        say: Say,
        *,
        played: Callable[[], int],
        answered: Iterable[str],
        wanted: Callable[[], tuple[Wanted, ...]],
    ) -> None:
        self._wire = wire
        self._rest = rest
        self._say = say
        self._played = played
        self._room = asyncio.Semaphore(AHEAD)
        self._asked = set(answered)
        self._wanted = wanted
        self._later: dict[str, float] = {}  # when to ask again
        #: Requests for candles of the past that are not answered yet, or not played.
        self.waiting = 0

    async def history(self, symbols: Iterable[str], intervals: Iterable[str], limit: int) -> None:
        """So many of the newest candles of each interval and symbol, once in the life of a data folder.

        Interval by interval in the order given: what is shown first should be there of every symbol first.

        500 make indicators warm: after so many an EMA of 26 has forgotten how it began (4e-17).
        """
        names = list(intervals) if limit else []
        questions = [self._wire.candles(symbol, name, limit=limit) for name in names for symbol in symbols]
        by_request = {fetch.request: fetch for fetch in questions if fetch is not None}
        fetches = [fetch for request, fetch in by_request.items() if request not in self._asked]
        self._asked |= {fetch.request for fetch in fetches}
        self.waiting += len(fetches)
        if fetches:
            self._say(f"{len(fetches)} requests for candles of the past, so that indicators are warm")
        async with asyncio.TaskGroup() as group:
            for fetch in fetches:
                group.create_task(self._history(fetch))

    async def _history(self, fetch: Fetch) -> None:
        while not await self._is_answered(fetch):
            await asyncio.sleep(AGAIN_S)  # others have their turn meanwhile
        self.waiting -= 1

    async def _is_answered(self, fetch: Fetch) -> bool:
        """Ask, and wait until the answer was played; False where there is none yet."""
        async with self._room:
            answer = await self._rest.ask(fetch, CANDLES)
            if answer.may_pass:
                self._say(f"no candles of the past yet: {answer.problem}; they are asked for again in {AGAIN_S:.0f} s")
                return False
            if not answer.is_good:
                self._say(f"no candles of the past: {answer.problem}")
            while self._played() <= answer.position:
                await asyncio.sleep(PLAYED_S)
            return True

    async def run(self) -> None:
        """Ask for what windows lack, until cancelled."""
        while True:
            for symbol, interval, start, end in self._wanted():
                fetch = self._wire.candles(symbol, interval, start, end)
                if fetch is not None and self._is_due(fetch.request):
                    answer = await self._rest.ask(fetch, CANDLES)
                    self._later.pop(fetch.request, None)
                    if answer.may_pass:
                        self._later[fetch.request] = time.monotonic() + AGAIN_S
                    else:
                        self._asked.add(fetch.request)
            await asyncio.sleep(LOOK_S)

    def _is_due(self, request: str) -> bool:
        return request not in self._asked and time.monotonic() >= self._later.get(request, 0.0)
