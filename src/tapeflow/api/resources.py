"""What can be asked for: one value for each channel that has a path, from which route, checks and OpenAPI are made."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["text", "int", "time", "flag", "interval"]


class Param(msgspec.Struct, frozen=True):
    """A parameter of a query; ``example`` is used in the documentation and in its tests."""

    name: str
    description: str
    kind: Kind = "text"
    example: str = ""
    is_required: bool = False
    choices: tuple[str, ...] = ()


class Resource(msgspec.Struct, frozen=True):
    """A channel under a path. ``stream`` is whose coverage its answers tell; ``own`` filters by columns of its rows."""

    path: str
    channel: str
    summary: str
    own: tuple[Param, ...] = ()
    stream: str = "trades"
    needs_symbol: bool = True
    has_forming: bool = False
    has_fill: bool = False

    @property
    def params(self) -> tuple[Param, ...]:
        """Every parameter, the more used first."""
        symbol = msgspec.structs.replace(SYMBOL, is_required=self.needs_symbol)
        forming = (FORMING,) if self.has_forming else ()
        fill = (FILL,) if self.has_fill else ()
        return (VENUE, symbol, *self.own, *_RANGE, *forming, *fill, FORMAT)


VENUE = Param("venue", "The venue; the one of the run if left out.", example="binance")
SYMBOL = Param("symbol", "The symbol as the venue writes it, in any case.", example="BTCUSDT")
FORMAT = Param(
    "format", "The form of the answer, in place of `Accept`.", choices=("json", "ndjson", "csv", "arrow", "parquet")
)
FORMING = Param("forming", "`true`: also the windows that have not closed yet, with `closed: false`.", "flag", "true")
FILL = Param(
    "fill",
    "`previous`: a window without trades is a row at the close before, count 0, volume 0, source `previous`.",
    example="previous",
    choices=("previous",),
)
_RANGE = (
    Param("start", "Rows from this time on: microseconds since 1970, or RFC 3339.", "time", "2026-01-01T00:00:00Z"),
    Param("end", "Rows before this time.", "time", "2100-01-01T00:00:00Z"),
    Param("limit", "Rows at most: 500 unless given, 10,000 at most.", "int", "5"),
    Param("cursor", "`next` of the answer before: the rows that follow."),
)
_INTERVAL = Param("interval", "The length of a window.", "interval", "1s")
_NEEDED = msgspec.structs.replace(_INTERVAL, is_required=True)

RESOURCES = (
    Resource(
        "/v1/candles",
        "candles",
        "Candles: open, high, low, close, volume.",
        (_NEEDED,),
        has_forming=True,
        has_fill=True,
    ),
    Resource("/v1/trades", "trades", "Trades, each once."),
    Resource("/v1/quotes", "quotes", "Best bid and ask, each change.", stream="quotes"),
    Resource(
        "/v1/moving-average",
        "moving_average",
        "Sliding means of trade prices.",
        (
            Param("window_ms", "The length of the window.", "int", "3000"),
            Param("slide_ms", "How often there is one.", "int", "500"),
        ),
        has_forming=True,
    ),
    Resource(
        "/v1/indicators",
        "indicators",
        "Indicators over closed candles.",
        (
            _INTERVAL,
            Param("name", "One indicator; computed now if the run does not have it.", example="sma_20"),
        ),
        has_forming=True,
    ),
    Resource(
        "/v1/coverage",
        "coverage",
        "What was seen of each stream, and what is missing.",
        (
            Param("stream", "The stream.", example="trades"),
            Param("state", "The state.", choices=("complete", "gap", "unknown")),
        ),
        needs_symbol=False,
    ),
    Resource("/v1/late", "late", "Trades that came beyond the horizon.", needs_symbol=False),
    Resource(
        "/v1/quarantine",
        "quarantine",
        "Frames that could not be read, and why.",
        (Param("reason", "The reason."), Param("connection", "The connection.")),
        needs_symbol=False,
    ),
    Resource(
        "/v1/tickers",
        "tickers",
        "The venue's own statistics of 24 hours.",
        (Param("kind", "Which of the venue's."),),
        stream="tickers",
    ),
    Resource("/v1/klines", "klines", "The venue's own candles, each push a row.", (_INTERVAL,), stream="klines"),
)

LATEST_QUOTE = Resource("/v1/quotes/latest", "quotes", "The newest best bid and ask.", stream="quotes")
BOOK = Resource("/v1/book", "book", "The order book as it stands.", stream="book")
DEPTH = Param("depth", "Levels of each side.", "int", "5")
Q = Param("q", "One statement that reads.", example="SELECT count(*) AS n FROM candles", is_required=True)
