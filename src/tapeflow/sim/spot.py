"""A market that can be asked for anything at any time, before or after: a function of (seed, symbol, rate) and time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec
import numpy as np

from tapeflow.domain.time import MINUTE
from tapeflow.sim.block import Block, Maker
from tapeflow.sim.calendar import ORIGIN, Calendar
from tapeflow.sim.candle import Candle, Minutes, candle_of, merged
from tapeflow.sim.depth import ASK, BID, IDS_A_SLOT, Depth
from tapeflow.sim.spec import GROUP_AGGREGATES, GROUP_TRADES, Spec

_V = TypeVar("_V")

#: Trades of a block: the block, the place of the first and the place after the last.
Piece = tuple[Block, int, int]

#: Price and size by level, best first.
Side = dict[int, int]

_BLOCKS, _BOOKS = 12, 128


class Quote(msgspec.Struct, frozen=True):
    """Best prices and sizes from the beginning of a slot on."""

    slot: int
    bid: int
    bid_size: int
    ask: int
    ask_size: int


class Changes(msgspec.Struct, frozen=True):
    """Levels that are other than in the slot before; size 0 removes one."""

    bids: Side
    asks: Side


class SpotMarket:
    """One symbol. Every method's answer depends on its arguments only: what is kept, is kept for speed.

    It may be used by several threads.
    """

    def __init__(self, spec: Spec, seed: int) -> None:
        self.spec = spec
        self._calendar = Calendar(spec, seed)
        self._depth = Depth(spec, seed)
        self._maker = Maker(spec, seed, self._calendar, self._depth)
        self._blocks: _Kept[Block] = _Kept(self._maker.block, _BLOCKS)
        self._minutes: _Kept[Minutes] = _Kept(self._make_minutes, 100_000)
        self._books: _Kept[tuple[Side, Side]] = _Kept(self._make_book, _BOOKS)
        self._changes: _Kept[Changes] = _Kept(self._make_changes, _BOOKS)

    def is_prepared(self, ts: int) -> bool:
        """True if the block of this time is at hand."""
        return self._blocks.peek(self._calendar.block_at(ts)) is not None

    def prepare(self, ts: int) -> None:
        """Have the block of this time at hand."""
        self._blocks.get(self._calendar.block_at(ts))

    def trade_at(self, ts: int) -> int:
        """Id of the first trade at or after this time: so many have been since `ORIGIN`."""
        block = self._block_at(ts)
        return block.trade_id + int(np.searchsorted(block.times, ts))

    def aggregate_at(self, ts: int) -> int:
        """Id of the first aggregate at or after this time."""
        block = self._block_at(ts)
        place = int(np.searchsorted(block.times, ts))
        return block.aggregate_id + int(np.searchsorted(block.aggregates, place))

    def trades(self, start: int, end: int) -> Iterator[Piece]:
        """The trades in ``[start, end)``."""
        for number in range(self._calendar.block_at(start), self._calendar.block_at(end - 1) + 1):
            block = self._blocks.get(number)
            low, high = np.searchsorted(block.times, (start, end)).tolist()
            if low < high:
                yield block, low, high

    def trades_of(self, first: int, end: int) -> Iterator[Piece]:
        """The trades with ids ``first..end-1``."""
        while first < end:
            block = self._blocks.get(self._calendar.block_of_group(first // GROUP_TRADES))
            low = first - block.trade_id
            high = min(end - block.trade_id, len(block.times))
            yield block, low, high
            first = block.trade_id + high

    def aggregates_of(self, first: int, end: int) -> Iterator[Piece]:
        """Trades of the aggregates with ids ``first..end-1``."""
        while first < end:
            block = self._blocks.get(self._calendar.block_of_group(first // GROUP_AGGREGATES))
            stop = min(end - block.aggregate_id, len(block.aggregates))
            high = int(block.aggregates[stop]) if stop < len(block.aggregates) else len(block.times)
            yield block, int(block.aggregates[first - block.aggregate_id]), high
            first = block.aggregate_id + stop

    def candle(self, start: int, end: int) -> Candle | None:
        """All trades in ``[start, end)``; None if there are none."""
        whole, last = -(-start // MINUTE) * MINUTE, end // MINUTE * MINUTE
        if whole >= last:
            return merged(candle_of(*piece) for piece in self.trades(start, end))
        head = (candle_of(*piece) for piece in self.trades(start, whole)) if start < whole else ()
        tail = (candle_of(*piece) for piece in self.trades(last, end)) if last < end else ()
        return merged([*head, *self._whole_minutes(whole, last), *tail])

    def slot_at(self, ts: int) -> int:
        """The slot that this time lies in."""
        return (ts - ORIGIN) // self.spec.slot_us

    def slot_start(self, slot: int) -> int:
        """The time from which a slot's book is in force."""
        return ORIGIN + slot * self.spec.slot_us

    def update_id(self, slot: int) -> int:
        """The last update id of the book in this slot; the first is that of the slot before plus one."""
        return self._depth.update_id(slot)

    def slot_of_update(self, id: int) -> int:
        """The slot in which this update id is the last or before the last."""
        return -((self._depth.update_id(0) - id) // IDS_A_SLOT)

    def quotes(self, first: int, end: int) -> Iterator[Quote]:
        """The best prices of the slots ``first..end-1``."""
        slots = np.arange(first, end, dtype=np.int64)
        bid_sizes, ask_sizes = self._depth.best_sizes(slots)
        for at, (bid_size, ask_size) in enumerate(zip(bid_sizes.tolist(), ask_sizes.tolist(), strict=True)):
            block = self._block_at(self.slot_start(first + at))
            place = first + at - block.slot
            yield Quote(first + at, int(block.bids[place]), bid_size, int(block.asks[place]), ask_size)

    def quote(self, slot: int) -> Quote:
        """The best prices of a slot."""
        return next(self.quotes(slot, slot + 1))

    def book(self, slot: int) -> tuple[Side, Side]:
        """Bids and asks of a slot, best first."""
        return self._books.get(slot)

    def changes(self, slot: int) -> Changes:
        """What the beginning of a slot changes in the book."""
        return self._changes.get(slot)

    def _block_at(self, ts: int) -> Block:
        return self._blocks.get(self._calendar.block_at(ts))

    def _whole_minutes(self, start: int, end: int) -> Iterator[Candle | None]:
        for number in range(self._calendar.block_at(start), self._calendar.block_at(end - 1) + 1):
            begin, minutes = self._calendar.start(number), self._minutes.get(number)
            low, high = max(start, begin) - begin, min(end, begin + self.spec.block_us) - begin
            if high - low == self.spec.block_us:
                yield minutes.total
            else:
                yield minutes.candle(low // MINUTE, high // MINUTE)

    def _make_minutes(self, number: int) -> Minutes:
        block = self._blocks.peek(number) or self._maker.block(number)
        return Minutes(block, self.spec.block_us // MINUTE)

    def _make_book(self, slot: int) -> tuple[Side, Side]:
        quote = self.quote(slot)
        return (
            self._depth.side(BID, quote.bid, quote.bid_size, slot),
            self._depth.side(ASK, quote.ask, quote.ask_size, slot),
        )

    def _make_changes(self, slot: int) -> Changes:
        before, after = self.book(slot - 1), self.book(slot)
        return Changes(_difference(before[BID], after[BID]), _difference(before[ASK], after[ASK]))


def _difference(before: Side, after: Side) -> Side:
    gone = dict.fromkeys(before.keys() - after.keys(), 0)
    return gone | {price: size for price, size in after.items() if before.get(price) != size}


class _Kept(Generic[_V]):
    """The values of a function of an integer, the latest used ones kept."""

    def __init__(self, make: Callable[[int], _V], most: int) -> None:
        self._make = make
        self._most = most
        self._values: OrderedDict[int, _V] = OrderedDict()

    def get(self, number: int) -> _V:
        value = self.peek(number)
        if value is None:
            value = self._values[number] = self._make(number)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value

    def peek(self, number: int) -> _V | None:
        value = self._values.get(number)
        if value is not None:
            # Another thread may have dropped it by now.
            with suppress(KeyError):
                self._values.move_to_end(number)
        return value
