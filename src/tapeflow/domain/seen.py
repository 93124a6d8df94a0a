"""Which counting ids of a symbol have been seen: sorted, disjoint ranges, so a repeat is known whenever it comes."""

from __future__ import annotations

from bisect import bisect_right
from enum import IntEnum

import msgspec

#: Ranges kept for one symbol. A range is a run of ids without a hole, so a healthy feed needs one.
RANGE_LIMIT = 1 << 17


class Verdict(IntEnum):
    """What `Seen.add` found. Only NEW changes anything."""

    NEW = 0
    #: Every id was seen before.
    DUPLICATE = 1
    #: Some of the ids were seen and some not (an aggregate that straddles trades already counted).
    OVERLAP = 2
    #: So old that its range was given up for the bound on memory: new and duplicate cannot be told apart.
    FORGOTTEN = 3


class Range(msgspec.Struct, array_like=True):
    """Ids ``lo..hi``, all seen, and the event times of the two ends."""

    lo: int
    hi: int
    ts_lo: int
    ts_hi: int


class SeenState(msgspec.Struct):
    """The snapshot of one symbol."""

    floor: int
    ranges: list[Range]


class Seen:
    """Ranges of ids seen, per symbol. At most ``limit`` ranges each; beyond it the lowest range is given up."""

    def __init__(self, limit: int = RANGE_LIMIT) -> None:
        self.limit = limit
        self._symbols: dict[str, SeenState] = {}

    def add(self, symbol: str, lo: int, hi: int, ts: int) -> Verdict:
        """Take note of ids ``lo..hi`` at time ``ts``."""
        state = self._symbols.get(symbol)
        if state is None:
            state = self._symbols[symbol] = SeenState(0, [])
        ranges = state.ranges
        if ranges and ranges[-1].hi + 1 == lo:
            ranges[-1].hi, ranges[-1].ts_hi = hi, ts
            return Verdict.NEW
        if lo < state.floor:
            return Verdict.FORGOTTEN
        at = bisect_right(ranges, lo, key=lambda r: r.lo)
        before = ranges[at - 1] if at else None
        after = ranges[at] if at < len(ranges) else None
        if before is not None and before.hi >= lo:
            return Verdict.DUPLICATE if before.hi >= hi else Verdict.OVERLAP
        if after is not None and after.lo <= hi:
            return Verdict.OVERLAP
        self._insert(state, at, Range(lo, hi, ts, ts))
        return Verdict.NEW

    def _insert(self, state: SeenState, at: int, new: Range) -> None:
        ranges = state.ranges
        if at < len(ranges) and ranges[at].lo == new.hi + 1:
            new.hi, new.ts_hi = ranges[at].hi, ranges[at].ts_hi
            del ranges[at]
        if at and ranges[at - 1].hi + 1 == new.lo:
            ranges[at - 1].hi, ranges[at - 1].ts_hi = new.hi, new.ts_hi
            return
        ranges.insert(at, new)
        if len(ranges) > self.limit:
            state.floor = ranges[0].hi + 1
            del ranges[0]

    def covers(self, symbol: str, lo: int, hi: int) -> bool:
        """True if every one of ``lo..hi`` was seen."""
        state = self._symbols.get(symbol)
        if state is None:
            return False
        at = bisect_right(state.ranges, lo, key=lambda r: r.lo)
        return at > 0 and state.ranges[at - 1].hi >= hi

    def ranges(self, symbol: str) -> list[Range]:
        state = self._symbols.get(symbol)
        return state.ranges if state else []

    def forget(self, symbol: str) -> None:
        """Begin anew with a symbol (its source of trades has changed)."""
        self._symbols.pop(symbol, None)

    def state(self, symbol: str) -> SeenState:
        """The state of one symbol as a value."""
        return self._symbols.get(symbol) or SeenState(0, [])

    def become(self, symbol: str, state: SeenState) -> None:
        """Take over the state of one symbol."""
        self._symbols[symbol] = state
