"""Values that can be told from the definition without a reference library."""

from fractions import Fraction
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeflow import indicators
from tapeflow.testing.indicators import run

prices = st.floats(min_value=1e-8, max_value=1e8)


def last(name, closes):
    return run(indicators.parse(name), closes)[-1]


@given(st.lists(prices, min_size=5, max_size=40))
def test_sma_is_the_correctly_rounded_sum_over_n(closes):
    exact = sum(map(Fraction, closes[-5:]))
    assert last("sma_5", closes)["sma"] == float(exact) / 5


@given(st.lists(prices, min_size=5, max_size=20))
def test_bollinger_is_the_population_deviation(closes):
    window = list(map(Fraction, closes[-5:]))
    mean = sum(window) / 5
    sigma = sqrt(sum((x - mean) ** 2 for x in window) / 5)
    values = last("bollinger_5_2", closes)
    assert values["middle"] == pytest.approx(float(mean), rel=1e-15)
    assert values["upper"] - values["lower"] == pytest.approx(4 * sigma, rel=1e-9, abs=1e-15 * max(closes))


@given(st.lists(prices, min_size=6, max_size=20))
def test_linreg_is_the_exact_line(closes):
    window = list(map(Fraction, closes[-6:]))
    slope = sum((2 * i - 5) * y for i, y in enumerate(window)) * 6 / (6 * 35)
    intercept = sum(window) / 6 - slope * Fraction(5, 2)
    values = last("linreg_6", closes)
    near = {"rel": 1e-12, "abs": 1e-14 * max(closes)}
    assert values["slope"] == pytest.approx(float(slope), **near)
    assert values["intercept"] == pytest.approx(float(intercept), **near)
    assert values["line"] == pytest.approx(float(intercept + 5 * slope), **near)
    assert values["forecast"] == pytest.approx(float(intercept + 6 * slope), **near)


def test_rsi_at_its_ends():
    assert last("rsi_14", [float(i) for i in range(1, 60)]) == {"rsi": 100.0}
    assert last("rsi_14", [float(60 - i) for i in range(59)]) == {"rsi": 0.0}
    assert last("rsi_14", [5.0] * 30) == {"rsi": 0.0}


def test_bands_of_tiny_prices_do_not_collapse():
    closes = [1.47e-5 + 2.5e-8 * (-1) ** i for i in range(20)]
    values = last("bollinger_20_2", closes)
    assert values["upper"] - values["middle"] == pytest.approx(5e-8, rel=1e-9)


def test_a_flat_window_has_no_slope():
    assert last("linreg_14", [0.1 + 0.2] * 20)["slope"] == 0.0
