"""Events of the streams somebody listens to, made once for all connections and sent at their time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from tapeflow.domain.time import MILLISECOND
from tapeflow.exchange.connection import Connection
from tapeflow.exchange.frames import combined, frame
from tapeflow.sim.edition import Edition
from tapeflow.sim.streams import Stream, read_stream, sent
from tapeflow.sim.wire import MICRO, MILLI

#: So much is made at a time. The market is a function of time, so what will happen is known.
AHEAD = 250 * MILLISECOND
#: The stretch after it is made meanwhile, so long at a time that nothing is sent late for it.
SLICE_S = 0.002

#: Time, number of making, topic, payload.
_Event = tuple[int, int, "Topic", str]


class Source(Protocol):
    """Where the events come from."""

    def get(self, symbol: str) -> Edition | None: ...
    def chosen(self, symbol: str | None) -> list[Edition]: ...


class Topic:
    """A stream in a unit of time, and who listens to it."""

    __slots__ = ("is_ready", "listeners", "stream", "unit")

    def __init__(self, stream: Stream, unit: int) -> None:
        self.stream = stream
        self.unit = unit
        self.listeners: dict[Connection, None] = {}
        self.is_ready = True


class Broadcast:
    """`advance` puts all events until now on the connections; each event is made and encoded once."""

    def __init__(self, source: Source, now: int) -> None:
        self.topics: dict[tuple[str, int], Topic] = {}
        #: Decides what becomes of a frame instead of `Connection.put`, while there are faults.
        self.twist: Callable[[Connection, str, bytes], None] | None = None
        #: Called with a topic whose past must be computed before it can begin.
        self.warm: Callable[[Topic], None] = _at_once
        #: Events come by `tell` instead of from the market.
        self.is_told = False
        self._source = source
        self._made = now
        self._at = now
        self._number = 0
        self._events: deque[_Event] = deque()
        #: What of the stretch after `_made` is made, and the topics that are not.
        self._next: list[_Event] = []
        self._todo: deque[Topic] = deque()

    def listen(self, client: Connection, name: str) -> None:
        """The client gets the stream's events from now on; a stream that the venue does not have sends nothing."""
        stream = Stream(name, "", "recorded") if self.is_told else read_stream(name)
        if stream is None:
            return
        topic = self.topics.get((name, client.unit))
        if topic is None:
            topic = self.topics[name, client.unit] = Topic(stream, client.unit)
            if stream.reach_us:
                topic.is_ready = False
                self.warm(topic)
            else:
                self._join(topic)
        topic.listeners[client] = None

    def leave(self, client: Connection, name: str) -> None:
        """The client gets no more of the stream."""
        topic = self.topics.get((name, client.unit))
        if topic is not None:
            topic.listeners.pop(client, None)
            if not topic.listeners:
                del self.topics[name, client.unit]

    def begin(self, topic: Topic) -> None:
        """The topic's past is at hand: it may send."""
        if not topic.is_ready:
            topic.is_ready = True
            self._join(topic)

    def tell(self, name: str, payload: Callable[[int], bytes]) -> None:
        """Send one event to those who listen to the stream, in their unit of time."""
        for unit in (MILLI, MICRO):
            topic = self.topics.get((name, unit))
            if topic is not None:
                self._send(topic, payload(unit).decode())

    def remake(self) -> None:
        """What lies ahead is made anew, because the market was changed."""
        self._events.clear()
        self._take(self._topics_made(self.topics.values(), self._at, self._made))
        self._begin_next()

    def advance(self, now: int) -> None:
        """Send everything before ``now``."""
        while self._made < now:
            self.prepare(math.inf)
            self._take(self._next)
            self._made += AHEAD
            self._begin_next()
        self._at = now
        events = self._events
        while events and events[0][0] < now:
            _, _, topic, payload = events.popleft()
            self._send(topic, payload)

    def prepare(self, seconds: float = SLICE_S) -> None:
        """Make some of what comes after, for so long; at least a topic, if one is left."""
        end = time.monotonic() + seconds
        while self._todo:
            topic = self._todo.popleft()
            self._next += self._topics_made([topic], self._made, self._made + AHEAD)
            if time.monotonic() >= end:
                return

    def _begin_next(self) -> None:
        self._next = []
        self._todo = deque(self.topics.values())

    def _join(self, topic: Topic) -> None:
        self._take(self._topics_made([topic], self._at, self._made))
        if topic not in self._todo:
            self._todo.append(topic)

    def _topics_made(self, topics: Iterable[Topic], start: int, end: int) -> list[_Event]:
        made: list[_Event] = []
        for topic in topics:
            if topic.is_ready and start < end:
                for ts, payload in self._sent(topic, start, end):
                    self._number += 1
                    made.append((ts, self._number, topic, payload))
        return made

    def _take(self, made: list[_Event]) -> None:
        if made:
            self._events = deque(sorted([*self._events, *made], key=_order))

    def _sent(self, topic: Topic, start: int, end: int) -> list[tuple[int, str]]:
        stream = topic.stream
        if stream.symbol:
            edition = self._source.get(stream.symbol)
            return [] if edition is None else list(sent(stream, edition, start, end, topic.unit))
        together: dict[int, list[str]] = {}
        for edition in self._source.chosen(None):
            for ts, payload in sent(stream, edition, start, end, topic.unit):
                together.setdefault(ts, []).append(payload)
        return [(ts, f"[{','.join(payloads)}]") for ts, payloads in together.items()]

    def _send(self, topic: Topic, payload: str) -> None:
        name, raw, wrapped = topic.stream.name, b"", b""
        for client in topic.listeners:
            if client.combined:
                wrapped = wrapped or frame(combined(name, payload))
                data = wrapped
            else:
                raw = raw or frame(payload.encode())
                data = raw
            if self.twist is None:
                client.put(data)
            else:
                self.twist(client, name, data)


def _order(event: _Event) -> tuple[int, int]:
    return event[0], event[1]


def _at_once(topic: Topic) -> None:
    topic.is_ready = True
