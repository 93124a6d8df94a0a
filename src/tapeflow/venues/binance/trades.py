"""Trades, aggregates and block trades of the streams (sections 3.1 to 3.3 of the reference)."""

from __future__ import annotations

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import Side, Status, Trade
from tapeflow.domain.number import decimal_text
from tapeflow.venues.binance.fields import (
    SCALE,
    Fields,
    counting,
    flag,
    id_range,
    moment,
    moment_and_unit,
    names,
    positive,
    strangers,
    symbol,
)

#: The order ids ``b`` and ``a`` were sent until 2024-06-18 and stand in every older capture.
TRADE_FIELDS = names("e E s t p q T m M b a")
AGGREGATE_FIELDS = names("e E s a p q f l T m M")
#: Trades that one aggregate can stand for. More is damage; ids are counted once, so even these cannot overflow a sum.
AGGREGATE_LIMIT = 10**12
BLOCK_FIELDS = names("e E s t p q T m M")


def taker_side(buyer_is_maker: bool) -> Side:  # noqa: FBT001 (it is the venue's own flag)
    """The side of the one who crossed the spread: where the buyer was the maker, the taker sold."""
    return "sell" if buyer_is_maker else "buy"


def read_trade(fields: Fields, stream: str) -> tuple[Trade, int]:
    """A single trade. ``M`` is documented as "ignore" and may be absent."""
    moment(fields, "E")
    number = counting(fields, "t")
    ts_event, unit = moment_and_unit(fields, "T")
    trade = Trade(
        symbol=symbol(fields),
        id=number,
        price=positive(fields, "p"),
        size=positive(fields, "q"),
        side=taker_side(flag(fields, "m")),
        ts_event=ts_event,
        unit_us=unit,
        first_id=number,
        last_id=number,
    )
    return trade, strangers(fields, TRADE_FIELDS)


def read_aggregate(fields: Fields, stream: str) -> tuple[Trade, int]:
    """Fills of one taker order at one price, merged: the trades ``f..l``."""
    moment(fields, "E")
    return aggregate(fields, symbol(fields)), strangers(fields, AGGREGATE_FIELDS)


def aggregate(fields: Fields, name: str) -> Trade:
    """The aggregate of a stream or REST object: they have the same fields, but REST names no symbol.

    Spot sends ``M`` with every aggregate and the USD-M futures never do, which is the only mark of theirs.
    """
    if "M" not in fields:
        raise Unreadable("unsupported_market", "an aggTrade without M is of the USD-M futures")
    number = counting(fields, "a")
    first, last = id_range(fields, "f", "l")
    if last - first >= AGGREGATE_LIMIT:
        raise Unreadable("impossible_value", "l")
    ts_event, unit = moment_and_unit(fields, "T")
    return Trade(
        symbol=name,
        id=number,
        price=positive(fields, "p"),
        size=positive(fields, "q"),
        side=taker_side(flag(fields, "m")),
        ts_event=ts_event,
        unit_us=unit,
        first_id=first,
        last_id=last,
        is_aggregate=True,
    )


def read_block_trade(fields: Fields, stream: str) -> tuple[Status, int]:
    """A negotiated trade, as a `Status`: it has its own ids and price, and must never feed a candle."""
    moment(fields, "E")
    name, number = symbol(fields), counting(fields, "t")
    price, size = decimal_text(positive(fields, "p"), SCALE), decimal_text(positive(fields, "q"), SCALE)
    detail = f"{number}: {taker_side(flag(fields, 'm'))} {size} at {price}"
    return Status("block_trade", name, detail, moment(fields, "T")), strangers(fields, BLOCK_FIELDS)
