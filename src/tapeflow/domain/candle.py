"""Candles and means as folds over trades: exact, and the same in every order of arrival."""

from __future__ import annotations

from typing import Any

import msgspec

from tapeflow.domain.number import ratio

#: Totals are kept within DECIMAL(38): beyond it a row says null instead of a wrong number.
TOTAL_LIMIT = 10**38

#: Greatest notional of one trade, as a mantissa; a larger one is damage and is quarantined.
NOTIONAL_LIMIT = 10**32


class StampedTrade(msgspec.Struct, frozen=True, gc=False):
    """A unique trade and its symbol's watermark as it stood when the trade came (None: nothing was known yet)."""

    symbol: int
    side: int
    coarse: int
    aggregate: int
    id: int
    first_id: int
    last_id: int
    price: int
    size: int
    ts_event: int
    ts_recv: int | None
    ts_watermark: int | None

    @property
    def count(self) -> int:
        """An aggregate stands for all of its trades."""
        return self.last_id - self.first_id + 1


#: A price with its place in the order of events: (time, first id, price).
Tick = tuple[int, int, int]


class CandleState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a window needs to know of its trades. Ticks are kept in two orders, by time in microseconds and in
    milliseconds: where a symbol's trades came in both units, times compare at the coarser one, then by id.
    """

    count: int
    high: int
    low: int
    volume: int
    quote_volume: int
    taker_buy_volume: int
    open: Tick
    close: Tick
    coarse_open: Tick
    coarse_close: Tick
    coarse: bool
    overflow: bool


class CandleFold:
    """Open, high, low, close, volumes and count of a window's trades.

    Open is the price of the least ``(ts_event, id)``, close of the greatest, whatever the order of arrival; sums
    are exact. ``vwap`` and ``quote_volume`` are None where a total would not fit 38 digits.
    """

    name = "candle"
    state_type = CandleState

    def __init__(self, price_scale: int = 8, size_scale: int = 8) -> None:
        self.price_scale = price_scale
        self.size_scale = size_scale

    def zero(self) -> CandleState | None:
        return None

    def add(self, state: CandleState | None, event: StampedTrade) -> CandleState:
        return self._merge(state, self._one(event))

    def _one(self, trade: StampedTrade) -> CandleState:
        tick = (trade.ts_event, trade.first_id, trade.price)
        coarse = (trade.ts_event // 1000, trade.first_id, trade.price)
        return CandleState(
            count=trade.count,
            high=trade.price,
            low=trade.price,
            volume=trade.size,
            quote_volume=trade.price * trade.size,
            taker_buy_volume=0 if trade.side else trade.size,
            open=tick,
            close=tick,
            coarse_open=coarse,
            coarse_close=coarse,
            coarse=bool(trade.coarse),
            overflow=False,
        )

    def merge(self, left: CandleState | None, right: CandleState | None) -> CandleState | None:
        return left if right is None else self._merge(left, right)

    def _merge(self, left: CandleState | None, right: CandleState) -> CandleState:
        if left is None:
            return right
        volume = left.volume + right.volume
        quote_volume = left.quote_volume + right.quote_volume
        over = quote_volume >= TOTAL_LIMIT
        return CandleState(
            count=left.count + right.count,
            high=max(left.high, right.high),
            low=min(left.low, right.low),
            volume=volume,
            quote_volume=quote_volume,
            taker_buy_volume=left.taker_buy_volume + right.taker_buy_volume,
            open=min(left.open, right.open),
            close=max(left.close, right.close),
            coarse_open=min(left.coarse_open, right.coarse_open),
            coarse_close=max(left.coarse_close, right.coarse_close),
            coarse=left.coarse or right.coarse,
            overflow=left.overflow or right.overflow or over,
        )

    def finish(self, state: CandleState | None) -> dict[str, Any]:
        if state is None:
            return {}
        exact = not state.overflow
        quote_scale = self.price_scale + self.size_scale
        return {
            "open": (state.coarse_open if state.coarse else state.open)[2],
            "high": state.high,
            "low": state.low,
            "close": (state.coarse_close if state.coarse else state.close)[2],
            "volume": state.volume,
            "quote_volume": state.quote_volume if exact else None,
            "taker_buy_volume": state.taker_buy_volume,
            "count": state.count,
            "vwap": ratio(state.quote_volume, quote_scale, state.volume, self.size_scale) if exact else None,
        }


class MeanFold:
    """The unweighted mean of the prices of a window's trades; an aggregate counts as all of its trades."""

    name = "mean"

    def __init__(self, price_scale: int = 8) -> None:
        self.price_scale = price_scale

    def zero(self) -> tuple[int, int]:
        return (0, 0)

    def add(self, state: tuple[int, int], event: StampedTrade) -> tuple[int, int]:
        return (state[0] + event.price * event.count, state[1] + event.count)

    def merge(self, left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
        return (left[0] + right[0], left[1] + right[1])

    def finish(self, state: tuple[int, int]) -> dict[str, Any]:
        total, count = state
        return {"mean": ratio(total, self.price_scale, count, 0), "count": count} if count else {}
