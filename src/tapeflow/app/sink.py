"""A sink: rows of topics into PostgreSQL, each once, with the place that they come from in the same transaction.

Sinks of one group share the partitions. Where a partition's rows end stands in the database, so that whoever is given
the partition goes on exactly there, and of two that both believe to have it only one can write.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tapeflow import files
from tapeflow.app.collector import bus, bus_settings
from tapeflow.app.opening import LONGEST_S, RETRY_S, opened
from tapeflow.bus.client import module, raised
from tapeflow.bus.dead import LARGEST_LETTER, DeadLetters
from tapeflow.bus.follower import Partition, Record, bounds, consumer, is_before_all, passed_over
from tapeflow.bus.topics import TopicSpec, ensure
from tapeflow.domain.errors import BusError, OwnerError, StoreError
from tapeflow.domain.time import parse_span
from tapeflow.feed.recorder import Say
from tapeflow.settings import BusSettings, RunSettings
from tapeflow.stores.channels import CHANNELS, NUMBERED, REVISED, Channel, numbered
from tapeflow.stores.postgres.columns import Columns, for_copy, is_plain, read
from tapeflow.stores.postgres.sql import role_of
from tapeflow.stores.postgres.store import PostgresStore
from tapeflow.stores.postgres.text import Unfit, check, look
from tapeflow.stores.series import Counts, is_forming, is_time

#: Messages of one transaction at most, and how long is waited for the first.
BATCH, WAIT_S = 20_000, 0.2
#: So many of a channel are read as columns.
MANY = 64
STATUS_S, RETAIN_S = 1.0, 600.0
DEAD = "dead_letters"
#: What is said when something works again that had failed.
AGAIN = {"store": "the store can be written again", "bus": "Kafka answers again", "topics": "topics can be read again"}

_decode = msgspec.json.Decoder().decode


class Batch(msgspec.Struct):
    """Rows by channel, and what they change of positions and counts."""

    rows: dict[str, list[dict[str, Any]] | Columns] = msgspec.field(default_factory=dict)
    positions: dict[Partition, tuple[int, int]] = msgspec.field(default_factory=dict)
    counts: dict[tuple[str, str], tuple[int, int]] = msgspec.field(default_factory=dict)


class _Flying(NamedTuple):
    """A batch that is being written: its records, counts and places before it, what its writing gives."""

    records: list[Record]
    before: dict[tuple[str, str], int]
    places: dict[Partition, int]
    done: Future[int]


class Sink:
    """Does the work in the caller's thread until `stop`; while one batch is written the next one is read."""

    def __init__(self, settings: RunSettings, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._own = bus_settings(settings)
        self._bus = bus(settings)
        self._dead = DeadLetters(self._bus, self._own.topic(DEAD))
        self._url = settings.postgres.address
        self._channels = {self._own.topic(name): name for name in settings.store.channels}
        self._kinds: dict[str, Channel] = {name: numbered(CHANNELS[name]) for name in settings.store.channels}
        self._stopping = threading.Event()
        self._next: dict[Partition, int] = {}
        self._counts = Counts({})
        self._flying: _Flying | None = None
        self._pool = ThreadPoolExecutor(1, "sink")
        self._problems: dict[str, str] = {}  # by the names of `AGAIN`
        self._told: dict[str, set[str]] = {}  # all of them since it last worked
        self._told_at = self._retained_at = -math.inf
        #: Rows written, and transactions, since the start.
        self.written = self.transactions = 0

    def stop(self) -> None:
        """Have `run` return; from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """Follow the topics until stopped; raises `SettingsError` where they cannot be had."""
        ensure(self._bus, sink_topics(self._own, self._settings.store.channels), self._own.replication)
        self._store = opened(self._open, self._stopping, lambda error: self._fail("store", error))
        self._consumer = consumer(self._bus, f"tapeflow-sink-{self._settings.postgres.schema}")
        try:
            self._consumer.subscribe(list(self._channels), on_assign=self._assigned, on_revoke=self._revoked,
                                     on_lost=self._revoked)  # fmt: skip
            while not self._stopping.is_set():
                self._step()
                self._tell()
                self._retain()
            self._let_go()
        except _Stopped:
            self._say("stopped while rows cannot be written; what is not there yet comes at the next start")
        finally:
            self._consumer.close()
            self._pool.shutdown()
            self._store.close()

    def _open(self) -> PostgresStore:
        own, channels = self._settings.postgres, self._settings.store.channels
        return PostgresStore(self._url, channels, name=own.schema, reader=role_of(own.reader_address))

    # -- partitions --------------------------------------------------------------------------------------

    def _assigned(self, consumer: Any, places: Sequence[Any]) -> None:
        """Go on where the database says that the rows of each partition end, and nowhere before its topic begins."""
        kafka = module()
        self._let_go()
        found: dict[Partition, int] | None = None
        while found is None:
            found = self._starts(consumer, [(one.topic, one.partition) for one in places])
        self._next = found
        consumer.assign([kafka.TopicPartition(*place, at) for place, at in found.items()])
        self._say(f"writing {len(found)} partitions of {len({topic for topic, _ in found})} topics")

    def _starts(self, consumer: Any, places: Sequence[Partition]) -> dict[Partition, int] | None:
        """Where to go on; None where another sink has moved there meanwhile."""
        positions, counts = self._retrying(self._store.counts)
        self._counts = Counts(counts)
        found: dict[Partition, int] = {}
        gone: dict[Partition, tuple[int, int]] = {}
        for place in places:
            first, last = self._retrying(lambda place=place: bounds(consumer, place), "bus")
            at = positions.get(place, 0)
            if at > last:
                raise BusError(
                    f"the store has rows up to {at} of {place[0]} {place[1]}, which ends at {last}: the topic was made "
                    "anew; give [postgres] another schema, or remove its positions"
                )
            found[place] = max(at, first)
            if at < first:
                gone[place] = (at, first)
        return found if self._pass_over(gone) else None

    def _pass_over(self, gone: dict[Partition, tuple[int, int]]) -> bool:
        """Have the database go on behind what was deleted by age; False where another sink has moved there."""
        if not gone:
            return True
        try:
            self._in_turn(lambda: self._store.pass_over(gone))
        except OwnerError as error:
            self._say(f"{error}; looking again where to go on")
            return False
        for place, (at, first) in gone.items():
            self._say(passed_over(place, at, first))
        return True

    def _revoked(self, _: Any, __: Sequence[Any]) -> None:
        self._let_go()
        self._next = {}

    def _let_go(self) -> None:
        """Return when nothing is being written: what was is in the database, or comes again."""
        flying, self._flying = self._flying, None
        if flying is not None:
            wait([flying.done])

    # -- work --------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Have what has come written, if anything has, once what came before it is."""
        found = self._records(self._consume())
        try:
            if not found:
                self._land()
                return
            before = dict(self._counts.counts)
            batch = self._batch(found)
            self._retrying(self._dead.flush, "bus")
            if self._land():  # the counts and places that this batch begins with are others now
                before = dict(self._counts.counts)
                batch = self._batch(found)
            places = {place: first for place, (first, _) in batch.positions.items()}
            self._next |= {place: after for place, (_, after) in batch.positions.items()}
            self._flying = _Flying(found, before, places, self._pool.submit(self._take, batch))
        except OwnerError as error:
            self._say(f"{error}; looking again where to go on")
            self._again()

    def _land(self) -> bool:
        """Wait for the batch that is being written; True if its rows had to be looked at one by one."""
        flying, self._flying = self._flying, None
        if flying is None:
            return False
        try:
            flying.done.result()
        except Unfit:
            self._counts = Counts(flying.before)
            self._next |= flying.places  # not the first record's: the end of a transaction has an offset too
            self._write(flying.records)
            return True
        return False

    def _consume(self) -> list[Any]:
        kafka = module()
        try:
            return list(self._consumer.consume(BATCH, WAIT_S))
        except kafka.KafkaException as error:
            raise raised("cannot read from Kafka", error) from error

    def _records(self, messages: list[Any]) -> list[Record]:
        """What is to be written of messages: not what was given again after a change of partitions."""
        if any(is_before_all(one.error()) for one in messages):
            self._again()
            return []
        found = []
        for one in messages:
            if one.error() is not None:
                self._look_at(one.error())
                continue
            record = Record(one.topic(), one.partition(), one.offset(), one.key(), one.value())
            if record.offset >= self._next.get(record[:2], 1 << 62):
                found.append(record)
        if found:
            self._works("topics")
        return found

    def _look_at(self, error: Any) -> None:
        kafka = module()
        if error.code() != kafka.KafkaError._PARTITION_EOF and not error.retriable():  # noqa: SLF001
            self._fail("topics", raised("cannot read from Kafka", kafka.KafkaException(error)))

    def _take(self, batch: Batch) -> int:
        """Write a batch, as often as it takes."""
        count: int = self._retrying(lambda: self._store.take(batch.rows, batch.positions, batch.counts))
        self.written += count
        self.transactions += 1
        return count

    def _write(self, records: Sequence[Record]) -> None:
        """Write records of which one cannot be written: by halves, until that one is alone and a dead letter."""
        before = dict(self._counts.counts)
        batch = self._batch(records)
        try:
            self._retrying(self._dead.flush, "bus")
            self._pool.submit(self._take, batch).result()
        except Unfit as error:
            self._counts = Counts(before)
            if len(records) > 1:
                half = len(records) // 2
                self._write(records[:half])
                self._write(records[half:])
                return
            self._dead.add(records[0], str(error))
            self._retrying(self._dead.flush, "bus")
            self._pool.submit(self._take, Batch(positions=batch.positions)).result()
        self._next |= {place: after for place, (_, after) in batch.positions.items()}

    def _batch(self, records: Sequence[Record]) -> Batch:
        made = Batch()
        of_channel: dict[str, list[Record]] = {}
        for record in records:
            place = (record.topic, record.partition)
            before = made.positions.get(place, (self._next.get(place, 0), 0))[0]
            made.positions[place] = (before, record.offset + 1)
            of_channel.setdefault(self._channels[record.topic], []).append(record)
        for channel, found in of_channel.items():
            if len(found) < MANY or not is_plain(CHANNELS[channel]) or not self._add_columns(made, channel, found):
                self._add_rows(made, channel, found)
        return made

    def _add_rows(self, made: Batch, channel: str, records: Sequence[Record]) -> None:
        added = made.rows[channel] = list[dict[str, Any]]()
        for record in records:
            for row in self._rows(channel, record):
                numbered = self._counts.next(channel, row)
                if numbered is not None:
                    row["seq"] = numbered[1]
                    made.counts[channel, numbered[0]] = (record.partition, numbered[1])
                added.append(row)

    def _add_columns(self, made: Batch, channel: str, records: Sequence[Record]) -> bool:
        """The same for many at once; False, and nothing is done, where not each of them is as it should be."""
        found = read(CHANNELS[channel], [record.value or b"" for record in records])
        if found is None:
            return False
        rows, is_event = found
        if channel in NUMBERED:
            names = pc.binary_join_element_wise(rows["venue"], rows["symbol"], ":").combine_chunks().dictionary_encode()
            series, codes = names.dictionary.to_pylist(), names.indices.to_numpy()
            rows = rows.append_column("seq", pa.array(self._counts.many(channel, series, codes)))
            partitions = np.array([record.partition for record in records])[is_event.to_numpy(zero_copy_only=False)]
            first = np.unique(codes, return_index=True)[1]
            for name, at in zip(series, first.tolist(), strict=True):
                made.counts[channel, name] = (int(partitions[at]), self._counts.get(channel, name))
        made.rows[channel] = for_copy(self._kinds[channel], rows)
        return True

    def _rows(self, channel: str, record: Record) -> list[dict[str, Any]]:
        """The rows of a record that a table takes; what cannot be read is a dead letter."""
        if record.value is None:
            return []
        try:
            value = _decode(record.value)
            rows = _object(value)["data"] if channel == "coverage" else [value]
            rows = [row for row in map(_object, rows) if not is_time(row) and not _is_open(channel, row)]
            for row in rows:
                _check(self._kinds[channel], row)
        except (msgspec.DecodeError, Unfit, KeyError, TypeError) as error:
            self._dead.add(record, f"{type(error).__name__}: {error}")
            return []
        return rows

    def _again(self) -> None:
        """Have the partitions given anew, with what the database says now."""
        kafka = module()
        self._assigned(self._consumer, [kafka.TopicPartition(*place) for place in list(self._next)])

    def status(self) -> dict[str, Any]:
        """What an operator wants to see."""
        return {
            "pid": os.getpid(),
            "ts": time.time_ns() // 1000,
            "written": self.written,
            "transactions": self.transactions,
            "dead_letters": self._dead.count,
            "partitions": sorted(f"{topic}:{number}" for topic, number in self._next),
            "problem": "; ".join(list(self._problems.values())),
        }

    def _tell(self) -> None:
        """Write how it is into ``sink.json`` of the data folder, now and then."""
        if time.monotonic() - self._told_at < STATUS_S:
            return
        self._told_at = time.monotonic()
        path = Path(self._settings.data) / "sink.json"
        with contextlib.suppress(OSError):  # what it is for goes on without
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, msgspec.json.encode(self.status()), sync=False)

    def _retain(self) -> None:
        """Drop what has been replaced long ago, and what ``[store] keep`` says, now and then, between two batches.

        Of very much a part is dropped after each batch.
        """
        if time.monotonic() - self._retained_at < RETAIN_S:
            return
        self._retained_at, now = time.monotonic(), time.time_ns() // 1000
        keep = self._settings.store.keep.items()
        ages = {name: now - parse_span(span) for name, span in keep if name in self._kinds}
        self._pool.submit(self._drop, ages)  # after what is being written

    def _drop(self, ages: dict[str, int]) -> None:
        _, is_more = self._retrying(lambda: self._store.drop(ages))
        if is_more:
            self._retained_at = -math.inf

    def _in_turn(self, work: Callable[[], Any]) -> Any:
        """What the work gives, as often as it takes; after all else that uses the connection which writes."""
        return self._pool.submit(self._retrying, work).result()

    # -- faults ------------------------------------------------------------------------------------------

    def _retrying(self, work: Any, what: str = "store") -> Any:
        """What the work gives, as often as it takes; the group meanwhile sees that this sink is there."""
        wait = RETRY_S
        while True:
            try:
                found = work()
            except (OwnerError, Unfit):
                raise
            except StoreError as error:
                self._fail(what, error)
            else:
                self._works(what)
                return found
            until = time.monotonic() + wait
            while time.monotonic() < until:
                if self._stopping.wait(0.1):
                    raise _Stopped
            wait = min(LONGEST_S, 2 * wait)

    def _fail(self, what: str, error: Exception) -> None:
        self._problems[what] = str(error)
        told = self._told.setdefault(what, set())
        if str(error) not in told:  # once, not at every try: a server that goes has more than one way to say so
            told.add(str(error))
            self._say(f"{error}; trying again")

    def _works(self, what: str) -> None:
        self._told.pop(what, None)
        if self._problems.pop(what, ""):
            self._say(AGAIN[what])


class _Stopped(Exception):
    """The sink is to end, and what it is at cannot be done."""


def _object(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise Unfit(f"expected an object, got {type(row).__name__}")
    return row


def _is_open(channel: str, row: dict[str, Any]) -> bool:
    """Whether a row will be followed by another of its window: a push of klines says no more than itself."""
    return channel in REVISED and is_forming(row)


def _check(channel: Channel, row: dict[str, Any]) -> None:
    """Raise `Unfit` for what cannot be of the channel; values of trades and the like are looked at when written."""
    if channel.name in REVISED:  # whose rows are compared before
        check(channel, row)
    look(channel, row)


def sink_topics(settings: BusSettings, channels: Sequence[str]) -> list[TopicSpec]:
    """The topics that a sink reads and writes."""
    keep = parse_span(settings.keep) // 1000
    upserts = ("coverage",)
    read = [
        TopicSpec(settings.topic(name), settings.partitions, is_upsert=name in upserts, keep_ms=keep)
        for name in channels
    ]
    return [*read, TopicSpec(settings.topic(DEAD), 1, is_upsert=True, largest=LARGEST_LETTER)]
