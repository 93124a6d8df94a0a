"""What gateways ask of collectors: to follow a symbol, or no more, and what the venue lists.

Kafka is all that joins the two. A request goes to a topic with the name of the one collector that is to see to it, what
came of it comes back by another. Both are read from their end on: whoever waits asks again and again, for the collector
may not have listened yet; it knows a request by its id, and sees to it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import msgspec

from tapeflow.api import symbols
from tapeflow.api.problem import Problem, unknown
from tapeflow.app.published import OWNERS
from tapeflow.app.roster import PATIENCE_S
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import Follower, Record
from tapeflow.bus.owners import owners
from tapeflow.bus.sender import Sender
from tapeflow.bus.topics import TopicSpec
from tapeflow.domain.errors import BusError
from tapeflow.domain.time import SECOND
from tapeflow.feed.recorder import Say
from tapeflow.settings import BusSettings

REQUESTS, ANSWERS = "requests", "answers"
KEPT_MS = 3_600_000
#: A collector that told how it is so much earlier than another has ended, or hangs.
SILENT_S = 30.0
#: How long what a venue lists is good for a search.
LISTED_S = 60.0
#: A gateway waits a little longer than a collector does for its venue, whose word is the better one.
ANSWERED_S = PATIENCE_S + 5.0
#: What is not answered is asked again.
AGAIN_S = 3.0
#: Who asked does not wait any more.
ABANDONED_S = 2 * ANSWERED_S
#: How long is waited for the next message, and after a fault.
WAIT_S, RETRY_S = 0.5, 1.0
STOP_S = 2.0
_AGAIN = {"Retry-After": "10"}

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


What = Literal["follow", "unfollow", "listed"]


class Request(msgspec.Struct, frozen=True):
    """A message of the topic `requests`; its key is the collector that is asked."""

    id: str
    what: What
    symbol: str = ""
    #: When it was asked, microseconds.
    ts: int = 0


class Refused(msgspec.Struct, frozen=True):
    """A `Problem` on its way."""

    status: int
    kind: str
    detail: str
    nearest: list[str] = []


class Answer(msgspec.Struct, frozen=True):
    """A message of the topic `answers`: the symbol's row as `/v1/symbols` has it, or what is listed."""

    id: str
    row: dict[str, Any] | None = None
    listed: dict[str, str] = {}
    refused: Refused | None = None


def request_topics(settings: BusSettings) -> list[TopicSpec]:
    """The topics of requests and answers."""
    return [TopicSpec(settings.topic(name), 1, keep_ms=KEPT_MS) for name in (REQUESTS, ANSWERS)]


class Listener:
    """A thread that gives ``take`` what comes to a topic of one partition from now on, whatever happens to Kafka."""

    def __init__(self, bus: Bus, topic: str, take: Callable[[Record], None], say: Say) -> None:
        self._bus = bus
        self._topic = topic
        self._take = take
        self._say = say
        self._problem = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=topic, daemon=True)
        #: Set while all that comes is taken.
        self.is_ready = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it; where Kafka keeps it waiting it is left to end by itself."""
        self._stopping.set()
        self._thread.join(STOP_S)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except BusError as error:
                if str(error) != self._problem:  # told once, not at every try
                    self._say(f"symbols cannot be changed by gateways now: {error}")
                self._problem = str(error)
                self._stopping.wait(RETRY_S)
            finally:
                self.is_ready.clear()

    def _follow(self) -> None:
        """A follower that has failed may never read again: each begins anew, at the end."""
        follower = Follower(self._bus, {(self._topic, 0): -1})
        try:
            self.is_ready.set()
            while not self._stopping.is_set():
                for record in follower.read(1, WAIT_S):
                    self._taken(record)
                    self._problem = ""
        finally:
            follower.close()

    def _taken(self, record: Record) -> None:
        try:
            self._take(record)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            self._say(f"a message of {self._topic} cannot be read: {error}")


class Asker:
    """A `tapeflow.api.symbols.Roster` of a gateway: every change is asked of the collector that it concerns.

    ``statuses`` are what collectors told last, by their names; ``followed`` are the symbols of all of them;
    ``describe`` is given the row of a symbol that has changed. It answers between `start` and `stop`.
    """

    def __init__(
        self,
        bus: Bus,
        settings: BusSettings,
        venue: str,
        statuses: Mapping[str, Mapping[str, Any]],
        followed: Callable[[], list[str]],
        describe: Callable[[dict[str, Any]], None],
        say: Say,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._venue = venue
        self._statuses = statuses
        self._followed = followed
        self._describe = describe
        self._sender = Sender(bus)
        self._listener = Listener(bus, settings.topic(ANSWERS), self._answered, say)
        self._threads = ThreadPoolExecutor(2, "asker")  # Kafka may take long: nothing else waits for it
        self._waiting: dict[str, Future[Answer]] = {}
        self._listed: tuple[float, dict[str, str]] = (float("-inf"), {})
        self._listing: asyncio.Task[Answer] | None = None

    def start(self) -> None:
        self._listener.start()

    def stop(self) -> None:
        self._listener.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def follow(self, symbol: str) -> str:
        """Whoever has the symbol already is asked, else the collector with the fewest."""
        return await self._changed("follow", symbol)

    async def unfollow(self, symbol: str) -> str:
        known = {one.upper(): one for one in self._followed()}
        if symbol.upper() not in known:
            raise unknown(404, "symbol", symbol, known.values(), "; only what is followed can be removed")
        return await self._changed("unfollow", symbol)

    async def listed(self) -> dict[str, str]:
        """However many wait for it, a collector is asked once."""
        at, found = self._listed
        if time.monotonic() - at <= LISTED_S:
            return found
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(_patient(self._ask(self._idlest(), "listed")))
        found = (await asyncio.shield(self._listing)).listed
        self._listed = (time.monotonic(), found)
        return found

    async def _changed(self, what: What, symbol: str) -> str:
        async def work() -> Answer:
            return await self._ask(await self._owner(symbol) or self._idlest(), what, symbol)

        answer = await _patient(work())
        assert answer.row is not None
        return str(answer.row["symbol"])

    async def _owner(self, symbol: str) -> str | None:
        key = f"{self._venue}:{symbol}".upper()
        known = await self._in_thread(lambda: owners(self._bus, self._settings.topic(OWNERS)))
        return next((collector for name, collector in known.items() if name.upper() == key), None)

    def _idlest(self) -> str:
        """The collector with the fewest symbols, of those that have not fallen silent."""
        known = {name: one for name, one in list(self._statuses.items()) if one.get("venue") == self._venue}
        newest = max((one.get("ts", 0) for one in known.values()), default=0)
        live = [name for name, one in known.items() if one.get("ts", 0) >= newest - SILENT_S * SECOND]
        if not live:
            detail = f"no collector of {self._venue} has told that it runs: start one with --role collector"
            raise Problem(503, "no_collector", detail, headers=_AGAIN)
        return min(live, key=lambda name: (known[name].get("followed", 0), name))

    async def _ask(self, collector: str, what: What, symbol: str = "") -> Answer:
        if not self._listener.is_ready.is_set():
            raise _unreachable(BusError(f"Kafka at {self._bus.servers} does not answer"))
        request = Request(secrets.token_hex(8), what, symbol, time.time_ns() // 1000)
        waiting = self._waiting[request.id] = Future[Answer]()
        try:
            async with asyncio.timeout(ANSWERED_S):
                answer = await self._insist(collector, request, asyncio.wrap_future(waiting))
        except TimeoutError:
            detail = (
                f"collector {collector!r} has not answered in {ANSWERED_S:.0f} s: see whether it runs, or ask again"
            )
            raise Problem(503, "no_collector", detail, headers=_AGAIN) from None
        finally:
            self._waiting.pop(request.id, None)
        if answer.refused is not None:
            told = answer.refused
            headers = _AGAIN if told.status == 503 else None
            raise Problem(told.status, told.kind, told.detail, nearest=told.nearest, headers=headers)
        return answer

    async def _insist(self, collector: str, request: Request, answer: asyncio.Future[Answer]) -> Answer:
        """Ask until there is an answer; that it cannot be asked again does not matter."""
        topic, value = self._settings.topic(REQUESTS), _encode(request)

        async def send() -> None:
            await self._in_thread(lambda: self._sender.send(topic, collector.encode(), value))

        await send()
        while not (await asyncio.wait([answer], timeout=AGAIN_S))[0]:
            with contextlib.suppress(Problem):
                await send()
        return answer.result()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BusError as error:
            raise _unreachable(error) from error

    def _answered(self, record: Record) -> None:
        """An answer has come, to this gateway or another. The row is known before whoever waits is told."""
        answer = msgspec.json.decode(record.value or b"", type=Answer)
        if answer.row is not None:
            self._describe(answer.row)
        waiting = self._waiting.pop(answer.id, None)
        if waiting is not None and waiting.set_running_or_notify_cancel():
            waiting.set_result(answer)


class Clerk:
    """Sees to the requests to one collector between `start` and `stop`: changes one after the other, searches beside.

    ``roster`` is asked in the loop ``loop``; ``row`` tells of a symbol as `/v1/symbols` has it.
    """

    def __init__(
        self,
        bus: Bus,
        settings: BusSettings,
        roster: symbols.Roster,
        loop: asyncio.AbstractEventLoop,
        row: Callable[[str], dict[str, Any]],
        say: Say,
    ) -> None:
        self._settings = settings
        self._roster = roster
        self._loop = loop
        self._row = row
        self._say = say
        self._sender = Sender(bus)
        self._listener = Listener(bus, settings.topic(REQUESTS), self._asked, say)
        self._changes, self._searches = ThreadPoolExecutor(1, "changes"), ThreadPoolExecutor(1, "searches")
        self._under_way: set[str] = set()
        #: What came of the requests that somebody may still wait for.
        self._answers: dict[str, tuple[Request, Answer]] = {}
        self._lock = threading.Lock()
        self._is_over = False

    def start(self) -> None:
        self._listener.start()

    def stop(self) -> None:
        """Take no more requests; what is being done is not waited for."""
        self._is_over = True
        self._listener.stop()
        for threads in (self._changes, self._searches):
            threads.shutdown(wait=False, cancel_futures=True)

    def _asked(self, record: Record) -> None:
        if record.key != self._settings.name.encode() or record.value is None or self._is_over:
            return
        request = msgspec.json.decode(record.value, type=Request)
        if request.id not in self._under_way:
            self._under_way.add(request.id)
            (self._searches if request.what == "listed" else self._changes).submit(self._see_to, request)

    def _see_to(self, request: Request) -> None:
        """All that can go wrong is told: the next request counts."""
        try:
            if not _is_abandoned(request):
                self._sender.send(self._settings.topic(ANSWERS), request.id.encode(), _encode(self._answer(request)))
        except Exception as error:  # noqa: BLE001 - see above
            self._say(f"a request of a gateway, {request.what} {request.symbol[:40]!r}, was not answered: {error!r}")
        finally:
            self._under_way.discard(request.id)

    def _answer(self, request: Request) -> Answer:
        """What was answered already may have come to nobody: the same is said again, of a symbol as it is now."""
        with self._lock:
            self._answers = {name: kept for name, kept in self._answers.items() if not _is_abandoned(kept[0])}
            _, known = self._answers.get(request.id, (request, None))
        if known is not None:
            return known if known.row is None else msgspec.structs.replace(known, row=self._row(known.row["symbol"]))
        answer = asyncio.run_coroutine_threadsafe(self._done(request), self._loop).result()
        with self._lock:
            self._answers[request.id] = request, answer
        return answer

    async def _done(self, request: Request) -> Answer:
        try:
            match request.what:
                case "follow":
                    return Answer(request.id, row=self._row(await self._roster.follow(request.symbol)))
                case "unfollow":
                    return Answer(request.id, row=self._row(await self._roster.unfollow(request.symbol)))
                case "listed":
                    return Answer(request.id, listed=await self._roster.listed())
        except Problem as problem:
            refused = Refused(problem.status, problem.kind, problem.detail, problem.nearest)
        except Exception as error:  # noqa: BLE001 - whoever asked is told that there is no answer
            self._say(f"a request of a gateway, {request.what} {request.symbol[:40]!r}, has failed: {error!r}")
            refused = Refused(500, "internal_error", "the collector has failed at it; see its log")
        return Answer(request.id, refused=refused)


def _is_abandoned(request: Request) -> bool:
    return time.time_ns() // 1000 - request.ts > ABANDONED_S * SECOND


async def _patient(work: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer, unless brokers take too long before anybody is asked."""
    try:
        return await asyncio.wait_for(work, 2 * ANSWERED_S)
    except TimeoutError:
        raise _unreachable(BusError("Kafka takes too long")) from None


def _unreachable(error: BusError) -> Problem:
    return Problem(503, "bus_unreachable", f"{error}; look at /v1/symbols, and ask again in a while", headers=_AGAIN)
