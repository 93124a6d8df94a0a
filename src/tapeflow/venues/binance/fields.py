"""Fields of Binance's JSON, taken one by one: each function gives a checked value or raises `Unreadable`.

The reason says whose fault it is: ``missing_field``, ``bad_type`` (of the JSON value), ``impossible_value``,
``impossible_time``, or the reasons of `domain.number` for a text that is no exact decimal. The detail is the
field's name on the wire.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import Event, Levels
from tapeflow.domain.instrument import Instrument
from tapeflow.domain.number import INT64_MAX, decimal_text, mantissa, signed_mantissa, wide_mantissa
from tapeflow.domain.time import LATEST

#: Digits after the point of every price and size of the venue; totals in quote units are products and have both.
SCALE = 8
QUOTE_SCALE = 2 * SCALE

#: Times of today have 13 digits in milliseconds and 16 in microseconds; nothing in the payload tells the unit.
_MICROSECONDS_FROM = 10**15

Fields = dict[str, Any]


class Reading(msgspec.Struct, frozen=True):
    """What a frame says, and how many of its fields are none that we know.

    ``instruments`` is filled by an exchangeInfo answer only.
    """

    events: tuple[Event, ...]
    unknown_fields: int
    instruments: tuple[Instrument, ...] = ()


def names(listed: str) -> frozenset[str]:
    """The names of an object's fields, written with spaces between them.

    >>> sorted(names("u s b"))
    ['b', 's', 'u']
    """
    return frozenset(listed.split())


def strangers(fields: Fields, known: frozenset[str]) -> int:
    """How many keys of an object the reference does not describe: they are counted and ignored."""
    return len(fields.keys() - known)


def need(fields: Fields, name: str) -> Any:
    """The value of a field, whatever its type."""
    try:
        return fields[name]
    except KeyError:
        raise Unreadable("missing_field", name) from None


def text(fields: Fields, name: str) -> str:
    """A JSON string."""
    value = need(fields, name)
    if type(value) is not str:
        raise Unreadable("bad_type", name)
    return value


def symbol(fields: Fields, name: str = "s") -> str:
    """A name that is not empty. It may hold any Unicode: the venue lists such symbols since 2025."""
    value = text(fields, name)
    if not value:
        raise Unreadable("impossible_value", name)
    return value


def flag(fields: Fields, name: str) -> bool:
    """A JSON boolean, and no number that stands for one."""
    value = need(fields, name)
    if type(value) is not bool:
        raise Unreadable("bad_type", name)
    return value


def objects(fields: Fields, name: str) -> list[Fields]:
    """A list of JSON objects."""
    value = need(fields, name)
    if type(value) is not list or any(type(item) is not dict for item in value):
        raise Unreadable("bad_type", name)
    return value


def counting(fields: Fields, name: str) -> int:
    """An id or a count: a whole number that is not negative and fits int64."""
    value = need(fields, name)
    if type(value) is not int:
        raise Unreadable("bad_type", name)
    if not 0 <= value <= INT64_MAX:
        raise Unreadable("impossible_value", name)
    return value


def counting_or_none(fields: Fields, name: str) -> int | None:
    """As `counting`; -1 is the venue's word for "there was no trade"."""
    return None if need(fields, name) == -1 and type(fields[name]) is int else counting(fields, name)


def id_range(fields: Fields, first: str, last: str) -> tuple[int, int]:
    """Two ids in their order."""
    low, high = counting(fields, first), counting(fields, last)
    if high < low:
        raise Unreadable("impossible_value", last)
    return low, high


def trade_range(fields: Fields, first: str, last: str) -> tuple[int | None, int | None]:
    """First and last trade of a window, both None where it holds no trade."""
    low, high = counting_or_none(fields, first), counting_or_none(fields, last)
    if (low is None) != (high is None) or (low is not None and high is not None and high < low):
        raise Unreadable("impossible_value", last)
    return low, high


def moment(fields: Fields, name: str) -> int:
    """A time in microseconds."""
    return moment_and_unit(fields, name)[0]


def moment_and_unit(fields: Fields, name: str) -> tuple[int, int]:
    """A time in microseconds, and how many of them the venue's unit has: 1000 for milliseconds."""
    value = need(fields, name)
    if type(value) is bool or type(value) is float:
        raise Unreadable("impossible_time", name)
    if type(value) is not int:
        raise Unreadable("bad_type", name)
    unit = 1 if value >= _MICROSECONDS_FROM else 1000
    if not 0 <= value * unit <= LATEST:
        raise Unreadable("impossible_time", name)
    return value * unit, unit


def amount(fields: Fields, name: str) -> int:
    """A price or size that may be zero."""
    return mantissa(text(fields, name), SCALE)


def positive(fields: Fields, name: str) -> int:
    """A price or size above zero."""
    value = amount(fields, name)
    if not value:
        raise Unreadable("impossible_value", name)
    return value


def total(fields: Fields, name: str) -> int:
    """A sum of sizes: 128 bits."""
    return wide_mantissa(text(fields, name), SCALE)


def quote_total(fields: Fields, name: str) -> int:
    """A sum of price times size: 128 bits at twice the scale, so that no product loses a digit."""
    return wide_mantissa(text(fields, name), QUOTE_SCALE)


def canonical(fields: Fields, name: str) -> str:
    """A decimal that is not negative, in canonical form."""
    return decimal_text(wide_mantissa(text(fields, name), QUOTE_SCALE), QUOTE_SCALE)


def canonical_signed(fields: Fields, name: str) -> str:
    """A decimal of either sign, in canonical form."""
    return decimal_text(signed_mantissa(text(fields, name), QUOTE_SCALE), QUOTE_SCALE)


def levels(fields: Fields, name: str, *, removals: bool) -> Levels:
    """One side of a book, each price once; a size of zero is possible only where it means removal."""
    rows = need(fields, name)
    if type(rows) is not list:
        raise Unreadable("bad_type", name)
    side = tuple([_level(row, name, removals=removals) for row in rows])
    if len({price for price, _ in side}) != len(side):
        raise Unreadable("impossible_value", name)
    return side


def _level(row: Any, name: str, *, removals: bool) -> tuple[int, int]:
    if type(row) is not list or len(row) != 2 or type(row[0]) is not str or type(row[1]) is not str:
        raise Unreadable("bad_type", name)
    price, size = mantissa(row[0], SCALE), mantissa(row[1], SCALE)
    if not price or not (size or removals):
        raise Unreadable("impossible_value", name)
    return price, size
