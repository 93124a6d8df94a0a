"""Rows from Kafka: only those that are committed, in the order of their partitions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from tapeflow.bus.client import ANSWER_S, LARGEST, Bus, made, module, raised
from tapeflow.domain.errors import BusError, TapeflowError

Partition = tuple[str, int]

_Kind = TypeVar("_Kind")

#: A transaction whose producer was killed ends by itself before.
PATIENCE_S = 60.0


class Record(NamedTuple):
    """A message and its place."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def consumer(bus: Bus, group: str, **more: Any) -> Any:
    """A consumer that commits nothing by itself: positions are kept with what was made of the rows."""
    return made(
        module().Consumer,
        bus.properties(
            group_id=group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="error",
            enable_partition_eof=True,
            fetch_message_max_bytes=LARGEST,
            fetch_wait_max_ms=20,
            session_timeout_ms=10_000,
            topic_metadata_refresh_interval_ms=5_000,
            **more,
        ),
    )


def partitions(bus: Bus, topics: Sequence[str]) -> dict[str, int]:
    """How many partitions each topic has; raises `BusError` for one that is missing.

    Of one that was made a moment ago not every broker knows yet: it is asked again.
    """
    until = time.monotonic() + ANSWER_S
    while True:
        known = _topics(bus)
        missing = [name for name in topics if name not in known]
        if not missing:
            return {name: len(known[name].partitions) for name in topics}
        if time.monotonic() > until:
            makers = "a collector makes those of events, `tapeflow submit` those of results"
            raise BusError(f"no topic {', '.join(missing)} yet; {makers}")
        time.sleep(0.1)


def is_there(bus: Bus, topic: str) -> bool:
    """Whether a topic has been made; raises `BusError`."""
    return topic in _topics(bus)


def _topics(bus: Bus) -> Mapping[str, Any]:
    kafka = module()
    probe = made(kafka.Consumer, bus.properties(group_id="tapeflow-look"))
    try:
        found: Mapping[str, Any] = probe.list_topics(timeout=ANSWER_S).topics
    except kafka.KafkaException as error:
        raise raised(f"Kafka at {bus.servers} does not answer", error) from error
    finally:
        probe.close()
    return found


def has_rows(bus: Bus, topics: Sequence[str]) -> bool:
    """Whether anything was ever written to one of these topics; raises `BusError`."""
    places = [(name, at) for name, count in partitions(bus, topics).items() for at in range(count)]
    return any(_ends(bus, places).values())


def bounds(asked: Any, place: Partition) -> tuple[int, int]:
    """The first offset of a partition and the one after its last; raises `BusError`.

    A topic that was made a moment ago, or whose broker has just gone, has no leader yet: it is asked again.
    """
    kafka = module()
    until = time.monotonic() + ANSWER_S
    while True:
        try:
            first, last = asked.get_watermark_offsets(kafka.TopicPartition(*place), timeout=ANSWER_S)
        except kafka.KafkaException as error:
            if time.monotonic() > until:
                raise raised(f"cannot read {place[0]}", error) from error
            time.sleep(0.1)
        else:
            return int(first), int(last)


def is_before_all(error: Any) -> bool:
    """Whether an error says that what was to be read next has been deleted, or never was."""
    return error is not None and error.code() == module().KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001


def passed_over(place: Partition, at: int, first: int) -> str:
    """Says that rows were deleted by age before they were read."""
    return f"{place[0]} {place[1]} begins at {first}: rows from {at} on were deleted before they came here"


class Follower:
    """Reads given partitions from given offsets on, without a group. Not for two threads at once.

    Where what it was to read next has been deleted by age it goes on with what is there; `passed` tells.
    """

    def __init__(self, bus: Bus, starts: Mapping[Partition, int]) -> None:
        """``starts`` may hold -1 for the end and -2 for the beginning of a partition."""
        self._bus = bus
        self._consumer = consumer(bus, "tapeflow-follower")
        self._ended: set[Partition] = set()
        self._failed: TapeflowError | None = None
        self._partitions = set(starts)
        self._is_cut = False
        #: The offset after the last record given, by partition.
        self.positions: dict[Partition, int] = {}
        #: Where it was to go on and where it does, of each partition of which something had been deleted meanwhile.
        self.passed: dict[Partition, tuple[int, int]] = {}
        self._assign(starts)

    def _assign(self, starts: Mapping[Partition, int]) -> None:
        kafka = module()
        found = {place: self._from(place, at) for place, at in starts.items()}
        try:
            self._consumer.assign([kafka.TopicPartition(*place, at) for place, at in found.items()])
        except kafka.KafkaException as error:
            raise raised(f"cannot read from Kafka at {self._bus.servers}", error) from error
        self.positions |= found  # of all at once, or a second try would not see what the first has passed over

    def _from(self, place: Partition, at: int) -> int:
        """An offset that is there: what was deleted by age is passed over."""
        first, last = self.bounds(place)
        return min({-1: last, -2: first}.get(at, max(at, first)), last)

    def bounds(self, place: Partition) -> tuple[int, int]:
        """The first offset of a partition and the one after its last; raises `BusError`."""
        return bounds(self._consumer, place)

    def read(self, most: int, wait_s: float) -> list[Record]:
        """The next records, at most so many; none after a while. Raises `BusError`, after what came before."""
        if self._failed is None:
            found = self._read(most, wait_s)
            if found or self._failed is None:
                return found
        failed, self._failed = self._failed, None
        raise failed

    def _read(self, most: int, wait_s: float) -> list[Record]:
        kafka = module()
        if self._is_cut:
            self._pass_over()
        found = []
        for message in self._consumer.consume(most, wait_s):
            error = message.error()
            place = (message.topic(), message.partition())
            if error is None:
                at = message.offset()
                found.append(Record(*place, at, message.key(), message.value()))
                self._ended.discard(place)
                self.positions[place] = at + 1
            elif error.code() == kafka.KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name
                self._ended.add(place)
                self.positions[place] = max(self.positions.get(place, 0), message.offset())
            elif is_before_all(error):
                self._is_cut = True
            elif not error.retriable() and error.code() != kafka.KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
                self._failed = raised("cannot read from Kafka", kafka.KafkaException(error))
        return found

    def _pass_over(self) -> None:
        """Go on with what is there; what has been fetched and not yet given comes again."""
        before = dict(self.positions)
        self._assign(before)
        self._is_cut = False
        self.passed |= {
            place: (at, self.positions[place]) for place, at in before.items() if at != self.positions[place]
        }

    @property
    def is_at_end(self) -> bool:
        """Whether all that is committed has been read."""
        return self._ended >= self._partitions

    def close(self) -> None:
        self._consumer.close()


def read_all(bus: Bus, topic: str) -> Iterator[Record]:
    """All committed records of a small topic, also those behind a transaction that is still open: it is waited for.

    Raises `BusError` where nothing more comes.
    """
    places = [(topic, number) for number in range(partitions(bus, [topic])[topic])]
    ends = _ends(bus, places)
    follower = Follower(bus, dict.fromkeys(places, -2))
    until = time.monotonic() + PATIENCE_S
    try:
        while any(follower.positions[place] < end for place, end in ends.items()):
            if found := follower.read(10_000, 0.5):
                until = time.monotonic() + PATIENCE_S
                yield from found
            elif time.monotonic() > until:
                raise BusError(f"topic {topic} has a transaction that does not end; see the brokers' logs")
    finally:
        follower.close()


def newest(bus: Bus, topic: str, kind: type[_Kind]) -> dict[str, _Kind]:
    """The newest row of each key of an upsert topic; raises `BusError`."""
    found: dict[str, _Kind] = {}
    for record in read_all(bus, topic):
        key = (record.key or b"").decode()
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = msgspec.json.decode(record.value, type=kind)
    return found


def _ends(bus: Bus, places: Sequence[Partition]) -> dict[Partition, int]:
    """The offset after the last record of each partition, committed or not."""
    group = bus.properties(group_id="tapeflow-look", isolation_level="read_uncommitted")
    probe = made(module().Consumer, group)
    try:
        return {place: bounds(probe, place)[1] for place in places}
    finally:
        probe.close()
