"""`read_frame` gives the events of one frame and keeps nothing: the same bytes always give the same reading.

A frame is whatever one line of a recording or one WebSocket message holds: the payload of a public stream, raw or
in the combined envelope; the answer to a control message; a REST answer written down without its URL.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md, read 2026-07-21.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import Event, Status
from tapeflow.venues.binance import books, klines, rest, tickers, trades
from tapeflow.venues.binance.decode import decode
from tapeflow.venues.binance.fields import Fields, Reading, moment, names, need, strangers, text

__all__ = ["Reading", "read_frame"]

Reader = Callable[[Fields, str], tuple[Event, int]]

_ENVELOPE = frozenset({"stream", "data"})
_ANSWER = frozenset({"result", "error", "code", "msg", "id"})
_FUTURES = names("bookTicker markPriceUpdate forceOrder continuous_kline contractInfo compositeIndex assetIndexUpdate")
_QUOTE_MARKS = names("u s b B a A")
_ARRAYS = ("24hrMiniTicker", "24hrTicker", "1hTicker", "4hTicker", "1dTicker")


def read_frame(frame: bytes) -> Reading:
    """The events of a frame, complete or not at all; raises `Unreadable` for anything it cannot give."""
    message = decode(frame)
    if type(message) is dict and "stream" in message:
        stream, payload = text(message, "stream"), need(message, "data")
        reading = _payload(payload, stream)
        return msgspec.structs.replace(reading, unknown_fields=reading.unknown_fields + strangers(message, _ENVELOPE))
    return _payload(message, "")


def _payload(payload: Any, stream: str) -> Reading:
    if type(payload) is list:
        return _list(payload, stream)
    if type(payload) is not dict:
        raise Unreadable("unknown_event", f"expected an object or a list, got {type(payload).__name__}")
    if "e" in payload:
        return _named(payload, stream)
    return _nameless(payload, stream)


def _named(payload: Fields, stream: str) -> Reading:
    name = text(payload, "e")
    _refuse_futures(payload, name)
    reader = _READERS.get(name)
    if reader is None:
        raise Unreadable("unknown_event", f"e is {name[:40]!r}")
    event, unknown = reader(payload, stream)
    return Reading((event,), unknown)


def _refuse_futures(payload: Fields, name: str) -> None:
    """Another market's frames look alike but have other ids and other rules: they must never be merged into spot."""
    if name in _FUTURES:
        raise Unreadable("unsupported_market", f"{name} is of the futures")
    if "ps" in payload:
        raise Unreadable("unsupported_market", "ps is of the COIN-M futures")
    if name == "depthUpdate" and "pu" in payload:
        raise Unreadable("unsupported_market", "a depthUpdate with pu is of the futures")
    if name == "trade" and "X" in payload:
        raise Unreadable("unsupported_market", "a trade with X is of the futures")


def _nameless(payload: Fields, stream: str) -> Reading:
    """The kinds without ``e``, told by their keys; enough of them that one missing field is still named."""
    if "ps" in payload:
        raise Unreadable("unsupported_market", "ps is of the COIN-M futures")
    if books.is_partial(stream) or len(payload.keys() & books.DEPTH_FIELDS) >= 2:
        snapshot, unknown = books.read_depth(payload, stream)
        return Reading((snapshot,), unknown)
    if stream.endswith("@bookTicker") or (len(payload.keys() & _QUOTE_MARKS) >= 4 and "U" not in payload):
        quote, unknown = books.read_quote(payload, stream)
        return Reading((quote,), unknown)
    if stream:
        raise Unreadable("missing_field", "e")
    return _answer(payload)


def _answer(payload: Fields) -> Reading:
    """What the venue says to a request of ours: an acknowledgement, an error, or a bare REST object."""
    if rest.is_exchange_info(payload):
        return rest.read_exchange_info(payload)
    if "error" in payload:
        return _error(payload, payload["error"])
    if "code" in payload and "msg" in payload:
        return _error(payload, payload)
    if "result" in payload:
        detail = _request_id(payload, "id") + _result_text(payload["result"])
        return Reading((Status("ack", detail=detail),), strangers(payload, _ANSWER))
    if any(marks <= payload.keys() for marks in _BITMEX):
        raise Unreadable("unsupported_market", "a message of BitMEX")
    raise Unreadable("unknown_event", f"keys {', '.join(sorted(payload))[:80]}")


def _result_text(result: Any) -> str:
    """What a query was answered: a property, or the list of streams. Nothing else is documented."""
    if result is None:
        return ""
    if type(result) is list and all(type(name) is str for name in result):
        return f": {' '.join(result)}"
    if type(result) is bool:
        return ": true" if result else ": false"
    raise Unreadable("bad_type", "result")


def _error(payload: Fields, error: Any) -> Reading:
    """Both forms: ``{"code","msg"}`` as documented and ``{"error":{"code","msg"}}`` as sent; the id may be absent."""
    if type(error) is not dict:
        raise Unreadable("bad_type", "error")
    detail = rest.error_text(error)
    if "id" in payload:
        detail += f" (request {_request_id(payload, 'id')})"
    nested = 0 if error is payload else strangers(error, rest.ERROR_FIELDS)
    return Reading((Status("error", detail=detail),), strangers(payload, _ANSWER) + nested)


def _request_id(payload: Fields, name: str) -> str:
    value = need(payload, name)
    if value is not None and type(value) not in (int, str):
        raise Unreadable("bad_type", name)
    return "null" if value is None else str(value)


def _list(payload: list[Any], stream: str) -> Reading:
    """An array of tickers (``!miniTicker@arr``) or a bare REST answer; an empty one says nothing, truthfully."""
    if not payload:
        return Reading((), 0)
    first = payload[0]
    if type(first) is list and not stream:
        return rest.read_klines(payload, "", "")
    if type(first) is not dict:
        raise Unreadable("unknown_event", f"a list of {type(first).__name__}")
    if "e" in first or stream:
        return _tickers(payload)
    return rest.read_trade_list(payload, "")


def _tickers(payload: list[Any]) -> Reading:
    readings = []
    for item in payload:
        if type(item) is not dict:
            raise Unreadable("bad_type", "arr")
        if text(item, "e") not in _ARRAYS:
            raise Unreadable("unknown_event", f"an array of {item['e'][:40]!r}")
        readings.append(_named(item, ""))
    events = tuple(event for reading in readings for event in reading.events)
    return Reading(events, sum(reading.unknown_fields for reading in readings))


def _read_shutdown(fields: Fields, stream: str) -> tuple[Status, int]:
    """The server is about to go away: sent to every connection, with no promise of how long before."""
    return Status("server_shutdown", ts_event=moment(fields, "E")), strangers(fields, frozenset({"e", "E"}))


#: Keys that tell a BitMEX message: data, a welcome, the answer to a subscription.
_BITMEX = ({"table", "data"}, {"table", "action"}, {"info", "docs"}, {"subscribe", "success"})

_READERS: dict[str, Reader] = {
    "trade": trades.read_trade,
    "aggTrade": trades.read_aggregate,
    "blockTrade": trades.read_block_trade,
    "kline": klines.read_kline,
    "depthUpdate": books.read_delta,
    "referencePrice": tickers.read_reference_price,
    "serverShutdown": _read_shutdown,
    **dict.fromkeys(tickers.FORMS, tickers.read_ticker),
}
