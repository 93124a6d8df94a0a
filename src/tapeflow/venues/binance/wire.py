"""How to talk to Binance spot: addresses, limits, and what to send and ask (sections 1, 2 and 5 of the reference).

Pure: every answer depends on the arguments alone.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md, read 2026-07-21.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from tapeflow.domain.events import Fetch, Gap, Send
from tapeflow.domain.time import HOUR, MILLISECOND
from tapeflow.venues.wire import Limits

#: Names in one SUBSCRIBE message. The venue states no bound.
BATCH = 200
#: Rows of one answer.
PAGE = 1000

#: The venue's intervals that are ours too.
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")

#: Channels whose coverage follows from the connection; trades have ids.
_FOLLOWED = ("quotes", "book", "tickers", "klines")

#: Intervals that whole candles of a second make.
SECONDS = ("2s", "5s", "10s", "15s", "20s", "30s")

_STREAMS = {"trades": "trade", "quotes": "bookTicker", "book": "depth@100ms", "tickers": "ticker"}


class _Listed(msgspec.Struct):
    symbol: str
    status: str


class _Listing(msgspec.Struct):
    symbols: list[_Listed]


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815 - the venue's name


_read_listing = msgspec.json.Decoder(_Listing).decode
_read_time = msgspec.json.Decoder(_Time).decode


class BinanceWire:
    """The venue's side of a feed."""

    name = "binance"
    websocket = "wss://stream.binance.com:9443"
    rest = "https://api.binance.com"
    #: Microseconds have to be asked for.
    socket_path = "/stream?timeUnit=MICROSECOND"
    timezone = "UTC"
    time_path = "/api/v3/time"
    where_refused = (
        "set [endpoints] rest and websocket to the venue's market-data addresses (https://data-api.binance.vision, "
        "wss://data-stream.binance.vision), or to those of your country's venue (https://api.binance.us, "
        "wss://stream.binance.us:9443)"
    )
    headers: dict[str, str] = {"X-MBX-TIME-UNIT": "MICROSECOND"}  # noqa: RUF012 - read only
    limits = Limits(
        streams=1024,
        messages_per_s=5,
        connection_s=24 * 3600,
        attempts=300,
        attempts_s=300,
        weight_per_minute=6000,
        used_weight_header="X-MBX-USED-WEIGHT-1M",
    )
    instruments = Fetch("/api/v3/exchangeInfo", {"showPermissionSets": "false"}, "instruments", weight=20)

    def streams(self, symbol: str, channels: Collection[str], intervals: Collection[str]) -> list[str]:
        """The names of a symbol's streams that these channels need; klines of each of the ``intervals``."""
        names = [stream_name(symbol, stream) for channel, stream in _STREAMS.items() if channel in channels]
        if "klines" in channels:
            names += [stream_name(symbol, f"kline_{interval}") for interval in intervals if interval in INTERVALS]
        return names

    def subscribe(self, names: Iterable[str], first_id: int) -> Iterator[Send]:
        """SUBSCRIBE messages of at most `BATCH` names, each name once, numbered from ``first_id``."""
        return _control("SUBSCRIBE", names, first_id)

    def unsubscribe(self, names: Iterable[str], first_id: int) -> Iterator[Send]:
        """UNSUBSCRIBE messages, in the same way."""
        return _control("UNSUBSCRIBE", names, first_id)

    def stream_of(self, frame: bytes) -> bytes:
        """The name of the stream that a frame of a combined connection belongs to; empty for any other frame."""
        if not frame.startswith(b'{"stream":"'):
            return b""
        return frame[11 : frame.find(b'"', 11)]

    def symbol_of(self, stream: str) -> str:
        """The symbol of a stream's name, empty for a stream of all symbols."""
        return "" if stream.startswith("!") else stream.partition("@")[0].upper()

    def is_acknowledgement(self, frame: bytes) -> bool:
        """True for the answer to a message of ours."""
        return frame.startswith((b'{"result":', b'{"id":'))

    def read_time(self, answer: bytes) -> int:
        """The venue's time in microseconds, from the answer to `time_path` asked without headers."""
        return _read_time(answer).serverTime * MILLISECOND

    def listed(self, instruments: bytes) -> dict[str, str]:
        """The symbols of an answer to `instruments`, with their status."""
        return {symbol.symbol: symbol.status for symbol in _read_listing(instruments).symbols}

    def refill(self, gap: Gap, attempt: int = 0) -> Fetch | None:
        """How to ask for the next of what a hole in the trades lacks; None when nothing more can be tried.

        First by aggregates from the time of its left edge on, which cost a sixth: one stands for the trades
        ``f..l``. What they do not bring (an aggregate across the edge, very many in one millisecond) is then asked
        for by id.
        """
        if gap.stream != "trades" or gap.first_id is None or gap.last_id is None:
            return None
        missing = gap.last_id - gap.first_id + 1
        if attempt == 0 and gap.ts_start is not None:
            start = str(gap.ts_start // MILLISECOND)
            query = {"symbol": gap.symbol, "startTime": start, "limit": str(PAGE)}
            return Fetch("/api/v3/aggTrades", query, gap.reason, gap.symbol, weight=4)
        if attempt <= 2:
            query = {"symbol": gap.symbol, "fromId": str(gap.first_id), "limit": str(min(PAGE, missing))}
            return Fetch("/api/v3/historicalTrades", query, gap.reason, gap.symbol, weight=25)
        return None

    def candles(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = PAGE
    ) -> Fetch | None:
        """How to ask for candles that begin in ``[start, end)``, or for the newest; None for another interval.

        Those of some seconds are made of candles of one second, as many as there are in an answer.
        """
        if interval in SECONDS:
            interval, limit = "1s", PAGE
        if interval not in INTERVALS:
            return None
        query = {"symbol": symbol, "interval": interval, "limit": str(limit)}
        if start is not None:
            query["startTime"] = str(start // MILLISECOND)
        if end is not None:
            query["endTime"] = str((end - 1) // MILLISECOND)
        return Fetch("/api/v3/klines", query, "candles", symbol, weight=2)

    def trades_at(self, symbol: str, start: int) -> Fetch:
        """How to ask for the first aggregates from a time on: where the trades of a range of time begin."""
        query = {"symbol": symbol, "startTime": str(start // MILLISECOND)}
        query |= {"endTime": str((start + HOUR) // MILLISECOND - 1), "limit": str(PAGE)}
        return Fetch("/api/v3/aggTrades", query, "backfill", symbol, weight=4)

    def trades_from(self, symbol: str, aggregate_id: int) -> Fetch:
        """How to ask for the aggregates from one on."""
        query = {"symbol": symbol, "fromId": str(aggregate_id), "limit": str(PAGE)}
        return Fetch("/api/v3/aggTrades", query, "backfill", symbol, weight=4)


class _Control(msgspec.Struct):
    method: str
    params: list[str] = []


_read_control = msgspec.json.Decoder(_Control).decode
_CHANNELS = {stream: channel for channel, stream in _STREAMS.items()}


def changes(message: bytes) -> tuple[list[tuple[str, str, str]], list[str]]:
    """What a message of ours asks for, as (stream, channel, symbol), and the streams that it gives up.

    >>> changes(b'{"method":"SUBSCRIBE","params":["btcusdt@kline_1m"],"id":1}')
    ([('btcusdt@kline_1m', 'klines', 'BTCUSDT')], [])
    """
    try:
        control = _read_control(message)
    except msgspec.DecodeError:
        return [], []
    if control.method == "UNSUBSCRIBE":
        return [], control.params
    if control.method != "SUBSCRIBE":
        return [], []
    named = [(name, *name.partition("@")[::2]) for name in control.params]
    channels = [(name, symbol.upper(), _CHANNELS.get(stream, stream)) for name, symbol, stream in named]
    known = [
        (name, "klines" if channel.startswith("kline_") else channel, symbol) for name, symbol, channel in channels
    ]
    return [(name, channel, symbol) for name, channel, symbol in known if channel in _FOLLOWED], []


def stream_name(symbol: str, stream: str) -> str:
    """The name on the wire: the symbol in lower case, the rest as it is. Streams of all symbols have no symbol.

    >>> stream_name("BTCUSDT", "kline_1M"), stream_name("", "!miniTicker@arr")
    ('btcusdt@kline_1M', '!miniTicker@arr')
    """
    return f"{symbol.lower()}@{stream}" if symbol else stream


def _control(method: str, names: Iterable[str], first_id: int) -> Iterator[Send]:
    distinct = list(dict.fromkeys(names))
    for number, at in enumerate(range(0, len(distinct), BATCH), first_id):
        yield Send(msgspec.json.encode({"method": method, "params": distinct[at : at + BATCH], "id": number}))


WIRE = BinanceWire
