"""Decimal text and back without loss; every float the nearest one."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.number import (
    INT64_MAX,
    INT128_MAX,
    decimal_text,
    mantissa,
    ratio,
    signed_mantissa,
    to_float,
    wide_mantissa,
)

scales = st.integers(0, 18)
wide = st.integers(0, INT128_MAX)


@given(st.integers(0, INT64_MAX), scales)
def test_text_round_trips(value, scale):
    text = decimal_text(value, scale)
    assert mantissa(text, scale) == value
    assert Fraction(text) == Fraction(value, 10**scale)


@given(st.integers(-INT128_MAX, INT128_MAX), scales)
def test_signed_text_is_canonical(value, scale):
    text = decimal_text(value, scale)
    assert signed_mantissa(text, scale) == value
    assert Fraction(text) == Fraction(value, 10**scale)
    assert re.fullmatch(r"0|-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", text)
    assert text != "-0"


@given(st.integers(0, 10**12), st.integers(0, 8), st.integers(0, 8), st.integers(0, 6))
def test_needless_zeros_change_nothing(value, scale, finer, zeros):
    text = f"{Decimal(value).scaleb(-scale):f}"
    text = "0" * zeros + (text if "." in text else text + ".0") + "0" * zeros
    assert wide_mantissa(text, scale + finer) == value * 10**finer


@given(wide, scales)
def test_to_float_is_the_nearest(value, scale):
    assert to_float(value, scale) == float(Fraction(value, 10**scale))


def test_a_mantissa_divided_in_float64_is_not_the_nearest():
    value = 9007199254740993
    assert to_float(value, 8) == float(Fraction(value, 10**8)) != float(value) / 1e8


@given(wide, scales, st.integers(1, INT128_MAX), scales)
def test_ratio_is_the_quotient_of_the_nearest(numerator, numerator_scale, denominator, denominator_scale):
    expected = float(Fraction(numerator, 10**numerator_scale)) / float(Fraction(denominator, 10**denominator_scale))
    assert ratio(numerator, numerator_scale, denominator, denominator_scale) == expected


DAMAGED = [
    "",
    " ",
    "1 ",
    " 1",
    "1\n",
    "+1",
    "1e5",
    "1E5",
    ".5",
    "5.",
    ".",
    "1.2.3",
    "1,5",
    "0x1",
    "nan",
    "inf",
    "\u0661",
]


@pytest.mark.parametrize("text", [*DAMAGED, "-1", "9" * 65, "1_0", "--1"])
def test_damage_is_not_a_decimal(text):
    for read in (mantissa, wide_mantissa):
        with pytest.raises(Unreadable) as caught:
            read(text, 8)
        assert caught.value.reason == "not_a_decimal"


@pytest.mark.parametrize("text", [*DAMAGED, "--1", "-", "-.5", "-+1"])
def test_damage_is_not_a_signed_decimal(text):
    with pytest.raises(Unreadable) as caught:
        signed_mantissa(text, 8)
    assert caught.value.reason == "not_a_decimal"


@pytest.mark.parametrize(("text", "scale"), [("0.123456789", 8), ("1.5", 0), ("0.00000000000000001", 16)])
def test_too_fine(text, scale):
    with pytest.raises(Unreadable) as caught:
        mantissa(text, scale)
    assert caught.value.reason == "number_too_fine"


def test_bounds():
    assert mantissa("92233720368.54775807", 8) == INT64_MAX
    assert wide_mantissa(str(INT128_MAX), 0) == INT128_MAX
    for read, text in ((mantissa, "92233720368.54775808"), (wide_mantissa, str(INT128_MAX + 1))):
        with pytest.raises(Unreadable) as caught:
            read(text, 8)
        assert caught.value.reason == "number_too_large"
    assert wide_mantissa("92233720368.54775808", 8) == INT64_MAX + 1


def test_signs():
    assert signed_mantissa("-94.99999800", 8) == -9499999800
    assert signed_mantissa("-0", 8) == 0
    assert decimal_text(-1, 8) == "-0.00000001"
