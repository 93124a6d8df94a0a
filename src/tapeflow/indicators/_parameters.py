"""Checks and spelling of the parameters that all indicators share."""

from __future__ import annotations

import math

from tapeflow.domain.errors import SettingsError

#: The longest period. State is kept for every symbol and interval, so what one indicator may hold has a bound.
LONGEST = 10_000


def check_period(kind: str, field: str, value: object, least: int) -> None:
    """Return only if ``value`` is a whole number from ``least`` to `LONGEST`; raises `SettingsError`."""
    if type(value) is int and least <= value <= LONGEST:
        return
    raise SettingsError(
        f"expected {field} of {kind} to be a whole number from {least} to {LONGEST}, got {value!r}: "
        "give the number of bars"
    )


def check_factor(kind: str, field: str, value: object) -> None:
    """Return only if ``value`` is a number above 0 and at most 100; raises `SettingsError`."""
    if type(value) in (int, float) and 0 < value <= 100:  # type: ignore[operator]
        return
    raise SettingsError(
        f"expected {field} of {kind} to be a number above 0 and at most 100, got {value!r}: "
        "give a factor such as 2 or 2.5"
    )


def name(kind: str, *parameters: float) -> str:
    """The one spelling of an indicator's name: its kind and its parameters, without needless decimals.

    >>> name("bollinger", 20, 2.0), name("bollinger", 20, 2.5)
    ('bollinger_20_2', 'bollinger_20_2.5')
    """
    return "_".join((kind, *map(_text, parameters)))


def number(text: str) -> int | float | None:
    """The parameter that ``text`` spells, None if it spells none."""
    try:
        return int(text) if text.isdigit() else _finite(float(text))
    except ValueError:
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
