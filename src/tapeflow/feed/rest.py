"""Questions to a venue's REST API: within the budget, tried again where that can help, on the tape with answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp
import msgspec

from tapeflow.domain.events import Fetch
from tapeflow.feed.backoff import Backoff
from tapeflow.feed.budget import Budget
from tapeflow.feed.recorder import Recorder, Say
from tapeflow.feed.refused import explain
from tapeflow.venues.wire import Wire

#: No answer is longer; a venue's longest, exchangeInfo of all symbols, has some 15 MB.
ANSWER_LIMIT = 64 << 20
TIMEOUT_S = 15.0
#: Attempts at a question that fails in a way that may pass.
ATTEMPTS = 6
#: Requests under way at once, by urgency: slow answers to what can wait must not hold up a hole.
AT_ONCE = (4, 2, 4, 2)

#: No ban is longer: what asks for more is no number of seconds.
LONGEST_BAN_S = 3 * 86_400.0

_MAY_PASS = frozenset({403, 408, 425, 429, 418, 500, 502, 503, 504})


class Answer(msgspec.Struct, frozen=True):
    """The last word on a question: status (0: none came), body, why it failed, and where on the tape it stands."""

    status: int
    body: bytes
    position: int
    problem: str = ""

    @property
    def is_good(self) -> bool:
        return self.status == 200

    @property
    def may_pass(self) -> bool:
        """True if the same question may be answered at another time."""
        return not self.status or self.status in _MAY_PASS


class Offset(NamedTuple):
    """Bounds of the seconds that our clock is ahead of another."""

    low: float
    high: float

    @property
    def least(self) -> float:
        """What it is off for certain."""
        return self.low if self.low > 0 else min(self.high, 0.0)


class Rest:
    """A client of one host. Every request and answer is recorded before anybody sees it."""

    def __init__(self, address: str, wire: Wire, budget: Budget, recorder: Recorder, say: Say) -> None:
        self._address = address.rstrip("/")
        self._wire = wire
        self.budget = budget
        self._recorder = recorder
        self._say = say
        self._session: aiohttp.ClientSession | None = None
        self._ahead: Offset | None = None
        self._room = [asyncio.Semaphore(number) for number in AT_ONCE]
        self._unsent: Counter[str] = Counter()

    async def ask(self, fetch: Fetch, urgency: int, attempts: int = ATTEMPTS) -> Answer:
        """The answer to a question; a failure is an answer too, after all attempts."""
        request = fetch.request
        backoff = Backoff(0.3, 10.0)
        answer = Answer(0, b"", self._recorder.position, "not asked")
        pause = 0.0
        for left in range(attempts - 1, -1, -1):
            async with AsyncExitStack() as turn:
                with self._counted(request):
                    await asyncio.sleep(pause)
                    await turn.enter_async_context(self._room[urgency])
                    await self.budget.take(fetch.weight, urgency)
                answer = await self._once(request)
            if not left or not answer.may_pass:
                break
            pause = max(backoff.next_s(), min(self.budget.blocked_s, 1.0))
        return answer

    @contextmanager
    def _counted(self, request: str) -> Iterator[None]:
        """While it waits for its turn, the first or the next one."""
        self._unsent[request] += 1
        try:
            yield
        finally:
            self._unsent[request] -= 1
            if not self._unsent[request]:
                del self._unsent[request]

    def is_unsent(self, fetch: Fetch) -> bool:
        """True while this very question still waits for its turn."""
        return self._unsent[fetch.request] > 0

    async def _once(self, request: str) -> Answer:
        self._recorder.requested(request)
        asked, minute = time.time(), self.budget.minute
        try:
            async with self._opened().get(self._address + request, headers=self._wire.headers) as response:
                self._compare_clocks(response, asked)
                body = await response.content.read(ANSWER_LIMIT)
                while not response.content.at_eof() and len(body) < ANSWER_LIMIT:
                    body += await response.content.read(ANSWER_LIMIT - len(body))
                self._obey(response, minute)
                if not response.content.at_eof() and len(body) >= ANSWER_LIMIT:
                    raise aiohttp.ClientPayloadError(f"an answer of more than {ANSWER_LIMIT} bytes")
                problem = "" if response.status == 200 else self._problem(response.status, body)
                position = self._recorder.answered(response.status, request, body)
                return Answer(response.status, body, position, problem)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            position = self._recorder.answered(0, request, problem.encode())
            return Answer(0, b"", position, f"{self._address}: {problem}")

    def _obey(self, response: aiohttp.ClientResponse, minute: int) -> None:
        used = response.headers.get(self._wire.limits.used_weight_header, "")
        if used.isdecimal():
            self.budget.counted(int(used[:9]), minute)
        if response.status in (429, 418):
            wait = response.headers.get("Retry-After", "")
            seconds = min(float(wait), LONGEST_BAN_S) if wait.isdecimal() else 30.0
            self.budget.refuse(seconds)
            self._say(f"{self._address} answers {response.status}: nothing is asked for {seconds:.0f} s")

    def _compare_clocks(self, response: aiohttp.ClientResponse, asked: float) -> None:
        """The head of an answer has the server's time in whole seconds: between asking and now it was that second."""
        try:
            theirs = parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (KeyError, ValueError):
            return
        self._ahead = Offset(asked - theirs - 1.0, time.time() - theirs)

    @property
    def clock_offset_s(self) -> float | None:
        """Our clock less the server's: at least so much; 0.0 while the last answer fits, None before one."""
        return None if self._ahead is None else self._ahead.least

    def _problem(self, status: int, body: bytes) -> str:
        text = body[:200].decode("utf-8", "replace")
        explanation = explain(status, self._wire)
        if explanation:
            return f"{self._address} {explanation}"
        return f"{self._address} answers {status}: {text}"

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, skip_auto_headers=("User-Agent",))
        return self._session

    async def close(self) -> None:
        self.budget.close()
        if self._session is not None:
            await self._session.close()
