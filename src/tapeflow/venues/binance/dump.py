"""Rows of the public dumps: CSV of trades, aggTrades and klines (section 6 of the reference).

A row says neither its symbol nor its kind: both come from the name of the file, which the reader of recordings turns
into a request such as ``dump:aggTrades?symbol=BTCUSDT``. Times are milliseconds or microseconds, by their magnitude.
"""

from __future__ import annotations

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import Event
from tapeflow.venues.binance import klines, trades
from tapeflow.venues.binance.fields import Fields, Reading
from tapeflow.venues.binance.rest import read_rest_trade

PREFIX = "dump:"

_TRADE = ("id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch")
_AGGREGATE = ("a", "p", "q", "f", "l", "T", "m", "M")
_TEXTS = frozenset({"price", "qty", "quoteQty", "p", "q"})
#: Open time, close time and count, among the columns of a kline.
_KLINE_NUMBERS = frozenset({0, 6, 8})
_FLAGS = {"True": True, "False": False, "true": True, "false": False}


def read_dump(request: str, row: bytes) -> Reading:
    """The event of one row; raises `Unreadable`."""
    kind, _, symbol = request.removeprefix(PREFIX).partition("?symbol=")
    try:
        values = row.decode("ascii").split(",")
    except UnicodeDecodeError as error:
        raise Unreadable("not_csv", str(error)) from None
    return Reading((_event(kind, symbol, values),), 0)


def _event(kind: str, symbol: str, values: list[str]) -> Event:
    if kind == "trades":
        return read_rest_trade(_fields(_TRADE, values), symbol)
    if kind == "aggTrades":
        return trades.aggregate(_fields(_AGGREGATE, values), symbol)
    if len(values) != len(klines.COLUMNS) + 1:
        raise Unreadable("missing_field", f"expected {len(klines.COLUMNS) + 1} columns of a kline, got {len(values)}")
    cells = [_number(value) if i in _KLINE_NUMBERS else value for i, value in enumerate(values)]
    return klines.read_row(cells, symbol, "1M" if kind == "1mo" else kind, closed=True)[0]


def _fields(names: tuple[str, ...], values: list[str]) -> Fields:
    if len(values) == len(names) - 1:
        raise Unreadable("unsupported_market", "a row without isBestMatch is of the futures")
    if len(values) != len(names):
        raise Unreadable("missing_field", f"expected {len(names)} columns, got {len(values)}")
    return {name: _cell(name, value) for name, value in zip(names, values, strict=True)}


def _cell(name: str, value: str) -> object:
    if name in _TEXTS:
        return value
    return _FLAGS[value] if value in _FLAGS else _number(value)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise Unreadable("bad_type", f"expected a whole number, got {text[:40]!r}")
    return int(text)
