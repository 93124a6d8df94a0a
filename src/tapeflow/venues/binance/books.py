"""Quotes and books of the streams (sections 3.8, 3.10 and 3.11 of the reference), and the REST depth answer."""

from __future__ import annotations

import re

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import BookDelta, BookSnapshot, Quote
from tapeflow.venues.binance.fields import Fields, amount, counting, id_range, levels, moment, names, strangers, symbol

QUOTE_FIELDS = names("u s b B a A")
DELTA_FIELDS = names("e E s U u b a")
DEPTH_FIELDS = names("lastUpdateId bids asks")

_PARTIAL = re.compile(r"(.+)@depth(?:5|10|20)(?:@100ms|@1000ms)?", re.DOTALL)


def is_partial(stream: str) -> bool:
    """True for the name of a partial depth stream."""
    return _PARTIAL.fullmatch(stream) is not None


def read_quote(fields: Fields, stream: str) -> tuple[Quote, int]:
    """The best bid and ask. The venue gives no time; a side without orders is zero at zero."""
    quote = Quote(
        symbol=symbol(fields),
        id=counting(fields, "u"),
        bid=amount(fields, "b"),
        bid_size=amount(fields, "B"),
        ask=amount(fields, "a"),
        ask_size=amount(fields, "A"),
    )
    if (quote.bid == 0) != (quote.bid_size == 0):
        raise Unreadable("impossible_value", "b")
    if (quote.ask == 0) != (quote.ask_size == 0):
        raise Unreadable("impossible_value", "a")
    return quote, strangers(fields, QUOTE_FIELDS)


def read_delta(fields: Fields, stream: str) -> tuple[BookDelta, int]:
    """Changed levels; either side may be empty, and a size of zero removes the level."""
    ts_event = moment(fields, "E")
    name = symbol(fields)
    first, last = id_range(fields, "U", "u")
    bids, asks = levels(fields, "b", removals=True), levels(fields, "a", removals=True)
    return BookDelta(name, first, last, bids, asks, ts_event), strangers(fields, DELTA_FIELDS)


def read_depth(fields: Fields, stream: str) -> tuple[BookSnapshot, int]:
    """The top of a book (in a stream's envelope, which names the symbol) or a whole one (a bare REST answer).

    Without an envelope the two have the same shape and no symbol; the bare form is taken for the REST answer,
    because a raw partial stream cannot be attributed anyway.
    """
    match = _PARTIAL.fullmatch(stream)
    name = match.group(1).upper() if match else ""
    return depth(fields, name, is_partial=match is not None), strangers(fields, DEPTH_FIELDS)


def depth(fields: Fields, name: str, *, is_partial: bool) -> BookSnapshot:
    """The snapshot of ``lastUpdateId``. Futures put their times ``E`` and ``T`` beside it, spot has none."""
    if "E" in fields or "T" in fields:
        raise Unreadable("unsupported_market", "a depth answer with E or T is of the futures")
    number = counting(fields, "lastUpdateId")
    bids, asks = levels(fields, "bids", removals=False), levels(fields, "asks", removals=False)
    return BookSnapshot(name, number, bids, asks, is_partial=is_partial)
