"""A ledger that is a bus: result rows go to Kafka, and the tape position that they come from, as one transaction.

So a kill at any moment neither loses nor doubles a row for a reader of what is committed: the next start reads the
position back, plays the tape from there and publishes what follows. While brokers are away nothing is lost either: the
pipeline waits, and the tape grows. Whoever was away for a while may have lost its symbols or its name meanwhile: whose
they are is read each time before anything is published.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from tapeflow.app.place import Place, Tape, place_of, places
from tapeflow.bus.client import Bus
from tapeflow.bus.owners import others_of, producer_id
from tapeflow.bus.publisher import Message, Publisher, message
from tapeflow.bus.topics import TopicSpec
from tapeflow.domain.errors import BusError, OwnerError
from tapeflow.domain.time import parse_span
from tapeflow.settings import BusSettings
from tapeflow.stores.events import covered, lines
from tapeflow.stores.results import Results

#: Channels of which a bus has events: what engines, sinks and gateways read.
EVENT_CHANNELS = ("trades", "quotes", "book", "tickers", "klines", "late", "quarantine")
#: Topics beside those of channels: one partition, the newest row of each key stays.
POSITIONS, OWNERS, STATUS, SYMBOLS, COVERAGE = "collectors", "owners", "status", "symbols", "coverage"

_encode = msgspec.json.Encoder().encode


class Published:
    """A `tapeflow.stores.store.Ledger` over Kafka. ``more`` gives further (topic, key, value) rows of a batch.

    ``followed`` are the ``venue:symbol`` keys that must be ours, or nothing is published at all. Of other symbols that
    another collector owns the tape may hold events of before: they stay there.
    """

    #: What is written again is there twice, and engines count it twice: another flow publishes nothing again.
    replaces = False

    def __init__(
        self,
        bus: Bus,
        settings: BusSettings,
        channels: tuple[str, ...],
        tape: Tape,
        more: Callable[[], Iterator[tuple[str, str, bytes]]] = lambda: iter(()),
        followed: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._channels = tuple(name for name in channels if name in EVENT_CHANNELS)
        self._tape = tape
        self._void: list[str] = []
        self._has_coverage = "coverage" in channels
        self._more = more
        self._followed = followed
        self._of_others = frozenset[str]()
        self._life = ""
        self._covered: dict[str, bytes] = {}
        self._publisher = Publisher(bus, producer_id(settings.topic(OWNERS), settings.name))
        self._place = self._found()
        #: Channels that begin at the place: what the tape has of them before it is not published.
        self.begun = tuple(name for name in self._channels if self._place.channels and name not in self._place.channels)
        life = secrets.token_hex(8)
        self._say(life=life, tape=tape.id)
        self._life, self._void = life, []

    @property
    def delivered(self) -> int:
        """Rows that are committed, since the start."""
        return self._publisher.delivered

    def _found(self) -> Place:
        """Where what is committed ends; whoever else had this collector's name is fenced first.

        Who takes over fences us after its claim is written: so it is seen here, or fences this producer too.
        """
        self._publisher.open()
        try:
            return self._look()
        except BaseException:
            self._publisher.close()  # or the next commit would go on without having looked
            raise

    def _look(self) -> Place:
        """The place, if it and all that is followed are ours."""
        topic, name = self._settings.topic(OWNERS), self._settings.name
        self._of_others = others_of(self._bus, topic, name, set(self._followed()))
        place, self._void = place_of(self._tape, name, places(self._bus, self._settings.topic(POSITIONS)))
        if self._life and place.life != self._life:
            raise OwnerError(
                f"another process of the same name has taken over from this collector: run only one as {name!r}, or "
                "give it another name in [bus]"
            )
        return place if place.epoch else msgspec.structs.replace(place, epoch=_new_epoch())

    @property
    def position(self) -> int:
        return self._place.position

    @property
    def fingerprint(self) -> str:
        return self._place.fingerprint

    @property
    def epoch(self) -> str:
        return self._place.epoch

    def commit(
        self,
        results: Results,
        position: int,
        *,
        coverage: list[dict[str, Any]] | None = None,
        again: bool = False,
        start: int | None = None,
    ) -> int:
        """As a ledger; ``again`` and ``start`` are for stores, where a row replaces itself. Raises `OwnerError` too."""
        if again or start is not None:
            raise BusError("rows of a bus cannot be computed again; repair a store instead")
        if not self._publisher.is_open:
            self._place = self._found()
        if position <= self._place.position and results.size:
            self._publisher.confirm()  # what seemed to fail had been committed
            return 0
        place = msgspec.structs.replace(self._place, position=position, channels=self._channels)
        batches = [(self._settings.topic(name), self._messages(results, name)) for name in self._channels]
        covered = self._coverage(results.venue, coverage)
        changed = [message(key.encode(), value) for key, value in covered.items()]
        rest = [(self._settings.topic(COVERAGE), changed), *self._rest(), self._placed(place)]
        count = self._written([*batches, *rest])
        self._place = place
        self._covered |= covered
        return count - sum(len(made) for _, made in rest)

    def _written(self, batches: list[tuple[str, list[Message]]]) -> int:
        """Write a batch as one; how many messages.

        Who was paused for longer than brokers wait for a transaction is fenced as if it had been taken over from: what
        they hold tells which, and if it is still ours, another try is of use.
        """
        try:
            return self._publisher.commit(batches)
        except OwnerError as error:
            self._place = self._found()
            raise BusError("Kafka has ended a transaction that took too long: was this process paused?") from error

    def _messages(self, results: Results, channel: str) -> list[Message]:
        symbols, made = lines(results, channel)
        named = {symbol: f"{results.venue}:{symbol}" for symbol in set(symbols)}
        keys = {symbol: key.encode() for symbol, key in named.items() if key not in self._of_others}
        rows = zip(symbols, made, strict=True)
        return [{"key": keys[symbol], "value": line} for symbol, line in rows if symbol in keys]

    def _coverage(self, venue: str, rows: list[dict[str, Any]] | None) -> dict[str, bytes]:
        """What has changed of the coverage, by key: a value for each stream of a symbol, with all of its rows."""
        if not rows or not self._has_coverage:
            return {}
        of_stream: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            if f"{venue}:{row['symbol']}" in self._of_others:
                continue
            key = f"{venue}:{row['symbol']}:{row['stream']}:{row['guarantee']}"
            told = {"venue": venue, **row, **{name: _text(row.get(name)) for name in ("first_id", "last_id")}}
            of_stream.setdefault(key, []).append(told)
        made = {key: covered(found) for key, found in of_stream.items()}
        return {key: value for key, value in made.items() if self._covered.get(key) != value}

    def _rest(self) -> list[tuple[str, list[Message]]]:
        return [(self._settings.topic(name), [message(key.encode(), value)]) for name, key, value in self._more()]

    def _placed(self, place: Place) -> tuple[str, list[Message]]:
        """What says so, and its topic."""
        void = [message(name.encode(), None) for name in self._void]
        return self._settings.topic(POSITIONS), [*void, message(self._settings.name.encode(), _encode(place))]

    def _say(self, **changes: Any) -> None:
        if not self._publisher.is_open:
            self._place = self._found()
        place = msgspec.structs.replace(self._place, **changes)
        self._written([self._placed(place)])
        self._place = place

    def renew(self) -> None:
        self._say(epoch=_new_epoch())

    def rewind(self, position: int, doubtful_to: int) -> None:
        """What the tape lost in a power failure was published: readers keep it, and what comes again has their ids."""
        self._say(position=position, epoch=_new_epoch())

    def claim(self, fingerprint: str) -> None:
        self._say(fingerprint=fingerprint, epoch=_new_epoch())

    def retain(self, older_than: dict[str, int]) -> dict[str, int]:
        """The brokers drop what is older than ``[bus] keep``."""
        return dict.fromkeys(older_than, 0)

    def close(self) -> None:
        self._publisher.close()


def event_topics(settings: BusSettings) -> list[TopicSpec]:
    """The topics that a collector writes."""
    keep = parse_span(settings.keep) // 1000
    events = [TopicSpec(settings.topic(name), settings.partitions, keep_ms=keep) for name in EVENT_CHANNELS]
    single = [TopicSpec(settings.topic(name), 1, is_upsert=True) for name in (POSITIONS, OWNERS, STATUS, SYMBOLS)]
    return [*events, TopicSpec(settings.topic(COVERAGE), settings.partitions, is_upsert=True), *single]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _new_epoch() -> str:
    return secrets.token_hex(4)
