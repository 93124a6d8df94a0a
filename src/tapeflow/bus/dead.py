"""Dead letters: what could not be used, with its reason and its origin, until it is put back or dropped."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tapeflow.bus.client import LARGEST, Bus, made, module
from tapeflow.bus.follower import Record, is_there, read_all
from tapeflow.bus.publisher import Publisher, message
from tapeflow.domain.errors import BusError

_FLUSH_S = 10.0
#: A letter holds the largest message in base64, with its reason and origin.
LARGEST_LETTER = 2 * LARGEST


class Letter(msgspec.Struct, frozen=True):
    """A message that could not be used; ``key`` and ``value`` are base64 of its bytes."""

    topic: str
    partition: int
    offset: int
    reason: str
    ts: int
    key: str | None
    value: str | None

    @property
    def name(self) -> str:
        """Its origin as one word, the key of its row."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def begins(self) -> str:
        """How it begins, in one line."""
        return in_a_line((_bytes(self.value) or b"")[:80].decode("utf-8", "replace"))


def in_a_line(text: str) -> str:
    """A text from anywhere as a terminal may have it: what is not printable is written as its escape."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


class DeadLetters:
    """Writes them; the same one again replaces itself."""

    def __init__(self, bus: Bus, topic: str) -> None:
        self._topic = topic
        self._waiting: dict[bytes, bytes] = {}
        self._sent: set[bytes] = set()  # of those that wait, what the client has and tries by itself
        self._problem = ""
        # The order is of no matter, nor is one that comes twice: so it need not be a producer that can end for good.
        properties = bus.properties(acks="all", message_max_bytes=LARGEST_LETTER, linger_ms=1)
        self._producer: Any = made(module().Producer, properties)
        #: Kept since the start.
        self.count = 0

    def add(self, record: Record, reason: str) -> None:
        """Have a record that cannot be used kept by the next `flush`."""
        letter = Letter(
            record.topic, record.partition, record.offset, reason[:1000], time.time_ns() // 1000,
            _base64(record.key), _base64(record.value),
        )  # fmt: skip
        self._waiting[letter.name.encode()] = msgspec.json.encode(letter)

    def _told(self, error: Any, given: Any) -> None:
        self._sent.discard(given.key())
        if error is not None:
            self._problem = error.str()
        elif self._waiting.pop(given.key(), None) is not None:
            self.count += 1

    def flush(self) -> None:
        """Return when all are kept; raises `BusError`, after which the rest is tried by the next one."""
        self._problem = "Kafka does not answer"
        for key in self._waiting.keys() - self._sent:
            self._send(key)
        self._producer.flush(_FLUSH_S)
        if self._waiting:
            raise BusError(f"dead letters cannot be kept: {self._problem}")

    def _send(self, key: bytes) -> None:
        for last in (False, True):
            try:
                self._producer.produce(self._topic, key=key, value=self._waiting[key], on_delivery=self._told)
            except BufferError as error:
                if last:
                    raise BusError(f"dead letters cannot be kept: {self._problem}") from error
                self._producer.flush(_FLUSH_S)
            else:
                self._sent.add(key)
                return


def letters(bus: Bus, topic: str) -> Iterator[Letter]:
    """Those that wait, oldest first; raises `BusError`. None where no sink has made the topic yet."""
    if not is_there(bus, topic):
        return
    found: dict[bytes, Letter] = {}
    for record in read_all(bus, topic):
        key = record.key or b""
        found.pop(key, None)
        if record.value is not None:
            found[key] = msgspec.json.decode(record.value, type=Letter)
    yield from found.values()


def put_back(bus: Bus, topic: str, wanted: Callable[[Letter], bool], *, drop: bool = False) -> int:
    """Send letters to the end of the topics that they came from, or ``drop`` them; how many. Raises `BusError`."""
    chosen = [letter for letter in letters(bus, topic) if wanted(letter)]
    if not chosen:
        return 0
    publisher = Publisher(bus, f"{topic}.put-back")
    publisher.open()
    gone = [message(letter.name.encode(), None) for letter in chosen]
    back = [] if drop else [(one.topic, [message(_bytes(one.key) or b"", _bytes(one.value))]) for one in chosen]
    publisher.commit([*back, (topic, gone)])
    return len(chosen)


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
