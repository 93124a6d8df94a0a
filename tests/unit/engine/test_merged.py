"""Candles of some seconds from a venue's candles of one second."""

from __future__ import annotations

from typing import Any

from tapeflow.domain.events import Kline
from tapeflow.engine.merged import merged
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Candles

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
#: Where windows of 15 s begin, after `START`, that end within 30 s of it.
WHOLE = [10]


def kline(at: int, price: int, count: int = 1, *, closed: bool = True) -> Kline:
    ts = START + at * SECOND
    values = {"volume": 10 * count, "quote_volume": 10 * count * price, "taker_buy_volume": 3 * count}
    prices = {"open": price, "high": price + 2, "low": price - 1, "close": price + 1}
    ids: dict[str, Any] = {"first_id": None, "last_id": None}
    return Kline(
        symbol="X", interval="1s", ts_start=ts, ts_end=ts + SECOND, **prices, **values, taker_buy_quote_volume=1,
        count=count, **ids, closed=closed, ts_event=ts + SECOND,
    )  # fmt: skip


def candles() -> list[Candles]:
    flow = Builder("merged")
    flow.trades().candles("1s", "5s", "15s", "1m")
    return list(flow.build().of(Candles))


def test_whole_windows_are_the_sums_and_extremes_of_their_seconds() -> None:
    seconds = [kline(at, 100 + at, count=at) for at in range(30)]  # the first second is without trades
    found = merged(seconds, candles())
    assert [(one.interval, (one.ts_start - START) // SECOND) for one in found] == (
        [("5s", at) for at in range(0, 30, 5)] + [("15s", at) for at in WHOLE]
    )
    first = found[0]
    assert (first.open, first.close, first.high, first.low) == (101, 105, 106, 100)
    assert (first.count, first.volume) == (1 + 2 + 3 + 4, 100)
    assert first.quote_volume == sum(one.quote_volume for one in seconds[:5])
    assert first.ts_end == first.ts_start + 5 * SECOND
    assert first.closed


def test_a_window_that_lacks_a_second_is_not_made() -> None:
    seconds = [kline(at, 100) for at in range(10) if at != 7]
    assert [(one.ts_start - START) // SECOND for one in merged(seconds, candles()) if one.interval == "5s"] == [0]


def test_a_window_with_an_open_second_is_open() -> None:
    seconds = [kline(at, 100, closed=at < 4) for at in range(5)]
    (one,) = merged(seconds, candles())
    assert not one.closed
