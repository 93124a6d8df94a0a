"""What a venue's frames become: events, actions, and frames that could not be read.

Prices and sizes are int mantissas at the instrument's scales; times are int microseconds; ``ts_event`` is the
venue's time and None where it gives none. ``unit_us`` tells how fine the venue wrote it (1000 for milliseconds).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

import msgspec

Side = Literal["buy", "sell"]
Levels = tuple[tuple[int, int], ...]


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade, or an aggregate of the trades ``first_id..last_id`` at one price. ``side`` is the taker's."""

    symbol: str
    id: int
    price: int
    size: int
    side: Side
    ts_event: int
    unit_us: int
    first_id: int
    last_id: int
    is_aggregate: bool = False


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask. ``id`` is the book's update id."""

    symbol: str
    id: int
    bid: int
    bid_size: int
    ask: int
    ask_size: int
    ts_event: int | None = None


class BookSnapshot(msgspec.Struct, frozen=True):
    """A book as the venue states it. ``depth`` is the number of levels the venue cuts it at (None: as deep as asked).

    ``symbol`` is empty where the answer does not name it; the venue then finds the book that waits for it.
    """

    symbol: str
    id: int
    bids: Levels
    asks: Levels
    ts_event: int | None = None
    is_partial: bool = False


class BookDelta(msgspec.Struct, frozen=True):
    """Changed levels of updates ``first_id..last_id``: absolute sizes, zero removes the level. One atomic change."""

    symbol: str
    first_id: int
    last_id: int
    bids: Levels
    asks: Levels
    ts_event: int


class Kline(msgspec.Struct, frozen=True):
    """The venue's own candle as pushed. Volumes are wide (128-bit) mantissas; ``ts_event`` is the time of the push."""

    symbol: str
    interval: str
    ts_start: int
    ts_end: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    taker_buy_volume: int
    taker_buy_quote_volume: int
    count: int
    first_id: int | None
    last_id: int | None
    closed: bool
    ts_event: int | None


class Ticker(msgspec.Struct, frozen=True):
    """Rolling statistics of the venue. ``kind`` is ``24h``, ``mini``, ``1h``, ``4h``, ``1d`` or ``avg_price``.

    ``values`` maps readable names to decimal texts in canonical form, integers or None.
    """

    symbol: str
    kind: str
    ts_event: int | None
    values: dict[str, str | int | None]


class Status(msgspec.Struct, frozen=True):
    """Something said about the market or the connection: ``server_shutdown``, ``trading``, ``ack``, ``error`` ..."""

    kind: str
    symbol: str = ""
    detail: str = ""
    ts_event: int | None = None


class Gap(msgspec.Struct, frozen=True):
    """Updates ``first_id..last_id`` of a stream that did not arrive, between the times of their neighbours."""

    stream: str
    symbol: str
    first_id: int | None
    last_id: int | None
    ts_start: int | None
    ts_end: int | None
    reason: str


Event = Trade | Quote | BookSnapshot | BookDelta | Kline | Ticker | Status | Gap


class Quarantine(msgspec.Struct, frozen=True):
    """A frame that gave no event, and why; the engine keeps it with its bytes."""

    reason: str
    detail: str = ""


class Send(msgspec.Struct, frozen=True):
    """Send this message on the connection."""

    message: bytes


class Fetch(msgspec.Struct, frozen=True):
    """Ask the venue's REST API; the answer comes back through `receive` with the same ``request``.

    ``stream`` names the channel that waits for it, if one does; ``weight`` is what the venue counts it as.
    """

    path: str
    query: dict[str, str]
    why: str
    symbol: str = ""
    weight: int = 1
    stream: str = ""

    @property
    def request(self) -> str:
        """Path and query, as they are sent and as they stand on the tape."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Reconnect(msgspec.Struct, frozen=True):
    """Open a new connection."""

    why: str


Action = Send | Fetch | Reconnect
Output = Event | Action | Quarantine
