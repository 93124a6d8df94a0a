"""Sums cannot drift: ten million trades, exact to the last digit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapeflow import venues
from tapeflow.engine.columns import NONE_TIME, TRADE
from tapeflow.engine.embedded import Engine
from tapeflow.engine.kernels import COMPILED
from tapeflow.flow.builder import Builder
from tapeflow.stores.results import Results

N, BATCH, START = 10_000_000, 250_000, 1_700_000_000_000_000


def exact(values: Any) -> int:
    """The sum of int64 values as a Python integer, by halves that cannot overflow."""
    low, high = values & 0xFFFFFFFF, values >> 32
    return int(low.sum()) + (int(high.sum()) << 32)


@pytest.mark.slow
@pytest.mark.skipif(COMPILED is None, reason="the portable twin needs minutes for ten million trades")
def test_no_drift_after_ten_million_updates() -> None:
    made = Builder("drift")
    made.trades().candles("1w").indicator("sma_1")
    made.trades().moving_average("7d", "7d")
    flow = made.build()
    sink = Results(flow, "binance", ("candles", "moving_average"), price_scale=8, size_scale=8)
    engine = Engine(flow, venues.create("binance"), sink, channels=("candles", "moving_average"))
    number = engine.number_of("X")
    volume = quote = total = 0
    rng = np.random.default_rng(1)
    for first in range(0, N, BATCH):
        trades = np.zeros(BATCH, TRADE)
        ids = np.arange(first, first + BATCH)
        trades["symbol"], trades["ts_recv"] = number, NONE_TIME
        trades["id"] = trades["first_id"] = trades["last_id"] = ids
        trades["ts_event"] = START + ids
        trades["price"] = rng.integers(1, 2**52, BATCH)
        trades["size"] = rng.integers(1, 2**40, BATCH)
        engine.feed_trades(trades)
        price, size = trades["price"], trades["size"]
        volume += exact(size)
        total += exact(price)
        low, high = price & 0x3FFFFFF, price >> 26
        size_low, size_high = size & 0xFFFFF, size >> 20
        parts = (low * size_low, 0), (low * size_high, 20), (high * size_low, 26), (high * size_high, 46)
        quote += sum(exact(part) << shift for part, shift in parts)
    engine.finish()
    sink.names = engine.symbols
    (candle,) = (dict(zip(("volume", "quote_volume", "count"), values, strict=True)) for values in columns(sink))
    assert candle == {"volume": volume, "quote_volume": quote, "count": N}
    (mean,) = sink.table("moving_average").columns["mean"].tolist()
    assert mean == (total / 10**8) / N


def columns(sink: Results) -> Any:
    table = sink.table("candles").columns
    return zip(*(table[name].tolist() for name in ("volume", "quote_volume", "count")), strict=True)
