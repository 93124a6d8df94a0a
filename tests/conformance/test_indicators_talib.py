"""The indicators that TA-Lib has equal it: the same masks, and values to 1e-9, on every series of the kit."""

import numpy as np
import pytest
import talib
from talib import stream

from tapeflow import indicators
from tapeflow.testing.indicators import golden, random_walk, run, series

#: kind -> the TA-Lib functions of its fields, in their order.
REFERENCE = {
    "sma": lambda api, x, i: [api.SMA(x, i.n)],
    "ema": lambda api, x, i: [api.EMA(x, i.n)],
    "rsi": lambda api, x, i: [api.RSI(x, i.n)],
    "macd": lambda api, x, i: api.MACD(x, i.fast, i.slow, i.signal),
    "bollinger": lambda api, x, i: api.BBANDS(x, i.n, i.k, i.k),
    "linreg": lambda api, x, i: [
        f(x, i.n) for f in (api.LINEARREG, api.LINEARREG_SLOPE, api.LINEARREG_INTERCEPT, api.TSF)
    ],
}
NAMES = [
    *("sma_20", "ema_20", "rsi_14", "macd_12_26_9", "bollinger_20_2", "linreg_14"),
    *("sma_1", "sma_7", "ema_1", "ema_12", "ema_200", "rsi_2", "rsi_7", "macd_2_3_1", "macd_5_35_5"),
    *("bollinger_10_1.9", "bollinger_2_0.5", "linreg_2", "linreg_100"),
]
SERIES = {
    **series(300),
    "jump, then flat for long": [100.0] * 20 + [101.0] * 980,
    "up, then flat": random_walk(4, 50) + [99.0] * 1000,
    **{f"random walk {seed}": random_walk(seed, 1000, 3e4, 0.01) for seed in range(20, 25)},
    **{f"noise {scale:g}": [scale * (1 + 1e-3 * (i * 7919 % 101)) for i in range(400)] for scale in (1e-8, 1e-5, 1e8)},
}


def ours(indicator, closes):
    nothing = dict.fromkeys(indicator.fields, np.nan)
    rows = [row or nothing for row in run(indicator, closes)]
    return {field: np.array([row[field] for row in rows]) for field in indicator.fields}


def assert_equal(indicator, closes):
    closes = np.array(closes)
    theirs = REFERENCE[indicator.kind](talib, closes, indicator)
    for (field, found), expected in zip(ours(indicator, closes.tolist()).items(), theirs, strict=True):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=field)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * abs(closes).max(), err_msg=field)


def test_reference_is_the_pinned_one():
    assert tuple(map(int, talib.__version__.split(".")[:2])) >= (0, 8)
    assert set(REFERENCE) <= set(indicators.names())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("label", SERIES)
def test_series(name, label):
    assert_equal(indicators.parse(name), SERIES[label])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_lookback(name, extra):
    indicator = indicators.parse(name)
    if indicator.lookback + extra:
        assert_equal(indicator, random_walk(9, indicator.lookback + extra))


@pytest.mark.parametrize("name", NAMES)
def test_streaming_handles(name):
    indicator = indicators.parse(name)
    closes = random_walk(31, indicator.lookback + 200)
    head = indicator.lookback + 1
    handles = REFERENCE[indicator.kind](stream, np.array(closes[:head]), indicator)
    handles = handles if isinstance(handles, list) else [handles]
    for close, row in zip(closes[head:], run(indicator, closes)[head:], strict=True):
        updates = [handle.update(close) for handle in handles]
        expected = updates[0] if isinstance(updates[0], tuple) else updates
        assert list(row.values()) == pytest.approx(list(expected), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize(("name", "field"), [("ema_20", "ema"), ("ema_3", "ema"), ("macd_12_26_9", "macd")])
@pytest.mark.parametrize("seed", range(3))
def test_bit_for_bit(name, field, seed):
    """The averages do TA-Lib's operations in TA-Lib's order. (Its signal line is compiled to fused operations.)"""
    indicator = indicators.parse(name)
    closes = random_walk(seed, 500)
    theirs = REFERENCE[indicator.kind](talib, np.array(closes), indicator)
    np.testing.assert_array_equal(ours(indicator, closes)[field], theirs[0])


def test_rsi_of_a_market_that_died():
    """Only when the last trace of movement has underflowed is it flat, and that at the same bar."""
    assert_equal(indicators.parse("rsi_2"), [100.0] * 20 + [101.0] * 1200)


GOLDEN = [
    ("sma_20", "sma", {18: None, 19: 100.755, 39: 102.46, 59: 104.505}),
    ("ema_12", "ema", {10: None, 11: 99.9208333333, 12: 100.1407051282, 59: 105.5403129789}),
    ("ema_26", "ema", {24: None, 25: 100.8538461538, 26: 101.0461538462, 59: 104.4932413796}),
    ("rsi_14", "rsi", {13: None, 14: 56.3253012048, 15: 55.7824690225, 59: 54.9776152513}),
    ("macd_12_26_9", "macd", {32: None, 33: 0.4959044303, 34: 0.7426335475, 59: 1.0474906764}),
    ("macd_12_26_9", "signal", {32: None, 33: 0.7065273384, 34: 0.7137485802, 59: 0.7504235956}),
    ("macd_12_26_9", "hist", {32: None, 33: -0.2106229081, 34: 0.0288849673, 59: 0.2970670808}),
    ("bollinger_20_2", "upper", {18: None, 19: 104.063912208, 59: 111.2144634659}),
    ("bollinger_20_2", "middle", {18: None, 19: 100.755, 59: 104.505}),
    ("bollinger_20_2", "lower", {18: None, 19: 97.446087792, 59: 97.7955365341}),
    ("linreg_14", "slope", {12: None, 13: 0.0430769231, 59: 0.2821978022}),
    ("linreg_14", "line", {12: None, 13: 100.3942857143, 59: 106.8342857143}),
    ("linreg_14", "intercept", {12: None, 13: 99.8342857143, 59: 103.1657142857}),
    ("linreg_14", "forecast", {12: None, 13: 100.4373626374, 59: 107.1164835165}),
]


@pytest.mark.parametrize(("name", "field", "expected"), GOLDEN)
def test_golden_vector(name, field, expected):
    rows = run(indicators.parse(name), golden())
    for index, value in expected.items():
        if value is None:
            assert rows[index] is None
        else:
            assert rows[index][field] == pytest.approx(value, abs=6e-11)
