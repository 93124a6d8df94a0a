"""The venue's own candle, made from the simulated trades."""

from __future__ import annotations

from tapeflow.domain.events import Kline, Trade
from tapeflow.domain.time import MINUTE


class MinuteBar:
    """The one-minute kline of one symbol: exactly the trades added since its minute began.

    A minute without trades repeats the last close with volume 0 and no ids, as the venue does. ``quote_volume`` is
    the exact sum of price times size, at twice the scale of the prices.
    """

    def __init__(self, symbol: str, ts: int, close: int) -> None:
        self.symbol = symbol
        self._begin(ts, close)

    def _begin(self, ts: int, close: int) -> None:
        self._start = ts - ts % MINUTE
        self._open = self._high = self._low = self._close = close
        self._first_id: int | None = None
        self._last_id: int | None = None
        self._count = 0
        self._volume = self._quote_volume = 0
        self._buy_volume = self._buy_quote_volume = 0

    def add(self, trade: Trade) -> None:
        """Take in a trade of this minute."""
        price, size = trade.price, trade.size
        if self._first_id is None:
            self._first_id = trade.id
            self._open = self._high = self._low = price
        self._high = max(self._high, price)
        self._low = min(self._low, price)
        self._close = price
        self._last_id = trade.id
        self._count += 1
        self._volume += size
        self._quote_volume += price * size
        if trade.side == "buy":
            self._buy_volume += size
            self._buy_quote_volume += price * size

    def push(self, ts: int) -> Kline:
        """The candle as it stands at ``ts``; once the minute is over it is closed and the next one begins."""
        closed = ts >= self._start + MINUTE
        kline = self._kline(ts, closed=closed)
        if closed:
            self._begin(ts, self._close)
        return kline

    def _kline(self, ts: int, *, closed: bool) -> Kline:
        return Kline(
            symbol=self.symbol,
            interval="1m",
            ts_start=self._start,
            ts_end=self._start + MINUTE,
            open=self._open,
            high=self._high,
            low=self._low,
            close=self._close,
            volume=self._volume,
            quote_volume=self._quote_volume,
            taker_buy_volume=self._buy_volume,
            taker_buy_quote_volume=self._buy_quote_volume,
            count=self._count,
            first_id=self._first_id,
            last_id=self._last_id,
            closed=closed,
            ts_event=ts,
        )
