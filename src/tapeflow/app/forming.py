"""Indicators of windows that have not closed, on a gateway: an engine of a cluster publishes none of them.

They are computed of the series that somebody follows or has just asked for (`engine.tails`). A series begins with its
newest candles in the database, once all that this gateway has counted of it are there; what comes by the topics
follows, revisions too. While the database does not answer, or sinks are behind, those who follow wait, and nobody else.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol, cast

import msgspec
import pyarrow as pa

from tapeflow.api.topics import Topic
from tapeflow.app.pipeline import FORMING_S
from tapeflow.app.present import Present
from tapeflow.domain.errors import StoreError
from tapeflow.engine.tails import Bar, Last, Tails
from tapeflow.feed.recorder import Say
from tapeflow.flow.nodes import Candles, Flow
from tapeflow.flow.nodes import Indicator as Node
from tapeflow.indicators import Indicator
from tapeflow.stores.encoded import Encoded
from tapeflow.stores.numbers import FOLD_BITS, STEP_BITS, Code, code_of
from tapeflow.stores.pages import Asked, Page
from tapeflow.stores.series import series_of

#: A series that was asked for is kept so long after it, and so many are.
KEPT_S, ASKED = 60.0, 500
#: How long an answer waits for a series to begin.
ANSWER_S = 1.0
#: After so long the database is asked again: where it is behind the topics, where it does not answer.
BEHIND_S, AWAY_S = 0.1, 1.0
_JOIN_S = 5.0


class Kept(Protocol):
    """A database with the closed rows of series."""

    def keeps(self, channel: str) -> bool: ...

    def count(self, channel: str, series: str) -> int: ...

    def page(self, asked: Asked) -> Page: ...


class _Candle(msgspec.Struct):
    """A row of a topic, as far as steps see it."""

    ts_start: int
    close: str
    revision: int


_candle = msgspec.json.Decoder(_Candle).decode
_last = msgspec.json.Decoder(Last).decode
_encode = msgspec.json.Encoder().encode


class Series:
    """One symbol and interval that is wanted; ``counted`` rows of its candles the gateway had counted by then."""

    def __init__(self, node: Candles, steps: Sequence[Indicator], counted: int, **key: str) -> None:
        self.key = key
        self.counted = counted
        self.names = [step.name for step in steps]
        self.tails = Tails(steps)
        self.has_begun = False
        self._size_us = node.window.size_us

    def rows(self, step: int) -> Iterator[bytes]:
        """The rows of an indicator as JSON; none before the series has begun."""
        for row in self.tails.rows(step) if self.has_begun else ():
            times = {"ts_start": row.ts_start, "ts_end": row.ts_start + self._size_us}
            rest = {"values": row.values, "bars": row.bars, "closed": False, "revision": row.revision}
            yield _encode({**self.key, "name": self.names[step], **times, **rest})


class Forming:
    """See the module. `take` and `moved` are called by the thread that follows the topics, the others by any."""

    def __init__(self, flow: Flow, present: Present, store: Kept, say: Say) -> None:
        self._present = present
        self._store = store
        self._say = say
        self._candles: list[Candles] = list(flow.of(Candles))
        self._steps = [
            [cast("Indicator", node.step) for node in flow.of(Node) if node.input == one.id] for one in self._candles
        ]
        self._has_candles = store.keeps("candles")
        self._lock = threading.Condition()
        self._series: dict[int, Series] = {}  # by the code of its candles
        self._asked: dict[int, float] = {}
        self._watched: frozenset[Topic] = frozenset()
        self._known_watched: frozenset[Topic] = frozenset()
        self._followed: dict[int, set[int]] = {}  # the steps that somebody follows, by their series
        self._moved: set[int] = set()
        self._formed: dict[int, float] = {}
        self._problem = ""
        self._wanted, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="forming", daemon=True)

    # -- who wants what ----------------------------------------------------------------------------------

    def watch(self, topics: frozenset[Topic]) -> None:
        """From now on give the rows of these topics whenever they change; those of other channels are passed over."""
        self._watched = frozenset(topic for topic in topics if topic.base == "indicators")

    def ask(self, topics: Sequence[Topic]) -> list[bytes]:
        """The rows of some topics as they stand, waiting a moment for series that nobody has wanted so far."""
        with self._lock:
            keys = {key for key in map(self._key, topics) if key is not None}
            for key in keys:
                self._asked.pop(key, None)  # the last ones are those that were asked for last
                self._asked[key] = time.monotonic()
            self._lock.wait_for(lambda: all(map(self._has_begun, keys)), ANSWER_S)
            return self.rows(topics)

    def rows(self, topics: Iterable[Topic]) -> list[bytes]:
        """The rows of some topics as they stand; none of series that have not begun."""
        with self._lock:
            found = ((self._key(topic), topic.step) for topic in topics)
            return [row for key, step in found if key in self._series for row in self._series[key].rows(step)]

    def _key(self, topic: Topic) -> int | None:
        """The series of a topic; None where no candle is open, so that there can be no row."""
        number = self._present.known(topic.symbol)
        key = None if number is None else code_of(number, topic.fold)
        return key if self._has_candles and self._present.forming.get(("candles", key)) else None

    def _has_begun(self, key: int) -> bool:
        return key in self._series and self._series[key].has_begun

    # -- rows of topics ----------------------------------------------------------------------------------

    def take(self, finished: Encoded, forming: Collection[tuple[str, Code]]) -> None:
        """A batch of the topics that `Present` has taken: closed rows, and the series whose open ones have changed."""
        with self._lock:
            self._hold()
            if finished.size and self._series:
                self._take(finished)
            for key in self._series.keys() & {code for channel, code in forming if channel == "candles"}:
                self._open(key)

    def _take(self, finished: Encoded) -> None:
        for key, row in _of(finished, "candles", self._series):
            for bar in _bars([row]):
                self._series[key].tails.put(bar)
                self._moved.add(key)
        steps = {key | step for key, series in self._series.items() for step in range(len(series.names))}
        for code, row in _of(finished, "indicators", steps):
            key = code >> STEP_BITS << STEP_BITS
            with contextlib.suppress(msgspec.DecodeError):  # one that does not say its bars
                self._series[key].tails.go_on(code - key, _last(row))
                self._moved.add(key)

    def _open(self, key: int) -> None:
        rows = self._present.forming.get(("candles", key), {})
        self._series[key].tails.open(_bars(row for _, row in sorted(rows.items())))
        self._moved.add(key)

    def _hold(self) -> None:
        """Hold the series that are wanted, and no others."""
        if self._watched is not self._known_watched:
            self._follow(self._watched)
        before = time.monotonic() - KEPT_S
        for key in [*[key for key, at in self._asked.items() if at < before], *list(self._asked)[:-ASKED]]:
            self._asked.pop(key, None)
        wanted = self._followed.keys() | self._asked.keys()
        for key in self._series.keys() - wanted:
            del self._series[key]
            self._formed.pop(key, None)
        for key in wanted - self._series.keys():
            self._series[key] = self._new(key)
            self._open(key)
            self._wanted.set()

    def _follow(self, topics: frozenset[Topic]) -> None:
        followed: dict[int, set[int]] = {}
        for topic in topics if self._has_candles else ():
            key = code_of(self._present.number(topic.symbol), topic.fold)
            followed.setdefault(key, set()).add(topic.step)
        self._moved |= {key for key, steps in followed.items() if steps - self._followed.get(key, set())}
        self._known_watched, self._followed = topics, followed

    def _new(self, key: int) -> Series:
        number, fold = divmod(key >> STEP_BITS, 1 << FOLD_BITS)
        node = self._candles[fold]
        names = {"venue": self._present.venue, "symbol": self._present.names[number], "interval": node.interval}
        counted = self._present.counts.get("candles", series_of("candles", names))
        return Series(node, self._steps[fold], counted, **names)

    def moved(self) -> list[tuple[Code, bytes]]:
        """(series, row) of what is followed and may have changed, each series at most every `FORMING_S`."""
        now = time.monotonic()
        with self._lock:
            self._moved &= self._followed.keys()
            due = [key for key in self._moved if self._is_due(key, now)]
            self._moved -= set(due)
            self._formed |= dict.fromkeys(due, now)
            steps = [(key, step) for key in due for step in sorted(self._followed[key])]
            return [(key | step, row) for key, step in steps for row in self._series[key].rows(step)]

    def _is_due(self, key: int, now: float) -> bool:
        return self._has_begun(key) and now - self._formed.get(key, -math.inf) >= FORMING_S

    # -- the database ------------------------------------------------------------------------------------

    def start(self) -> None:
        """From now on the database is asked for series that are wanted, by a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._over.is_set():
            self._wanted.clear()
            try:
                have_begun = self.begin()
            except StoreError as error:
                self._tell(str(error))
                self._over.wait(AWAY_S)
                continue
            self._problem = ""
            if have_begun:
                self._wanted.wait()
            else:
                self._over.wait(BEHIND_S)

    def _tell(self, error: str) -> None:
        if error != self._problem:
            self._say(f"{error}; forming indicators wait for it")
        self._problem = error

    def begin(self) -> bool:
        """Have series begin for which the database is far enough; whether all have. Raises `StoreError`."""
        with self._lock:
            waiting = {key: series for key, series in self._series.items() if not series.has_begun}
        begun = [self._begin(key, series) for key, series in waiting.items()]
        return all(begun)

    def _begin(self, key: int, series: Series) -> bool:
        if self._store.count("candles", series_of("candles", series.key)) < series.counted:
            return False
        candles = self._newest("candles", series.tails.limit, ("ts_start", "close", "revision"), series.key)
        lasts = [self._last(series.key | {"name": name}) for name in series.names]
        with self._lock:
            for ts_start, close, revision in candles:
                if close is not None:
                    series.tails.put(Bar(ts_start, float(close), revision))
            for step, last in enumerate(lasts):
                series.tails.go_on(step, last)
            series.has_begun = True
            self._moved.add(key)
            self._lock.notify_all()
        return True

    def _last(self, key: dict[str, str]) -> Last:
        if not self._store.keeps("indicators"):
            return Last()
        found = self._newest("indicators", 1, ("ts_start", "bars", "revision"), key)
        return Last(*found[0]) if found else Last()

    def _newest(self, channel: str, limit: int, fields: Sequence[str], key: dict[str, str]) -> list[tuple[Any, ...]]:
        """The newest rows of a series, ascending; the first field is a time."""
        page = self._store.page(Asked(channel=channel, key=key, limit=limit, newest=True))
        rows = page.rows.select(fields)
        times = rows.column(0).cast(pa.int64())
        return list(zip(*(column.to_pylist() for column in (times, *rows.columns[1:])), strict=True))

    def status(self) -> dict[str, int]:
        """What an operator wants to see."""
        with self._lock:
            waiting = sum(not series.has_begun for series in self._series.values())
            return {"series": len(self._series), "series_waiting": waiting}


def _of(finished: Encoded, channel: str, wanted: Collection[Code]) -> list[tuple[int, bytes]]:
    """(series, row) of some series of a channel, in the order of their coming."""
    given = finished.in_order(channel, wanted) if wanted else None
    return [] if given is None else list(zip(cast("list[int]", given.codes), given.table.json_lines(), strict=True))


def _bars(rows: Iterable[bytes]) -> Iterator[Bar]:
    """Candles of a topic; one without a price is none."""
    for row in rows:
        with contextlib.suppress(msgspec.DecodeError, ValueError):
            candle = _candle(row)
            yield Bar(candle.ts_start, float(candle.close), candle.revision)
