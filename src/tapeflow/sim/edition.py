"""What a venue has published of a market: from its listing to its end, with halts and with ids never issued."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tapeflow.sim.block import Block
from tapeflow.sim.candle import Candle, merged
from tapeflow.sim.spot import SpotMarket

#: Later than any time that is asked for.
FOREVER = 1 << 62


class Run(msgspec.Struct, frozen=True):
    """Trades of a block that lie together: places ``low..high-1``; ``*_shift`` makes the block's ids the venue's."""

    block: Block
    low: int
    high: int
    trade_shift: int
    aggregate_shift: int


class _Stretch(msgspec.Struct, frozen=True):
    """A time in which the market was open, and by how much ids differ from the market's own."""

    start: int
    end: int
    trade_shift: int
    aggregate_shift: int


class Edition:
    """One symbol as its venue knows it. Trades in a halt never were: the ids after it go on where it began."""

    def __init__(self, market: SpotMarket, listed: int) -> None:
        self.market = market
        self.spec = market.spec
        self.listed = listed
        self.ended = FOREVER
        self.halts: list[tuple[int, int]] = []
        self._skips: list[tuple[int, int]] = []
        self._stretches = [_Stretch(listed, FOREVER, 0, 0)]

    def halt(self, start: int, end: int) -> None:
        """No trades in ``[start, end)``."""
        self.halts.append((start, end))
        self._lay_out()

    def resume(self, at: int) -> None:
        """A halt under way ends at this time."""
        self.halts = [(start, max(start, min(end, at)) if start <= at else end) for start, end in self.halts]
        self._lay_out()

    def skip(self, at: int, count: int) -> None:
        """From this time on, ids of trades are greater by ``count``: so many are never issued."""
        self._skips.append((at, count))
        self._lay_out()

    @property
    def skipped(self) -> int:
        """How many ids were never issued."""
        return sum(count for _, count in self._skips)

    def end(self, at: int) -> None:
        """No trades from this time on."""
        self.ended = min(self.ended, at)
        self._lay_out()

    def is_trading(self, at: int) -> bool:
        """True if the market is open at this time."""
        return any(stretch.start <= at < stretch.end for stretch in self._stretches)

    def open_at(self, at: int) -> int:
        """This time, or if the market is closed then, the last time before at which it was open."""
        return max([min(at, stretch.end - 1) for stretch in self._stretches if stretch.start <= at], default=at)

    def trades(self, start: int, end: int) -> Iterator[Run]:
        """The trades in ``[start, end)``."""
        for stretch in self._stretches:
            low, high = max(start, stretch.start), min(end, stretch.end)
            if low < high:
                for block, first, stop in self.market.trades(low, high):
                    yield Run(block, first, stop, stretch.trade_shift, stretch.aggregate_shift)

    def trades_of(self, first: int, limit: int, until: int) -> Iterator[Run]:
        """Up to ``limit`` trades from the id ``first`` on, before the time ``until``."""
        for stretch in self._stretches:
            if limit <= 0 or stretch.start >= until:
                return
            low = max(first - stretch.trade_shift, self.market.trade_at(stretch.start))
            high = min(low + limit, self.market.trade_at(min(until, stretch.end)))
            for block, start, stop in self.market.trades_of(low, high):
                yield Run(block, start, stop, stretch.trade_shift, stretch.aggregate_shift)
            limit -= max(0, high - low)

    def aggregates_of(self, first: int, limit: int, until: int) -> Iterator[Run]:
        """Trades of up to ``limit`` aggregates from the id ``first`` on, before the time ``until``."""
        for stretch in self._stretches:
            if limit <= 0 or stretch.start >= until:
                return
            low = max(first - stretch.aggregate_shift, self.market.aggregate_at(stretch.start))
            high = min(low + limit, self.market.aggregate_at(min(until, stretch.end)))
            for block, start, stop in self.market.aggregates_of(low, high):
                yield Run(block, start, stop, stretch.trade_shift, stretch.aggregate_shift)
            limit -= max(0, high - low)

    def next_trade(self, at: int) -> int:
        """The id that the first trade at or after this time has."""
        opened = self._stretch_at(at)
        return self.market.trade_at(min(max(at, opened.start), opened.end)) + opened.trade_shift

    def next_aggregate(self, at: int) -> int:
        """The id that the first aggregate at or after this time has."""
        opened = self._stretch_at(at)
        return self.market.aggregate_at(min(max(at, opened.start), opened.end)) + opened.aggregate_shift

    def candle(self, start: int, end: int) -> Candle | None:
        """All trades in ``[start, end)``; None if there are none."""
        parts = []
        for stretch in self._stretches:
            low, high = max(start, stretch.start), min(end, stretch.end)
            part = self.market.candle(low, high) if low < high else None
            if part is not None and stretch.trade_shift:
                first, last = part.first_id + stretch.trade_shift, part.last_id + stretch.trade_shift
                part = msgspec.structs.replace(part, first_id=first, last_id=last)
            parts.append(part)
        return merged(parts)

    def last_price(self, at: int) -> int | None:
        """The price of the last trade before this time, in ticks; None if there is none since the listing."""
        for stretch in reversed(self._stretches):
            high = min(at, stretch.end)
            if stretch.start < high:
                last = self.market.trade_at(high) - 1
                if last >= self.market.trade_at(stretch.start):
                    block, low, _ = next(self.market.trades_of(last, last + 1))
                    return int(block.prices[low])
        return None

    def _stretch_at(self, at: int) -> _Stretch:
        """The stretch of this time, or the one that opens next, or the last one."""
        return next((stretch for stretch in self._stretches if at < stretch.end), self._stretches[-1])

    def _lay_out(self) -> None:
        """Make the stretches anew from the halts, the skips and the end."""
        edges = {self.listed, self.ended, *(at for at, _ in self._skips)}
        edges.update(edge for halt in self.halts for edge in halt)
        times = sorted(edge for edge in edges if self.listed <= edge <= self.ended)
        trade_shift = aggregate_shift = 0
        stretches = []
        for start, end in zip(times, [*times[1:], self.ended], strict=True):
            trade_shift += sum(count for at, count in self._skips if at == start)
            if start >= end:
                continue
            if any(low <= start < high for low, high in self.halts):
                trade_shift -= self.market.trade_at(end) - self.market.trade_at(start)
                aggregate_shift -= self.market.aggregate_at(end) - self.market.aggregate_at(start)
            else:
                stretches.append(_Stretch(start, end, trade_shift, aggregate_shift))
        self._stretches = stretches or [_Stretch(self.listed, self.listed, 0, 0)]
