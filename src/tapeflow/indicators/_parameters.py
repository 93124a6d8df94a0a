"""Checks and spelling of the parameters that all indicators share."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import lru_cache
from typing import Annotated, Any, get_type_hints

from msgspec import Meta

from tapeflow.domain.errors import SettingsError

#: The longest period. State is kept for every symbol and interval, so what one indicator may hold has a bound.
LONGEST = 10_000

#: A number of bars, from 1 or from 2 on; a factor of a width.
Period = Annotated[int, Meta(ge=1, le=LONGEST)]
Period2 = Annotated[int, Meta(ge=2, le=LONGEST)]
Factor = Annotated[float, Meta(gt=0, le=100)]

#: An exponential average forgets by ``exp(-2 / (n + 1))`` a bar: after so many times ``(n + 1) / 2`` bars what came
#: before is below the last binary digit of a float.
FADE = 37


def bounds(cls: Any) -> dict[str, Meta]:
    """What each parameter of an indicator's class may be; a plain ``int`` is taken as `Period`, others as `Factor`."""
    return _bounds(cls)


@lru_cache
def _bounds(cls: Hashable) -> dict[str, Meta]:
    hints = get_type_hints(cls, include_extras=True)
    return {field: _bound(hints[field]) for field in getattr(cls, "__struct_fields__", ())}


def _bound(hint: Any) -> Meta:
    for found in (hint, Period if hint is int else Factor):
        metas = [one for one in getattr(found, "__metadata__", ()) if isinstance(one, Meta)]
        if metas:
            return metas[0]
    raise AssertionError(hint)


def check(indicator: Any) -> None:
    """Return only if every parameter is what its annotation says; raises `SettingsError`."""
    cls = type(indicator)
    for field, bound in bounds(cls).items():
        value = getattr(indicator, field)
        if bound.gt is None:
            _check_period(cls.kind, field, value, int(bound.ge or 0))
        else:
            _check_factor(cls.kind, field, value)


def _check_period(kind: str, field: str, value: object, least: int) -> None:
    if type(value) is int and least <= value <= LONGEST:
        return
    raise SettingsError(
        f"expected {field} of {kind} to be a whole number from {least} to {LONGEST}, got {value!r}: "
        "give the number of bars"
    )


def _check_factor(kind: str, field: str, value: object) -> None:
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
