"""Dead letters: what could not be used, with its reason and its origin, until it is put back or dropped."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tapeflow.bus.client import LARGEST, Bus, module
from tapeflow.bus.follower import Record, read_all
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
        self._failures: list[str] = []
        self._producer: Any = module().Producer(
            bus.properties(acks="all", enable_idempotence=True, message_max_bytes=LARGEST_LETTER, linger_ms=1)
        )
        #: Written since the start.
        self.count = 0

    def add(self, record: Record, reason: str) -> None:
        """Keep a record that cannot be used."""
        letter = Letter(
            record.topic, record.partition, record.offset, reason[:1000], time.time_ns() // 1000,
            _base64(record.key), _base64(record.value),
        )  # fmt: skip
        self._producer.produce(
            self._topic, key=letter.name.encode(), value=msgspec.json.encode(letter), on_delivery=self._told
        )
        self.count += 1

    def _told(self, error: Any, _: Any) -> None:
        if error is not None:
            self._failures.append(error.str())

    def flush(self) -> None:
        """Return when all are kept; raises `BusError`."""
        left = self._producer.flush(_FLUSH_S)
        failures, self._failures = self._failures, []
        if left or failures:
            raise BusError(f"dead letters cannot be kept: {failures[0] if failures else 'Kafka does not answer'}")


def letters(bus: Bus, topic: str) -> Iterator[Letter]:
    """Those that wait, oldest first; raises `BusError`."""
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
