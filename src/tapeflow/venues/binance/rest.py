"""`read_answer` gives the events of one REST answer (section 5 of the reference) and keeps nothing.

Answers name neither symbol nor interval: both come from the query of the request.

Source: github.com/binance/binance-spot-api-docs, rest-api.md, read 2026-07-21.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import Event, Status, Trade
from tapeflow.domain.instrument import Instrument
from tapeflow.domain.number import decimal_text, wide_mantissa
from tapeflow.venues.binance import books, klines, trades
from tapeflow.venues.binance.decode import decode
from tapeflow.venues.binance.fields import (
    QUOTE_SCALE,
    SCALE,
    Fields,
    Reading,
    counting,
    flag,
    moment,
    moment_and_unit,
    names,
    need,
    objects,
    positive,
    strangers,
    symbol,
    text,
)

ERROR_FIELDS = frozenset({"code", "msg"})
TRADE_FIELDS = names("id price qty quoteQty time isBuyerMaker isBestMatch")
AGGREGATE_FIELDS = names("a p q f l T m M")
INFO_FIELDS = names("timezone serverTime rateLimits exchangeFilters symbols sors")
SYMBOL_FIELDS = names(
    """symbol status baseAsset baseAssetPrecision quoteAsset quotePrecision quoteAssetPrecision
    baseCommissionPrecision quoteCommissionPrecision orderTypes icebergAllowed ocoAllowed otoAllowed opoAllowed
    quoteOrderQtyMarketAllowed allowTrailingStop cancelReplaceAllowed amendAllowed pegInstructionsAllowed
    isSpotTradingAllowed isMarginTradingAllowed filters permissions permissionSets defaultSelfTradePreventionMode
    allowedSelfTradePreventionModes"""
)


def read_answer(path_or_url: str, body: bytes) -> Reading:
    """The events of the answer to this request, complete or not at all; raises `Unreadable`."""
    path, query = _request(path_or_url)
    if "/fapi/" in path or "/dapi/" in path or "/eapi/" in path:
        raise Unreadable("unsupported_market", path)
    answer = decode(body)
    name = query.get("symbol", "")
    if type(answer) is dict and "code" in answer and "msg" in answer:
        status = Status("rest_error", name, error_text(answer))
        return Reading((status,), strangers(answer, ERROR_FIELDS))
    match path.rpartition("/")[2]:
        case "depth":
            return _read_depth(_object(answer), name)
        case "exchangeInfo":
            return read_exchange_info(_object(answer))
        case "klines":
            return read_klines(_list(answer), name, query.get("interval", ""))
        case "trades" | "historicalTrades" | "aggTrades":
            return read_trade_list(_list(answer), name)
        case _:
            raise Unreadable("unknown_event", f"no reader for the answer of {path[:80]!r}")


def _request(path_or_url: str) -> tuple[str, dict[str, str]]:
    try:
        parts = urlsplit(path_or_url)
        query = parse_qs(parts.query)
    except ValueError as error:
        raise Unreadable("unknown_event", f"the request is no URL: {error}") from None
    return parts.path, {key: values[-1] for key, values in query.items()}


def _object(answer: Any) -> Fields:
    if type(answer) is not dict:
        raise Unreadable("bad_type", f"expected an object, got {type(answer).__name__}")
    return answer


def _list(answer: Any) -> list[Any]:
    if type(answer) is not list:
        raise Unreadable("bad_type", f"expected a list, got {type(answer).__name__}")
    return answer


def error_text(error: Fields) -> str:
    """Code and text of an error; the codes are stable, the texts are not."""
    code = need(error, "code")
    if type(code) is not int:
        raise Unreadable("bad_type", "code")
    return f"{code}: {text(error, 'msg')}"


def _read_depth(answer: Fields, name: str) -> Reading:
    snapshot = books.depth(answer, name, is_partial=False)
    return Reading((snapshot,), strangers(answer, books.DEPTH_FIELDS))


def read_klines(rows: list[Any], name: str, interval: str) -> Reading:
    """Rows of candles. The last is normally still open and nothing in it tells, so it is given as not closed."""
    if rows and not (name and interval):
        raise Unreadable("unattributable", "klines of an unknown symbol and interval: the request is not known")
    last = len(rows) - 1
    read = [klines.read_row(row, name, interval, closed=at < last) for at, row in enumerate(rows)]
    return Reading(tuple(kline for kline, _ in read), sum(unknown for _, unknown in read))


def read_trade_list(rows: list[Any], name: str) -> Reading:
    """Single trades or aggregates, told apart by their fields."""
    events: list[Event] = []
    unknown = 0
    for row in rows:
        if type(row) is not dict:
            raise Unreadable("bad_type", "trades")
        trade, strange = _read_trade(row, name)
        events.append(trade)
        unknown += strange
    if events and not name:
        raise Unreadable("unattributable", "trades of an unknown symbol: the request is not known")
    return Reading(tuple(events), unknown)


def _read_trade(row: Fields, name: str) -> tuple[Trade, int]:
    if len(row.keys() & AGGREGATE_FIELDS) >= 4:
        return trades.aggregate(row, name), strangers(row, AGGREGATE_FIELDS)
    if len(row.keys() & TRADE_FIELDS) < 3:
        raise Unreadable("unknown_event", f"a list of objects with keys {', '.join(sorted(row))[:80]}")
    if "baseQty" in row:
        raise Unreadable("unsupported_market", "a trade with baseQty is of the COIN-M futures")
    return read_rest_trade(row, name), strangers(row, TRADE_FIELDS)


def read_rest_trade(row: Fields, name: str) -> Trade:
    """A single trade with the long names of REST."""
    number = counting(row, "id")
    ts_event, unit = moment_and_unit(row, "time")
    return Trade(
        symbol=name,
        id=number,
        price=positive(row, "price"),
        size=positive(row, "qty"),
        side=trades.taker_side(flag(row, "isBuyerMaker")),
        ts_event=ts_event,
        unit_us=unit,
        first_id=number,
        last_id=number,
    )


def is_exchange_info(answer: Fields) -> bool:
    """True for the shape of exchangeInfo, with one field possibly missing."""
    return len(answer.keys() & INFO_FIELDS) >= 3


def exchange_info(body: bytes) -> list[Instrument]:
    """The instruments of an exchangeInfo answer, valid from its ``serverTime``; raises `Unreadable`."""
    return list(read_exchange_info(_object(decode(body))).instruments)


def read_exchange_info(answer: Fields) -> Reading:
    """The instruments, and a `Status` that counts them."""
    valid_from = moment(answer, "serverTime")
    symbols = objects(answer, "symbols")
    instruments = tuple([_instrument(listed, valid_from) for listed in symbols])
    if len({instrument.symbol for instrument in instruments}) != len(instruments):
        raise Unreadable("impossible_value", "symbols")
    unknown = strangers(answer, INFO_FIELDS) + sum(strangers(listed, SYMBOL_FIELDS) for listed in symbols)
    status = Status("instruments", detail=str(len(instruments)), ts_event=valid_from)
    return Reading((status,), unknown, instruments)


def _instrument(listed: Fields, valid_from: int) -> Instrument:
    """One symbol. Quantities are in units of the base asset: spot has no lots and no multiplier."""
    if "contractType" in listed:
        raise Unreadable("unsupported_market", "a symbol with contractType is of the futures")
    rules = {text(rule, "filterType"): rule for rule in objects(listed, "filters")}
    base = symbol(listed, "baseAsset")
    return Instrument(
        venue="binance",
        symbol=symbol(listed, "symbol"),
        base=base,
        quote=symbol(listed, "quoteAsset"),
        price_scale=SCALE,
        size_scale=SCALE,
        tick=_increment(rules.get("PRICE_FILTER"), "tickSize"),
        step=_increment(rules.get("LOT_SIZE"), "stepSize"),
        size_unit=base,
        status=text(listed, "status"),
        valid_from=valid_from,
    )


def _increment(rule: Fields | None, name: str) -> str | None:
    """The increment of a rule; none where the rule is absent or, by a zero, switched off."""
    if rule is None:
        return None
    value = wide_mantissa(text(rule, name), QUOTE_SCALE)
    return decimal_text(value, QUOTE_SCALE) if value else None
