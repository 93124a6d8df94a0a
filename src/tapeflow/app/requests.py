"""What gateways ask of collectors: to follow a symbol, or no more, and what the venue lists.

Kafka is all that joins the two. A request goes to a topic with the name of the one collector that is to see to it, what
came of it comes back by another. Both are read from their end on: who was away, or is too slow, is asked again by
whoever still wants it, and to do it twice does no harm.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Literal

import msgspec

from tapeflow.api import symbols
from tapeflow.api.problem import Problem, unknown
from tapeflow.app.published import OWNERS
from tapeflow.app.roster import PATIENCE_S
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import Follower
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
#: How long a collector waits for the next request, and after a fault.
WAIT_S, RETRY_S = 0.5, 1.0
_AGAIN = {"Retry-After": "10"}

_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True):
    """A message of the topic `requests`; its key is the collector that is asked."""

    id: str
    what: Literal["follow", "unfollow", "listed"]
    symbol: str = ""


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


class Asker:
    """A `tapeflow.api.symbols.Roster` of a gateway: every change is asked of the collector that it concerns.

    ``statuses`` are what collectors told last, by their names; ``followed`` are the symbols of all of them.
    """

    def __init__(
        self,
        bus: Bus,
        settings: BusSettings,
        venue: str,
        statuses: Mapping[str, Mapping[str, Any]],
        followed: Callable[[], list[str]],
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._venue = venue
        self._statuses = statuses
        self._followed = followed
        self._sender = Sender(bus)
        self._waiting: dict[str, Future[Answer]] = {}
        self._listed: tuple[float, dict[str, str]] = (float("-inf"), {})

    async def follow(self, symbol: str) -> str:
        """Whoever has the symbol already is asked, else the collector with the fewest."""
        collector = await self._owner(symbol) or self._idlest()
        return _name(await self._ask(collector, "follow", symbol))

    async def unfollow(self, symbol: str) -> str:
        known = {one.upper(): one for one in self._followed()}
        if symbol.upper() not in known:
            raise unknown(404, "symbol", symbol, known.values(), "; only what is followed can be removed")
        collector = await self._owner(symbol) or self._idlest()
        return _name(await self._ask(collector, "unfollow", symbol))

    async def listed(self) -> dict[str, str]:
        at, found = self._listed
        if time.monotonic() - at > LISTED_S:
            found = (await self._ask(self._idlest(), "listed")).listed
            self._listed = (time.monotonic(), found)
        return found

    def answered(self, value: bytes) -> dict[str, Any] | None:
        """A message of the topic `answers` has come; the row that it tells of, whoever had asked. Any thread."""
        answer = msgspec.json.decode(value, type=Answer)
        waiting = self._waiting.pop(answer.id, None)
        if waiting is not None and waiting.set_running_or_notify_cancel():
            waiting.set_result(answer)
        return answer.row

    async def _owner(self, symbol: str) -> str | None:
        key = f"{self._venue}:{symbol}".upper()
        try:
            known = await asyncio.to_thread(owners, self._bus, self._settings.topic(OWNERS))
        except BusError as error:
            raise _unreachable(error) from error
        return next((collector for name, collector in known.items() if name.upper() == key), None)

    def _idlest(self) -> str:
        """The collector with the fewest symbols, of those that have not fallen silent."""
        known = {name: one for name, one in self._statuses.items() if one.get("venue") == self._venue}
        newest = max((one.get("ts", 0) for one in known.values()), default=0)
        live = [name for name, one in known.items() if one.get("ts", 0) >= newest - SILENT_S * SECOND]
        if not live:
            detail = f"no collector of {self._venue} has told that it runs: start one with --role collector"
            raise Problem(503, "no_collector", detail, headers=_AGAIN)
        return min(live, key=lambda name: (known[name].get("followed", 0), name))

    async def _ask(self, collector: str, what: Literal["follow", "unfollow", "listed"], symbol: str = "") -> Answer:
        request = Request(secrets.token_hex(8), what, symbol)
        waiting = self._waiting[request.id] = Future[Answer]()
        topic = self._settings.topic(REQUESTS)
        try:
            await asyncio.to_thread(self._sender.send, topic, collector.encode(), _encode(request))
            answer = await asyncio.wait_for(asyncio.wrap_future(waiting), PATIENCE_S)
        except TimeoutError:
            detail = (
                f"collector {collector!r} has not answered in {PATIENCE_S:.0f} s: see whether it runs, or ask again"
            )
            raise Problem(503, "no_collector", detail, headers=_AGAIN) from None
        except BusError as error:
            raise _unreachable(error) from error
        finally:
            self._waiting.pop(request.id, None)
        if answer.refused is not None:
            told = answer.refused
            headers = _AGAIN if told.status == 503 else None
            raise Problem(told.status, told.kind, told.detail, nearest=told.nearest, headers=headers)
        return answer


class Clerk:
    """Sees to the requests to one collector, one after the other, in a thread between `start` and `stop`.

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
        self._bus = bus
        self._settings = settings
        self._roster = roster
        self._loop = loop
        self._row = row
        self._say = say
        self._sender = Sender(bus)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="requests", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when nothing is asked of the roster any more."""
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        problem = ""
        place = (self._settings.topic(REQUESTS), 0)
        follower: Follower | None = None
        while not self._stopping.is_set():
            try:
                follower = follower or Follower(self._bus, {place: -1})
                for record in follower.read(1, WAIT_S):
                    if record.key == self._settings.name.encode() and record.value is not None:
                        self._see_to(record.value)
                problem = ""
            except BusError as error:
                if str(error) != problem:  # told once, not at every try
                    self._say(f"gateways cannot ask for symbols now: {error}")
                problem = str(error)
                self._stopping.wait(RETRY_S)
        if follower is not None:
            follower.close()

    def _see_to(self, value: bytes) -> None:
        try:
            request = msgspec.json.decode(value, type=Request)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._say(f"a request of a gateway cannot be read: {error}")
            return
        done = asyncio.run_coroutine_threadsafe(self._done(request), self._loop)
        while not self._stopping.is_set():
            try:
                answer = done.result(WAIT_S)
            except TimeoutError:
                continue
            self._sender.send(self._settings.topic(ANSWERS), request.id.encode(), _encode(answer))
            return

    async def _done(self, request: Request) -> Answer:
        try:
            match request.what:
                case "follow":
                    name = await self._roster.follow(request.symbol)
                case "unfollow":
                    name = await self._roster.unfollow(request.symbol)
                case "listed":
                    return Answer(request.id, listed=await self._roster.listed())
        except Problem as problem:
            refused = Refused(problem.status, problem.kind, problem.detail, problem.nearest)
            return Answer(request.id, refused=refused)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next request counts
            self._say(f"a request of a gateway, {request.what} {request.symbol[:40]!r}, has failed: {error!r}")
            return Answer(
                request.id, refused=Refused(500, "internal_error", "the collector has failed at it; see its log")
            )
        return Answer(request.id, row=self._row(name))


def _name(answer: Answer) -> str:
    assert answer.row is not None
    return str(answer.row["symbol"])


def _unreachable(error: BusError) -> Problem:
    return Problem(503, "bus_unreachable", f"{error}; nothing was changed, ask again in a while", headers=_AGAIN)
