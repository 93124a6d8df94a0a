"""One weight budget for each host: who asks waits his turn, the most urgent first, and the venue's word is obeyed.

What the most urgent leaves of a minute goes to whom it is enough for, and what is heavy leaves something: a book weighs
as much as 125 pages of candles, and those of 50 symbols take minutes, in which holes are filled and charts get a past.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from bisect import insort
from collections.abc import Callable

MINUTE = 60.0

#: The part of the venue's limit that is used: others may share our address.
SHARE = 0.9

#: A request from this weight on leaves a part of each minute to lighter ones.
HEAVY, LEFT = 250, 0.15

#: Urgency of a question, the lowest number first. Candles weigh so little that they hold up few books.
HOLE, CANDLES, BOOK, HISTORY = range(4)


class Budget:
    """Weight for requests to one host. ``now`` gives seconds of UTC: the venue counts whole minutes of it.

    After 429 or 418 nothing is asked until the venue's ``Retry-After`` is over.
    """

    def __init__(self, limit: int, now: Callable[[], float], share: float = SHARE) -> None:
        self.limit = int(limit * share)
        self.used = 0
        self._heavy = 0
        self.asked = 0
        self.refused = 0
        self._now = now
        self._minute = self.minute
        self._blocked_until = 0.0
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._asked = asyncio.Event()
        self._turner: asyncio.Task[None] | None = None

    async def take(self, weight: int, urgency: int) -> None:
        """Return when a request of this weight may be sent."""
        done = asyncio.get_running_loop().create_future()
        insort(self._waiting, (urgency, next(self._numbers), weight, done))
        self._asked.set()
        if self._turner is None or self._turner.done():
            self._turner = asyncio.create_task(self._turn())
        await done

    async def _turn(self) -> None:
        while self._waiting:
            waits = [self._wait_for(weight) for _, _, weight, _ in self._waiting]
            if min(waits) > 0:
                self._asked.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), min(*waits, 1.0))
                continue
            _, _, weight, done = self._waiting.pop(self._next(waits))
            if not done.cancelled():
                self.used += weight
                self._heavy += weight if weight >= HEAVY else 0
                self.asked += 1
                done.set_result(None)

    def _next(self, waits: list[float]) -> int:
        """The most urgent that need not wait; a minute begins with what is heavy, which might never find it empty."""
        heavy = [at for at, (_, _, weight, _) in enumerate(self._waiting) if weight >= HEAVY and not self.used]
        return heavy[0] if heavy else next(at for at, wait in enumerate(waits) if wait <= 0)

    def _wait_for(self, weight: int) -> float:
        now = self._now()
        self._turn_minute()
        if now < self._blocked_until:
            return self._blocked_until - now
        fits = self.used + weight <= self.limit
        if weight >= HEAVY and self._heavy:
            fits = fits and self._heavy + weight <= self.limit * (1 - LEFT)
        # A request heavier than the whole budget goes alone.
        if self.used and not fits:
            return (self._minute + 1) * MINUTE - now + 0.05
        return 0.0

    def _turn_minute(self) -> None:
        """With a new minute nothing is used."""
        if self.minute != self._minute:
            self._minute, self.used, self._heavy = self.minute, 0, 0

    @property
    def minute(self) -> int:
        """The number of this minute."""
        return int(self._now() // MINUTE)

    def counted(self, used: int, minute: int) -> None:
        """The venue says, to a request of that `minute`, how much of its weight is used, by whomever."""
        self._turn_minute()
        if minute == self._minute:
            self.used = max(self.used, used)

    def refuse(self, seconds: float) -> None:
        """The venue has had enough: nothing more for so long."""
        self.refused += 1
        self._blocked_until = max(self._blocked_until, self._now() + seconds)

    @property
    def blocked_s(self) -> float:
        """How long nothing may be asked."""
        return max(0.0, self._blocked_until - self._now())

    def seconds_for(self, weight: int) -> float:
        """About how long it takes until so much weight more can have been spent: the rest of this work."""
        self._turn_minute()
        free = max(0, self.limit - self.used)
        rest = max(0, weight - free)
        if not rest:
            return self.blocked_s
        to_next = (self._minute + 1) * MINUTE - self._now()
        return self.blocked_s + to_next + MINUTE * ((rest - 1) // max(1, self.limit))

    def close(self) -> None:
        """Nobody waits any more."""
        if self._turner is not None:
            self._turner.cancel()
        for *_, done in self._waiting:
            done.cancel()
        self._waiting.clear()
