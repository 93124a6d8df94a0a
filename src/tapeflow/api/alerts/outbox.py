"""Events on their way: each target has a lane of its own, in order; what is not taken is tried again, for a day."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from tapeflow.api.alerts.journal import Delivery, Event
from tapeflow.api.alerts.rules import Target
from tapeflow.api.alerts.targets import Undelivered

#: The first wait after a failure, doubled each time up to the longest; jitter takes up to half of it.
FIRST_S = 1.0
LONGEST_S = 300.0
#: A target that says when to come again (`Retry-After`) is left alone for so long at most.
ASKED_S = 3600.0
#: After so long an event is given up.
GIVE_UP_S = 86_400.0
#: Events that wait in a lane.
LONGEST = 10_000

_LOG = logging.getLogger("tapeflow.api.alerts")

#: (rule, name of the target)
Lane = tuple[str, str]


class Outbox:
    """``tell`` one target of an event, ``mark`` what became of it; ``find`` a target as the rule has it now."""

    def __init__(
        self,
        find: Callable[[str, str], Target | None],
        tell: Callable[[Target, Event], Awaitable[None]],
        mark: Callable[[Event, str, Delivery], Awaitable[None]],
    ) -> None:
        self._find = find
        self._tell = tell
        self._mark = mark
        self._lanes: dict[Lane, deque[tuple[Event, Delivery]]] = {}
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._woken: dict[Lane, asyncio.Event] = {}

    def put(self, event: Event, target: str, delivery: Delivery) -> None:
        """Have a target told, after what it has to be told before."""
        lane = (event.rule, target)
        if lane not in self._lanes:
            self._lanes[lane] = deque()
            self._woken[lane] = asyncio.Event()
            self._tasks[lane] = asyncio.create_task(self._serve(lane))
        elif len(self._lanes[lane]) >= LONGEST:
            del self._lanes[lane][1]  # the journal does not have it any more either
        self._lanes[lane].append((event, msgspec.structs.replace(delivery)))

    def wake(self, rule: str) -> None:
        """The rule has changed: try its targets at once."""
        for lane, woken in self._woken.items():
            if lane[0] == rule:
                woken.set()

    async def close(self) -> None:
        """Stop; what waits is in the journal."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, lane: Lane) -> None:
        waiting = self._lanes[lane]
        while waiting:
            event, delivery = waiting[0]
            after_s = await self._attempt(lane, event, delivery)
            if delivery.state == "waiting":
                await self._rest(lane, delivery.attempts, after_s)
            else:
                waiting.popleft()
        del self._lanes[lane], self._woken[lane], self._tasks[lane]

    async def _attempt(self, lane: Lane, event: Event, delivery: Delivery) -> float:
        """Tell a target; the seconds it wants to be left alone for if it did not take it."""
        target, after_s = self._find(*lane), 0.0
        if target is None:
            delivery.state, delivery.last_error = "failed", "the rule, or its target, was removed"
        else:
            delivery.attempts += 1
            try:
                await self._tell(target, event)
                delivery.state, delivery.last_error = "delivered", ""
            except Undelivered as error:
                delivery.last_error, after_s = str(error), error.after_s
            except Exception as error:  # noqa: BLE001 - a lane that ends here would never tell anything again
                _LOG.error("%s could not be told", lane[1], exc_info=error)
                delivery.last_error = f"it failed here ({type(error).__name__}); the server's log says why"
            if delivery.state == "waiting" and time.time() - event.ts_fired / 1e6 > GIVE_UP_S:
                delivery.state = "failed"
        delivery.ts = time.time_ns() // 1000
        await self._mark(event, lane[1], msgspec.structs.replace(delivery))
        return after_s

    async def _rest(self, lane: Lane, attempts: int, after_s: float) -> None:
        wait = min(LONGEST_S, FIRST_S * 2 ** min(attempts - 1, 20)) * random.uniform(0.5, 1)
        wait = max(wait, min(after_s, ASKED_S))
        woken = self._woken[lane]
        woken.clear()
        try:
            async with asyncio.timeout(wait):
                await woken.wait()
        except TimeoutError:
            pass
