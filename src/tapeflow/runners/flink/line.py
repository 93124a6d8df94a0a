"""The bars of one symbol and interval, and all steps on them: `engine.chains` with its state kept in pieces.

The rows are those of one `Chain` for each step. What differs is where state lives: an engine that keeps state for us
gives and takes it by key, so bars are kept in *chunks* of `STRIDE` intervals of time, each with the states of the steps
before it; a new bar rewrites one chunk and the head, a revision those from its own on, and nothing needs all in memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from tapeflow.domain.step import Step

#: A chunk holds the bars of so many intervals of time.
STRIDE = 32

#: Where the price begins in a tick: behind time (18 digits) and id (19 digits).
_PRICE = 37


class Kept(Protocol):
    """Pieces of state by name."""

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, piece: bytes) -> None: ...

    def drop(self, name: str) -> None: ...


class Tick(msgspec.Struct, array_like=True, gc=False):
    """The last of some trades of a window in both orders of time, as texts that sort as it does: time, id, price."""

    fine: str
    coarse: str
    is_coarse: bool
    trades: int

    @property
    def close(self) -> float:
        """The price: times compare at milliseconds if any trade of the window came in them."""
        return float((self.coarse if self.is_coarse else self.fine)[_PRICE:])

    def merged(self, other: Tick) -> Tick:
        """The last trade of both."""
        return Tick(
            max(self.fine, other.fine),
            max(self.coarse, other.coarse),
            self.is_coarse or other.is_coarse,
            self.trades + other.trades,
        )


class Told(msgspec.Struct, array_like=True, gc=False):
    """The venue's own candle of a window: how many trades it is made of, and its close."""

    count: int
    close: float


class Part(NamedTuple):
    """What a bar is made of: trades that came on time (``revision`` 0) or one late trade (1), or the venue's candle."""

    tick: Tick | None
    revision: int
    told: Told | None = None


class Given(msgspec.Struct, array_like=True, gc=False):
    """The row that a step gave last for a bar."""

    values: tuple[float, ...]
    bars: int
    revision: int


class Bar(msgspec.Struct, array_like=True, gc=False):
    """A closed candle as steps see it, and what each of them gave for it (None while it is not defined)."""

    ts_start: int
    tick: Tick | None
    revision: int
    told: Told | None
    given: list[Given | None]

    @property
    def close(self) -> float:
        """That of the venue's candle where this counts more trades than ours, as in `engine.venue_candles`."""
        if self.told is not None and (self.tick is None or self.told.count > self.tick.trades):
            return self.told.close
        assert self.tick is not None
        return self.tick.close

    def take(self, part: Part) -> None:
        """Be made of one part more."""
        if part.tick is not None:
            self.tick = part.tick if self.tick is None else self.tick.merged(part.tick)
        if part.told is not None:
            self.told = part.told
        self.revision += part.revision


class Chunk(msgspec.Struct, array_like=True):
    """Bars of a stretch of time; how many bars and late events were before it, and the states of the steps then."""

    count: int
    late: int
    states: list[Any]
    bars: list[Bar]


class Head(msgspec.Struct, array_like=True):
    """What is known after the last bar.

    ``dirty`` is the chunk from which on rows must be computed again, ``dropped`` the start of the last bar dropped.
    """

    newest: int
    count: int
    late: int
    states: list[Any]
    dirty: int | None = None
    dropped: int = -(2**63)


class LineRow(NamedTuple):
    """One result of a step."""

    step: int
    ts_start: int
    values: tuple[float, ...]
    bars: int
    revision: int


_encode = msgspec.msgpack.Encoder().encode


class Line:
    """See the module. Nothing is kept in `Kept` before `save`."""

    def __init__(self, name: str, size_us: int, steps: Sequence[Step[float, Any]], kept: Kept) -> None:
        self._name = name
        self._span = size_us * STRIDE
        self._steps = steps
        self._kept = kept
        self._chunks: dict[int, Chunk] = {}
        self._changed: set[int] = set()
        head, order = kept.get(f"{name}/head"), kept.get(f"{name}/order")
        if head is None:
            self._head = Head(-(2**63), 0, 0, [step.zero() for step in steps])
        else:
            self._head = msgspec.msgpack.decode(head, type=Head)
            self._head.states = self._typed(self._head.states)
        self._order: list[int] = [] if order is None else msgspec.msgpack.decode(order, type=list[int])
        self._has_new_head = self._has_new_order = False

    @property
    def newest(self) -> int:
        """Start of the last bar."""
        return self._head.newest

    def _typed(self, states: list[Any]) -> list[Any]:
        """States as their steps know them."""
        return [msgspec.convert(state, type(step.zero())) for state, step in zip(states, self._steps, strict=True)]

    def _chunk(self, number: int) -> Chunk:
        chunk = self._chunks.get(number)
        if chunk is None:
            packed = self._kept.get(f"{self._name}/{number}")
            if packed is None:
                raise LookupError(f"{self._name}: chunk {number} is gone")
            chunk = msgspec.msgpack.decode(packed, type=Chunk)
            chunk.states = self._typed(chunk.states)
            self._chunks[number] = chunk
        return chunk

    # -- bars in -------------------------------------------------------------------------------------------------

    def add(self, ts_start: int, part: Part) -> list[LineRow]:
        """A candle that has just closed, later than all before; the line must not be dirty."""
        head, number = self._head, ts_start // self._span
        if not self._order or self._order[-1] != number:
            self._order.append(number)
            self._has_new_order = True
            self._chunks[number] = Chunk(head.count, head.late, list(head.states), [])
        head.newest, head.count, head.late = ts_start, head.count + 1, head.late + part.revision
        bar = Bar(ts_start, part.tick, part.revision, part.told, [None] * len(self._steps))
        rows = list(self._stepped(bar, head.states, head.count, head.late))
        self._chunk(number).bars.append(bar)
        self._changed.add(number)
        self._has_new_head = True
        return rows

    def _stepped(self, bar: Bar, states: list[Any], bars: int, late: int) -> Iterator[LineRow]:
        """Take all steps over a bar; the rows that differ from what was given."""
        close = bar.close
        for at, step in enumerate(self._steps):
            states[at], values = step.on_event(states[at], close)
            if values is None:
                continue
            found, known = tuple(values.values()), bar.given[at]
            if known is None or found != known.values or bars != known.bars:
                bar.given[at] = Given(found, bars, late)
                yield LineRow(at, bar.ts_start, found, bars, late)

    def revise(self, ts_start: int, part: Part) -> None:
        """One more part of a window that was closed before, or that lies between two that were."""
        if ts_start <= self._head.dropped:
            return  # beyond what is kept: what came after it does not change any more
        number = ts_start // self._span
        at = bisect_left(self._order, number)
        is_known = at < len(self._order) and self._order[at] == number
        if not is_known:
            self._insert(number, at)
        bars = self._chunk(number).bars
        place = bisect_left(bars, ts_start, key=lambda bar: bar.ts_start)
        if place < len(bars) and bars[place].ts_start == ts_start:
            bars[place].take(part)
        else:
            bars.insert(place, Bar(ts_start, part.tick, part.revision, part.told, [None] * len(self._steps)))
            self._head.count += 1
        self._head.late += part.revision
        self._changed.add(number)
        self._has_new_head = True
        # A chunk that is new does not know what was before it: the one before says so.
        begin = number if is_known or not at else self._order[at - 1]
        self._head.dirty = begin if self._head.dirty is None else min(begin, self._head.dirty)

    def _insert(self, number: int, at: int) -> None:
        """A chunk between others; before all of them it begins with what the first one began with."""
        first = self._chunk(self._order[0])
        count, late, states = (
            (0, 0, [step.zero() for step in self._steps]) if at else (first.count, first.late, first.states)
        )
        self._order.insert(at, number)
        self._has_new_order = True
        self._chunks[number] = Chunk(count, late, list(states), [])

    def stands(self, ts_start: int, told: Told) -> bool:
        """Whether the venue's candle counts more trades than all that is known of its window."""
        number = ts_start // self._span
        at = bisect_left(self._order, number)
        if at == len(self._order) or self._order[at] != number:
            return True
        for bar in self._chunk(number).bars:
            if bar.ts_start == ts_start:
                return told.count > max(bar.tick.trades if bar.tick else 0, bar.told.count if bar.told else 0)
        return True

    # -- rows again ----------------------------------------------------------------------------------------------

    def recompute(self) -> list[LineRow]:
        """Bring all rows from the dirty chunk on up to date; those that changed."""
        if self._head.dirty is None:
            return []
        begin = bisect_left(self._order, self._head.dirty)
        rows: list[LineRow] = []
        first = self._chunk(self._order[begin])
        count, late, states = first.count, first.late, list(first.states)
        for number in self._order[begin:]:
            chunk = self._chunk(number)
            chunk.count, chunk.late, chunk.states = count, late, list(states)
            for bar in chunk.bars:
                count, late = count + 1, late + bar.revision
                rows += self._stepped(bar, states, count, late)
            self._changed.add(number)
        self._head.states, self._head.dirty = states, None
        self._has_new_head = True
        return rows

    def prune(self, reach: int) -> None:
        """Drop the chunks that end before ``reach``, never the last."""
        if self._head.dirty is not None:
            return
        while len(self._order) > 1 and (self._order[0] + 1) * self._span <= reach:
            number = self._order.pop(0)
            self._head.dropped = self._chunk(number).bars[-1].ts_start
            self._has_new_head = True
            self._chunks.pop(number, None)
            self._changed.discard(number)
            self._kept.drop(f"{self._name}/{number}")
            self._has_new_order = True

    # -- state ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Keep what has changed; only the last chunk stays in memory."""
        for number in self._changed:
            self._kept.put(f"{self._name}/{number}", _encode(self._chunks[number]))
        if self._has_new_head:
            self._kept.put(f"{self._name}/head", _encode(self._head))
        if self._has_new_order:
            self._kept.put(f"{self._name}/order", _encode(self._order))
        self._changed.clear()
        self._has_new_head = self._has_new_order = False
        last = self._order[-1] if self._order else None
        self._chunks = {number: chunk for number, chunk in self._chunks.items() if number == last}
