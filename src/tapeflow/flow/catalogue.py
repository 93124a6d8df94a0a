"""The flows Tapeflow brings along."""

from __future__ import annotations

from collections.abc import Iterable

from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow

INTERVALS = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "4h", "1d")
INDICATORS = ("sma_20", "ema_20", "rsi_14", "macd_12_26_9", "bollinger_20_2")

#: Channels that every run can write, whatever the flow.
ALWAYS = ("coverage", "late", "quarantine")

#: The channels of the default flow, in the order of the contract.
CHANNELS = (
    "trades", "quotes", "book", "tickers", "klines", "candles", "moving_average", "indicators", *ALWAYS
)  # fmt: skip


def default(intervals: Iterable[str] = INTERVALS, channels: Iterable[str] = CHANNELS) -> Flow:
    """The flow of the contract's defaults, with only what ``channels`` need."""
    wanted = set(channels)
    flow = Builder("default")
    trades = flow.trades()
    if wanted & {"candles", "indicators"}:
        candles = trades.candles(*intervals)
        if "indicators" in wanted:
            for name in INDICATORS:
                candles.indicator(name)
    if "moving_average" in wanted:
        trades.moving_average("3s", "500ms")
    if "quotes" in wanted:
        flow.quotes()
    if "book" in wanted:
        flow.book(20)
    if "klines" in wanted or "candles" in wanted:
        flow.klines()
    if "tickers" in wanted:
        flow.tickers()
    return flow.build()
