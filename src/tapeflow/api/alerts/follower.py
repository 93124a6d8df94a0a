"""A member of the hub that keeps what it is given for the desk, to be judged in its order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from tapeflow.api.alerts.rules import Coverage, Indicator, Price, When
from tapeflow.api.alerts.watch import Span, Trade, Value
from tapeflow.api.topics import Topic

#: Messages that wait; beyond it the follower comes again, with the cursor of what was judged.
WAITING = 5000
#: It takes more while no more than so many wait.
FEW = 100


class _Trades(msgspec.Struct):
    data: list[Trade]


class _Values(msgspec.Struct):
    data: list[Value]


class _Spans(msgspec.Struct):
    data: list[Span]


_READ: dict[str, msgspec.json.Decoder[Any]] = {
    "trades": msgspec.json.Decoder(_Trades),
    "indicators": msgspec.json.Decoder(_Values),
    "coverage": msgspec.json.Decoder(_Spans),
}


def topic_of(when: When) -> dict[str, Any] | None:
    """The topic that a rule is judged by, as a subscription asks for it; None for one judged by the clock."""
    match when:
        case Price():
            return {"channel": "trades", "symbol": when.symbol}
        case Indicator():
            names = {"interval": when.interval, "name": when.name}
            return {"channel": "indicators", "symbol": when.symbol, **names}
        case Coverage():
            return {"channel": "coverage", "symbol": when.symbol}
    return None


def name_of(topic: Topic) -> str:
    """A topic in one word, the same in every run: ``indicators.BTCUSDT.1s.rsi_14``."""
    return ".".join((topic.channel, topic.symbol, *(str(value) for _, value in topic.params)))


class Follower:
    """One topic's rows, waiting."""

    def __init__(self, topic: Topic, told: Callable[[], None]) -> None:
        self.topic = topic
        self.name = name_of(topic)
        self.waiting: deque[tuple[bytes, str]] = deque()
        #: The newest row that was judged, or for coverage all: where a new rule begins.
        self.last: list[Any] = []
        self.is_over = False
        self.lost = asyncio.Event()
        self._has_room = asyncio.Event()
        self._told = told

    def read(self, message: bytes) -> list[Any]:
        """The rows of a message."""
        rows: list[Any] = _READ[self.topic.channel].decode(message).data
        return rows

    def take(self) -> tuple[bytes, str]:
        """The oldest message, and its cursor."""
        found = self.waiting.popleft()
        if len(self.waiting) <= FEW:
            self._has_room.set()
        return found

    # -- of the hub ------------------------------------------------------------------------------------------

    def push(self, topic: Topic, message: bytes, cursor: str) -> None:
        if self.lost.is_set():
            return
        self.waiting.append((message, cursor))
        if len(self.waiting) > WAITING:
            self.dismiss("too slow")
        self._told()

    def show(self, topic: Topic, message: bytes) -> None:
        """Nothing: topics of newest values are not followed."""

    async def ready(self) -> None:
        if self.lost.is_set():
            raise ConnectionError("the follower comes again")
        if len(self.waiting) > FEW:
            self._has_room.clear()
            await self._has_room.wait()

    def dismiss(self, reason: str) -> None:
        self.is_over = self.is_over or reason == "shutdown"
        self.lost.set()
        self._has_room.set()

    def begin(self) -> None:
        """Come again, with nothing waiting."""
        self.waiting.clear()
        self.lost.clear()
