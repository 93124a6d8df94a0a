"""Exact numbers: decimal text to integer mantissas and back, and correctly rounded ratios.

A price or size is a *mantissa* (``int``) with a *scale* (digits after the point): ``"64123.45"`` at scale 8 is
``6412345000000``. A single value fits int64; sums and products are Python integers here and 128-bit in the
compiled kernel, so nothing ever wraps or drifts.
"""

from __future__ import annotations

import re

from tapeflow.domain.errors import Unreadable

INT64_MAX = 2**63 - 1
INT128_MAX = 2**127 - 1

_SIGNED = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_POWERS: tuple[int, ...] = tuple(10**n for n in range(40))


def mantissa(text: str, scale: int) -> int:
    """The exact mantissa of the non-negative decimal ``text`` at ``scale``; raises `Unreadable`.

    No sign, exponent, space or bare point is accepted: venues write none, so one is a sign of damage. Digits
    beyond the scale must be zero (``number_too_fine``); the result fits int64 (``number_too_large``).
    """
    value = wide_mantissa(text, scale)
    if value > INT64_MAX:
        raise Unreadable("number_too_large", f"{text!r} does not fit 64 bits at scale {scale}")
    return value


def wide_mantissa(text: str, scale: int) -> int:
    """As `mantissa`, for totals: bounded by 128 bits and not by 64."""
    whole, point, fraction = text.partition(".")
    if not whole.isdigit() or (point and not fraction.isdigit()) or not text.isascii() or len(text) > 64:
        raise Unreadable("not_a_decimal", f"expected digits with an optional fraction, got {text[:40]!r}")
    if len(fraction) > scale:
        if fraction[scale:].strip("0"):
            raise Unreadable("number_too_fine", f"{text!r} has more than {scale} decimals")
        fraction = fraction[:scale]
    value = int(whole + fraction) * _POWERS[scale - len(fraction)]
    if value > INT128_MAX:
        raise Unreadable("number_too_large", f"{text!r} does not fit 128 bits at scale {scale}")
    return value


def signed_mantissa(text: str, scale: int) -> int:
    """As `wide_mantissa`, with an optional minus sign (a price change can be negative)."""
    if len(text) > 65 or _SIGNED.fullmatch(text) is None:
        raise Unreadable("not_a_decimal", f"expected a decimal, got {text[:40]!r}")
    return -wide_mantissa(text[1:], scale) if text[0] == "-" else wide_mantissa(text, scale)


def decimal_text(value: int, scale: int) -> str:
    """The canonical text of a mantissa: no exponent, no needless zeros.

    >>> decimal_text(6412345000000, 8), decimal_text(0, 8), decimal_text(-5, 1)
    ('64123.45', '0', '-0.5')
    """
    if value < 0:
        return "-" + decimal_text(-value, scale)
    whole, fraction = divmod(value, _POWERS[scale])
    if not fraction:
        return str(whole)
    return f"{whole}.{fraction:0{scale}d}".rstrip("0")


def to_float(value: int, scale: int) -> float:
    """The float64 nearest to the exact value. (Python divides integers with correct rounding, above 2**53 too.)"""
    return value / _POWERS[scale]


def ratio(numerator: int, numerator_scale: int, denominator: int, denominator_scale: int) -> float:
    """The float64 nearest to the exact numerator divided by the float64 nearest to the exact denominator.

    This is the contract's definition of every mean and ratio. The denominator must not be zero.

    >>> ratio(300, 2, 2, 0)
    1.5
    """
    return to_float(numerator, numerator_scale) / to_float(denominator, denominator_scale)
