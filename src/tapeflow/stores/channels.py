"""The result channels as tables: names, kinds and order of their columns, and the keys of their rows."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

#: text: a string. id: an integer written as text. int, float, bool: themselves. time: microseconds.
#: price: an int mantissa at the price scale; size: at the size scale; quote: at the sum of both; each a decimal text
#: in JSON and a decimal in Arrow. levels: (price, size) pairs. values: a map of floats. bytes: base64 in JSON.
Kind = Literal["text", "id", "int", "float", "bool", "time", "price", "size", "quote", "levels", "values", "bytes"]


class Channel(msgspec.Struct, frozen=True):
    """``order`` sorts the rows of a file and ``key`` tells which rows replace one another (none where empty)."""

    name: str
    fields: tuple[tuple[str, Kind], ...]
    order: tuple[str, ...]
    key: tuple[str, ...] = ()

    @property
    def time(self) -> str:
        """The column by which ranges are asked for: quotes have a time of the venue only where it gives one."""
        names = [name for name, _ in self.fields if (self.name, name) != ("quotes", "ts_event")]
        return next(name for name in ("ts_start", "ts_event", "ts_recv") if name in names)


def _channel(name: str, fields: str, order: str, key: str = "") -> Channel:
    pairs = [field.split(":") for field in fields.split()]
    return Channel(name, tuple((f, k) for f, k in pairs), tuple(order.split()), tuple(key.split()))  # type: ignore[misc]


_TRADE = (
    "venue:text symbol:text id:id price:price size:size side:text ts_event:time ts_recv:time first_id:id last_id:id"
)
_QUOTE = "venue:text symbol:text id:id bid:price bid_size:size ask:price ask_size:size ts_event:time ts_recv:time"
_CANDLE = (
    "venue:text symbol:text interval:text ts_start:time ts_end:time open:price high:price low:price close:price "
    "volume:size quote_volume:quote taker_buy_volume:size count:int vwap:float source:text closed:bool revision:int"
)

CHANNELS = {
    channel.name: channel
    for channel in (
        _channel("trades", _TRADE, "ts_event venue symbol id", "venue symbol id"),
        _channel(
            "quotes",
            _QUOTE,
            "ts_event|ts_recv venue symbol id",
            "venue symbol id",
        ),
        _channel("quotes.latest", _QUOTE, "venue symbol", "venue symbol"),
        _channel(
            "book",
            "venue:text symbol:text id:id bids:levels asks:levels ts_event:time ts_recv:time",
            "ts_event|ts_recv venue symbol id",
            "venue symbol id",
        ),
        _channel(
            "tickers",
            "venue:text symbol:text kind:text ts_event:time ts_recv:time price_change:text price_change_percent:text "
            "weighted_avg_price:text prev_close:text last_price:text last_size:text bid:text bid_size:text ask:text "
            "ask_size:text open:text high:text low:text volume:text quote_volume:text ts_open:time ts_close:time "
            "first_id:id last_id:id count:int",
            "ts_event|ts_recv venue symbol kind",
            "venue symbol kind ts_event",
        ),
        _channel(
            "klines",
            _CANDLE + " first_id:id last_id:id ts_event:time ts_recv:time",
            "ts_end venue symbol interval ts_event",
            "venue symbol interval ts_start ts_event",
        ),
        _channel("candles", _CANDLE, "ts_end venue symbol interval revision", "venue symbol interval ts_start"),
        _channel(
            "moving_average",
            "venue:text symbol:text window_ms:int slide_ms:int ts_start:time ts_end:time mean:float count:int "
            "closed:bool revision:int",
            "ts_end venue symbol window_ms slide_ms revision",
            "venue symbol window_ms slide_ms ts_start",
        ),
        _channel(
            "indicators",
            "venue:text symbol:text interval:text name:text ts_start:time ts_end:time values:values bars:int "
            "closed:bool revision:int",
            "ts_end venue symbol interval name revision",
            "venue symbol interval name ts_start",
        ),
        _channel(
            "coverage",
            "venue:text symbol:text stream:text ts_start:time ts_end:time state:text reason:text first_id:id "
            "last_id:id guarantee:text",
            "ts_end venue symbol stream first_id",
        ),
        _channel("late", _TRADE + " ts_watermark:time", "ts_event venue symbol id", "venue symbol id"),
        _channel(
            "quarantine",
            "venue:text symbol:text ts_recv:time connection:text reason:text frame:bytes",
            "ts_recv venue",
        ),
    )
}


#: Trades as they stand on a bus: with the symbol's watermark as it stood when they came, and whether the venue wrote
#: their time in whole milliseconds.
EVENTS = _channel("trades", _TRADE + " ts_watermark:time coarse:bool", "ts_event venue symbol id", "venue symbol id")

#: Quarantined frames there: of a long one how it begins, with the length and the digest of the whole.
QUARANTINED = _channel(
    "quarantine",
    "venue:text symbol:text ts_recv:time connection:text reason:text frame:bytes frame_size:int frame_sha256:text",
    "ts_recv venue",
)

#: Pushes of klines there, stamped likewise.
PUSHES = _channel(
    "klines",
    _CANDLE + " first_id:id last_id:id ts_event:time ts_recv:time ts_watermark:time",
    "ts_end venue symbol interval ts_event",
    "venue symbol interval ts_start ts_event",
)

#: The venue's own candle as it stands among the trades there.
VENUE_CANDLE = _channel(
    "candles",
    "interval:text ts_start:time open:price high:price low:price close:price volume:size quote_volume:quote "
    "taker_buy_volume:size count:int vwap:float",
    "ts_start",
)

#: Channels whose rows are numbered as they are made, each series for itself: what a client has seen is one number.
NUMBERED = ("trades", "candles", "moving_average", "indicators")

#: Those of which a row is made again when its window is revised.
REVISED = NUMBERED[1:]


def numbered(channel: Channel) -> Channel:
    """A channel as a store keeps it: with ``seq``, the number of the row in its series, if it is one of `NUMBERED`."""
    if channel.name not in NUMBERED:
        return channel
    return msgspec.structs.replace(channel, fields=(*channel.fields, ("seq", "int")))


def custom(name: str, rows: list[dict[str, Any]]) -> Channel:
    """The channel of a fold of the user's own: its fields as the first row has them."""
    kinds: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "text"}
    own = ("venue", "symbol", "ts_start", "ts_end", "closed", "revision")
    first = rows[0] if rows else {}
    values = tuple((field, kinds.get(type(value), "text")) for field, value in first.items() if field not in own)
    head: tuple[tuple[str, Kind], ...] = (
        ("venue", "text"),
        ("symbol", "text"),
        ("ts_start", "time"),
        ("ts_end", "time"),
    )
    order = ("ts_end", "venue", "symbol", "revision")
    tail: tuple[tuple[str, Kind], ...] = (("closed", "bool"), ("revision", "int"))
    return Channel(name, (*head, *values, *tail), order, ("venue", "symbol", "ts_start"))
