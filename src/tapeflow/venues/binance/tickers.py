"""Rolling statistics of the venue (sections 3.5 to 3.7, 3.9 and 3.12 of the reference), under readable names."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import Status, Ticker
from tapeflow.domain.number import wide_mantissa
from tapeflow.venues.binance.fields import (
    QUOTE_SCALE,
    Fields,
    canonical,
    canonical_signed,
    counting,
    counting_or_none,
    moment,
    names,
    need,
    strangers,
    symbol,
    text,
    trade_range,
)

Value = str | int | None
Columns = dict[str, tuple[str, Callable[[Fields, str], Value]]]

_BARE: Columns = {
    "o": ("open", canonical),
    "h": ("high", canonical),
    "l": ("low", canonical),
    "v": ("volume", canonical),
    "q": ("quote_volume", canonical),
}
_MINI: Columns = {"c": ("last_price", canonical), **_BARE}
_WINDOW: Columns = {
    "p": ("price_change", canonical_signed),
    "P": ("price_change_percent", canonical_signed),
    "w": ("weighted_avg_price", canonical),
    **_MINI,
    "O": ("ts_open", moment),
    "C": ("ts_close", moment),
    "F": ("first_id", counting_or_none),
    "L": ("last_id", counting_or_none),
    "n": ("count", counting),
}
_FULL: Columns = {
    **_WINDOW,
    "x": ("prev_close", canonical),
    "Q": ("last_size", canonical),
    "b": ("bid", canonical),
    "B": ("bid_size", canonical),
    "a": ("ask", canonical),
    "A": ("ask_size", canonical),
}
_AVERAGE: Columns = {"i": ("interval", text), "w": ("weighted_avg_price", canonical), "T": ("ts_close", moment)}


class Form(NamedTuple):
    """The kind of a ticker and its columns by their letter on the wire."""

    kind: str
    columns: Columns
    known: frozenset[str]


def _form(kind: str, columns: Columns) -> Form:
    return Form(kind, columns, frozenset({"e", "E", "s", *columns}))


FORMS = {
    "24hrMiniTicker": _form("mini", _MINI),
    "24hrTicker": _form("24h", _FULL),
    "1hTicker": _form("1h", _WINDOW),
    "4hTicker": _form("4h", _WINDOW),
    "1dTicker": _form("1d", _WINDOW),
    "avgPrice": _form("avg_price", _AVERAGE),
}

REFERENCE_FIELDS = names("e s r t")


def read_ticker(fields: Fields, stream: str) -> tuple[Ticker, int]:
    """A ticker of any kind; ``e`` selects the form."""
    form = FORMS[fields["e"]]
    ts_event, name = moment(fields, "E"), symbol(fields)
    values = {word: take(fields, letter) for letter, (word, take) in form.columns.items()}
    _check(fields, form)
    return Ticker(name, form.kind, ts_event, values), strangers(fields, form.known)


def _check(fields: Fields, form: Form) -> None:
    if "h" in form.columns and _number(fields, "l") > _number(fields, "h"):
        raise Unreadable("impossible_value", "l")
    if "F" in form.columns:
        trade_range(fields, "F", "L")
    if "C" in form.columns and moment(fields, "C") < moment(fields, "O"):
        raise Unreadable("impossible_value", "C")


def _number(fields: Fields, name: str) -> int:
    return wide_mantissa(text(fields, name), QUOTE_SCALE)


def read_reference_price(fields: Fields, stream: str) -> tuple[Status, int]:
    """The venue's reference price, as a `Status`: it is no trade. ``r`` may be null, and there is no ``E``."""
    name, ts_event = symbol(fields), moment(fields, "t")
    detail = "" if need(fields, "r") is None else canonical(fields, "r")
    return Status("reference_price", name, detail, ts_event), strangers(fields, REFERENCE_FIELDS)
