"""A simulated market of one symbol: takers, makers and the book between them, consistent to the last digit."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tapeflow.domain.book import OrderBook
from tapeflow.domain.events import BookDelta, BookSnapshot, Levels, Quote, Side, Trade
from tapeflow.domain.time import MILLISECOND, SECOND
from tapeflow.sim.chance import Chance

#: Digits after the point of every price and size.
SCALE = 8
_ONE = 10**SCALE

_BID, _ASK = 0, 1

#: Levels on each side of the book.
_LEAST_LEVELS = 20
_MOST_LEVELS = 60

#: The usual intensity; ``heat`` moves around it, and trades and orders come ``heat / _USUAL`` times as often.
_USUAL = 64


class Profile(msgspec.Struct, frozen=True):
    """What makes one market unlike another. Prices and sizes are mantissas; a size is a multiple of ``step``."""

    symbol: str
    price: int
    tick: int
    step: int
    #: About the distance of two levels of the book, in ticks: the size of the price's usual move.
    gap: int
    #: Mean size of a level, in steps; a taker's order is a third of it.
    size: int
    #: Mean time between takers' orders, and between makers' (microseconds).
    taker_us: int
    maker_us: int
    trade_id: int
    update_id: int


_KNOWN = {
    "BTCUSDT": (87_500 * _ONE, _ONE // 100, _ONE // 100_000, 300, 6_000),
    "ETHUSDT": (2_970 * _ONE, _ONE // 100, _ONE // 10_000, 12, 12_000),
    "SOLUSDT": (125 * _ONE, _ONE // 100, _ONE // 1_000, 2, 30_000),
}
_UNKNOWN = (4 * _ONE, _ONE // 10_000, _ONE // 10, 2, 5_000)


def profile(symbol: str, rank: int) -> Profile:
    """The market of the symbol with this rank of activity: 0 trades most, 1 a quarter as often, 2 a ninth.

    Ids of different ranks lie in ranges that never meet, so an id alone tells the symbol.
    """
    price, tick, step, gap, size = _KNOWN.get(symbol, _UNKNOWN)
    slower = (rank + 1) ** 2
    return Profile(
        symbol=symbol,
        price=price,
        tick=tick,
        step=step,
        gap=gap,
        size=size,
        taker_us=150 * MILLISECOND * slower,
        maker_us=40 * MILLISECOND * slower,
        trade_id=(rank + 1) * 1_000_000_000,
        update_id=(rank + 1) * 100_000_000_000,
    )


class Market:
    """One symbol. Every change of a level has the next update id, every fill the next trade id.

    Activity comes in clusters and takers lean to one side for a while, so the price has calm and hectic times. It is
    drawn back to where it began, so that a market may run for ever.
    """

    def __init__(self, profile: Profile, seed: int, start_us: int) -> None:
        self.profile = profile
        self._chance = Chance(seed, profile.symbol)
        self._book = OrderBook()
        self._book.id = profile.update_id
        self._trade_id = profile.trade_id
        self._changed: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._sent_id = profile.update_id
        self._heat = _USUAL
        self._lean = 0
        self._mood_us = start_us
        self._taker_us = start_us + self._chance.exponential(profile.taker_us)
        self._maker_us = start_us + self._chance.exponential(profile.maker_us)
        self._open()
        self._tops = self._top(_BID), self._top(_ASK)

    @property
    def has_changed(self) -> bool:
        """True if the book changed since the last `delta`."""
        return self._book.id > self._sent_id

    def advance(self, end_us: int) -> Iterator[Trade | Quote]:
        """All trades and changes of the best prices before ``end_us``, in order of time."""
        while (now := min(self._taker_us, self._maker_us)) < end_us:
            self._change_mood(now)
            if now == self._taker_us:
                yield from self._take(now)
                self._taker_us = now + 1 + self._wait(self.profile.taker_us)
            else:
                self._make()
                self._maker_us = now + 1 + self._wait(self.profile.maker_us)
            self._keep_depth()
            yield from self._quote(now)

    def delta(self, ts: int) -> BookDelta | None:
        """The levels that changed since the last call, as one event at ``ts``; None if none did."""
        if not self.has_changed:
            return None
        bids, asks = self._changed
        first, last = self._sent_id + 1, self._book.id
        event = BookDelta(
            self.profile.symbol, first, last, tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items())), ts
        )
        bids.clear()
        asks.clear()
        self._sent_id = last
        return event

    def snapshot(self) -> BookSnapshot:
        """The whole book as it is now."""
        return BookSnapshot(self.profile.symbol, self._book.id, self._book.bids(), self._book.asks())

    def _open(self) -> None:
        """Set the first book: no delta tells it, the answer with the whole book does."""
        self._set(_BID, self.profile.price)
        self._set(_ASK, self.profile.price + self.profile.tick)
        self._keep_depth()
        self.delta(0)

    def _change_mood(self, now: int) -> None:
        """Once a second: the heat cools down or flares up, and takers lean elsewhere."""
        while self._mood_us <= now:
            self._mood_us += SECOND
            self._heat += (_USUAL - self._heat) // 16
            if self._chance.hits(15):
                self._heat = min(self._heat + self._chance.exponential(3 * _USUAL), 16 * _USUAL)
            self._lean = self._lean * 7 // 8 + self._chance.below(121) - 60

    def _wait(self, mean_us: int) -> int:
        return self._chance.exponential(mean_us * _USUAL // self._heat)

    def _take(self, now: int) -> Iterator[Trade]:
        """One taker's order: up to three fills from the best price on."""
        side = _ASK if self._chance.hits(500 + self._lean + self._pull()) else _BID
        wanted = self._steps(self.profile.size // 3)
        for _ in range(3):
            price, size = self._top(side)
            taken = min(wanted, size)
            yield self._trade(side, price, taken, now)
            self._set(side, price, size - taken)
            if taken == size:
                self._keep_depth()
                self._close_up(_BID if side == _ASK else _ASK)
            wanted -= taken
            if not wanted:
                return

    def _trade(self, side: int, price: int, size: int, now: int) -> Trade:
        self._trade_id += 1
        number = self._trade_id
        taker: Side = "buy" if side == _ASK else "sell"
        return Trade(self.profile.symbol, number, price, size, taker, _to_ms(now), MILLISECOND, number, number)

    def _pull(self) -> int:
        """The permille by which the way back to the first price is preferred: 500 at a tenth away from it."""
        away = self._top(_BID)[0] - self.profile.price
        return max(-500, min(500, -5000 * away // self.profile.price))

    def _close_up(self, side: int) -> None:
        """When takers have eaten up a price, makers of the other side mostly follow to the new best one."""
        if self._chance.hits(800):
            other = self._top(_ASK if side == _BID else _BID)[0]
            self._place(side, _away(side, other, self.profile.tick * (1 + self._chance.below(2))))

    def _make(self) -> None:
        """One maker's order: a level gets another size, a new level appears, or one goes."""
        side = self._chance.below(2)
        choice = self._chance.below(100)
        if choice < 60:
            at = min(self._chance.exponential(4), _LEAST_LEVELS - 1)
            self._set(side, self._levels(side, at + 1)[-1][0])
        elif choice < 75:
            levels = self._levels(side)
            self._set(side, levels[self._chance.below(len(levels))][0], 0)
        elif choice < 95:
            self._scatter(side)
        else:
            self._place(side, _away(side, self._top(side)[0], -self.profile.tick))

    def _place(self, side: int, price: int) -> None:
        """A level at this price, unless it would meet the other side's."""
        bid = price if side == _BID else self._top(_BID)[0]
        ask = price if side == _ASK else self._top(_ASK)[0]
        if bid < ask:
            self._set(side, price)

    def _scatter(self, side: int) -> None:
        """A level somewhere behind the best one, near it more often than far from it."""
        ticks = 1 + self._chance.exponential(self.profile.gap * _LEAST_LEVELS)
        self._set(side, _away(side, self._top(side)[0], ticks * self.profile.tick))

    def _keep_depth(self) -> None:
        """Neither side runs out of levels, and what the price has left far behind is dropped."""
        for side in (_BID, _ASK):
            for price, _ in self._levels(side)[_MOST_LEVELS:]:
                self._set(side, price, 0)
            while len(self._levels(side, _LEAST_LEVELS)) < _LEAST_LEVELS:
                self._scatter(side)

    def _levels(self, side: int, depth: int | None = None) -> Levels:
        return self._book.bids(depth) if side == _BID else self._book.asks(depth)

    def _top(self, side: int) -> tuple[int, int]:
        return self._levels(side, 1)[0]

    def _steps(self, mean: int) -> int:
        return (1 + self._chance.exponential(mean)) * self.profile.step

    def _set(self, side: int, price: int, size: int | None = None) -> None:
        """One change of the book: this level has this size (a random one for None), 0 removes it."""
        size = self._steps(self.profile.size) if size is None else size
        level = ((price, size),)
        self._book.apply(self._book.id + 1, level if side == _BID else (), level if side == _ASK else ())
        self._changed[side][price] = size

    def _quote(self, now: int) -> Iterator[Quote]:
        """The best prices, if they or their sizes changed."""
        tops = self._top(_BID), self._top(_ASK)
        if tops != self._tops:
            self._tops = tops
            yield Quote(self.profile.symbol, self._book.id, *tops[0], *tops[1], _to_ms(now))


def _away(side: int, price: int, distance: int) -> int:
    """The price so much farther from the middle."""
    return price - distance if side == _BID else price + distance


def _to_ms(ts: int) -> int:
    return ts - ts % MILLISECOND
