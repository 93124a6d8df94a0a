"""How a venue is talked to: what a feed has to know of it. One class in each venue's `wire` module."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol, cast

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.events import Fetch, Gap, Send


class Limits(msgspec.Struct, frozen=True):
    """What a venue allows: streams and messages a second of one connection, its life, attempts to connect, weight."""

    streams: int
    messages_per_s: int
    connection_s: int
    attempts: int
    attempts_s: int
    weight_per_minute: int
    used_weight_header: str


class Wire(Protocol):
    """The venue's side of a feed, without I/O; see `tapeflow.venues.binance.wire` for what each answers."""

    name: str
    websocket: str
    rest: str
    socket_path: str
    #: What to do where the venue refuses a region: other addresses of it, as part of a sentence.
    where_refused: str
    #: The time zone in which the venue's days begin, an IANA name.
    timezone: str
    #: What to ask for the venue's time.
    time_path: str
    headers: dict[str, str]
    limits: Limits
    instruments: Fetch

    def streams(self, symbol: str, channels: Collection[str], intervals: Collection[str]) -> list[str]: ...

    def subscribe(self, names: Iterable[str], first_id: int) -> Iterator[Send]: ...

    def unsubscribe(self, names: Iterable[str], first_id: int) -> Iterator[Send]: ...

    def stream_of(self, frame: bytes) -> bytes: ...

    def symbol_of(self, stream: str) -> str: ...

    def is_acknowledgement(self, frame: bytes) -> bool: ...

    def read_time(self, answer: bytes) -> int: ...

    def listed(self, instruments: bytes) -> dict[str, str]: ...

    def refill(self, gap: Gap, attempt: int = 0) -> Fetch | None: ...

    def candles(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> Fetch | None: ...

    def trades_at(self, symbol: str, start: int) -> Fetch: ...

    def trades_from(self, symbol: str, aggregate_id: int) -> Fetch: ...


def wire(name: str) -> Wire:
    """How a venue is talked to; raises `SettingsError` for one that has no live feed."""
    try:
        module = importlib.import_module(f"tapeflow.venues.{name}.wire")
    except ModuleNotFoundError as error:
        raise SettingsError(f"no live feed of {name!r}; there is one of binance") from error
    return cast("Wire", module.WIRE())
