"""The tails of chains: what steps give for candles that have not closed, where the chains themselves are elsewhere.

A gateway of a cluster has the newest closed candles of a series, the open ones, and the newest closed row of each step;
the states are with the engine that has made them. `Tails` goes on from there with the same `Step`.

Rules:

1. Values are those of the chain: to the last bit where it began among the bars that are known, else but for the last
   digits of a float, as there are so many bars that the beginning is not felt (`indicators.settles`).
2. ``bars`` and ``revision`` go on from the newest closed row: a late trade that has changed nothing in it counts from
   the next one on. While there is none, the chain has no more bars than come before a first row.
3. A window up to that row forms no more, though its candle may still be on its way.
4. Where that cannot be known (too few bars are, or none up to the newest row), there is no row rather than a wrong one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from tapeflow.engine.chains import ChainRow
from tapeflow.indicators import Indicator, settles

#: Bars of one series, at most. A step that remembers more has rows only where its chain began among them.
BARS = 20_000
#: A revision of one of the newest bars, so many at least, is not computed from the first bar on.
AGAIN = 64


class Bar(NamedTuple):
    """A candle as steps see it."""

    ts_start: int
    close: float
    revision: int


class Last(msgspec.Struct, frozen=True):
    """The newest closed row of a step, as far as rows go on from it."""

    ts_start: int = -1
    bars: int = 0
    revision: int = 0


class _Reached(NamedTuple):
    """The state of a step after the bars before a place."""

    at: int
    state: Any


class Tail:
    """A step over the closed bars of a series: its state after them, and one before the last bars, for revisions."""

    def __init__(self, step: Indicator) -> None:
        self.step = step
        self.last = Last()
        self._begin = 0
        self._restart()

    def _restart(self) -> None:
        self._head = self._base = _Reached(self._begin, self.step.zero())

    def begin(self, at: int) -> None:
        """The chain begins with this bar."""
        if at != self._begin:
            self._begin = at
            self._restart()

    def changed(self, at: int) -> None:
        """A bar is another one, or new."""
        if at < self._base.at:
            self._restart()
        elif at < self._head.at:
            self._head = self._base

    def dropped(self, count: int) -> None:
        """The first bars are gone; what was taken of them stays in the state."""
        self._begin = max(0, self._begin - count)
        self._head, self._base = (_Reached(one.at - count, one.state) for one in (self._head, self._base))
        if self._base.at < self._begin:
            self._restart()

    def state(self, closes: Sequence[float]) -> Any:
        """The state after all of them."""
        if len(closes) - self._base.at > 2 * AGAIN:
            self._base = self._after(self._base, closes, len(closes) - AGAIN)
        self._head = self._after(max(self._base, self._head, key=lambda one: one.at), closes, len(closes))
        return self._head.state

    def _after(self, reached: _Reached, closes: Sequence[float], end: int) -> _Reached:
        state = reached.state
        for close in closes[reached.at : end]:
            state, _ = self.step.on_event(state, close)
        return _Reached(end, state)


class Tails:
    """The steps of one series over its newest closed bars, of which as many are kept as the steps remember."""

    def __init__(self, steps: Sequence[Indicator]) -> None:
        self.limit = min(BARS, max(map(settles, steps), default=0))
        self._tails = [Tail(step) for step in steps]
        self._open: list[Bar] = []
        self._starts: list[int] = []
        self._closes: list[float] = []
        self._revisions: list[int] = []

    # -- bars in -------------------------------------------------------------------------------------------------

    def put(self, bar: Bar) -> None:
        """A closed bar, or a revision of one; an older revision changes nothing, nor does what is before all."""
        at = bisect_left(self._starts, bar.ts_start)
        if at < len(self._starts) and self._starts[at] == bar.ts_start:
            self._revise(at, bar)
        elif at or len(self._starts) < self.limit:
            self._insert(at, bar)

    def _revise(self, at: int, bar: Bar) -> None:
        if bar.revision < self._revisions[at]:
            return
        self._revisions[at] = bar.revision
        if self._closes[at] != bar.close:
            self._closes[at] = bar.close
            self._changed(at)

    def _insert(self, at: int, bar: Bar) -> None:
        self._starts.insert(at, bar.ts_start)
        self._closes.insert(at, bar.close)
        self._revisions.insert(at, bar.revision)
        self._changed(at)
        surplus = len(self._starts) - self.limit
        if surplus > 0:
            del self._starts[:surplus], self._closes[:surplus], self._revisions[:surplus]
            for tail in self._tails:
                tail.dropped(surplus)

    def _changed(self, at: int) -> None:
        for tail in self._tails:
            tail.changed(at)

    def go_on(self, step: int, last: Last) -> None:
        """A closed row of a step; an older one than is known changes nothing."""
        tail = self._tails[step]
        if last.ts_start >= tail.last.ts_start:
            tail.last = last

    def open(self, bars: Iterable[Bar]) -> None:
        """The bars that have not closed, ascending, in the place of those before."""
        self._open = list(bars)

    # -- rows out ------------------------------------------------------------------------------------------------

    def rows(self, step: int) -> Iterator[ChainRow]:
        """What a step would give if the open bars closed as they are."""
        tail, last = self._tails[step], self._tails[step].last
        newest = self._starts[-1] if self._starts else -1
        opened = [bar for bar in self._open if bar.ts_start > newest]
        if not self._is_known(tail, opened):
            return
        state = tail.state(self._closes)
        bars = last.bars + len(self._starts) - bisect_right(self._starts, last.ts_start)
        revision = last.revision if last.bars else sum(self._revisions)
        for bar in opened:
            state, values = tail.step.on_event(state, bar.close)
            if bar.ts_start > last.ts_start:
                bars += 1
                if values is not None:
                    yield ChainRow(bar.ts_start, values, bars, revision + bar.revision)

    def _is_known(self, tail: Tail, opened: Sequence[Bar]) -> bool:
        """Whether the bars say the state of the chain, and its newest row how many it has."""
        last = tail.last
        if not last.bars:
            return 0 < len(self._starts) <= tail.step.lookback  # a chain begins with a closed bar
        place = bisect_right(self._starts, last.ts_start)
        if place and self._starts[place - 1] == last.ts_start:
            tail.begin(max(0, place - last.bars))
        had = place + sum(bar.ts_start <= last.ts_start for bar in opened)
        return had > 0 and (last.bars <= had or len(self._starts) >= settles(tail.step))
