"""Settings: the only place that reads configuration files and the environment. Frozen values, unknown keys refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import parse_span
from tapeflow.flow.builder import Builder
from tapeflow.flow.catalogue import INDICATORS, INTERVALS, default
from tapeflow.flow.nodes import Flow

_Kind = TypeVar("_Kind")

#: Channels that a store can keep, and those it keeps unless told otherwise.
STORABLE = (
    "trades", "quotes", "book", "tickers", "klines", "candles", "moving_average", "indicators", "coverage", "late",
    "quarantine",
)  # fmt: skip
STORED = ("trades", "quotes", "candles", "moving_average", "indicators", "coverage", "late", "quarantine")


class MovingAverageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[moving_average]]``: a sliding mean."""

    window: str = "3s"
    slide: str = "500ms"
    source: Literal["trades", "klines"] = "trades"


class CandlesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[candles]``: intervals, and the indicators on each of them."""

    intervals: tuple[str, ...] = INTERVALS
    indicators: tuple[str, ...] = INDICATORS


class BookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[book]``: how many levels of each side a row has."""

    depth: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 20


class FlowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flow file. A part that is left out is not computed; ``[candles]`` alone has the contract's defaults."""

    name: str = "flow"
    lateness: str = "2s"
    horizon: str = "1h"
    candles: CandlesSettings | None = None
    moving_average: tuple[MovingAverageSettings, ...] = ()
    book: BookSettings | None = None
    trades: bool = True
    quotes: bool = False
    latest_quotes: bool = False
    klines: bool = False
    tickers: bool = False

    def flow(self) -> Flow:
        """The flow, validated; raises `SettingsError`."""
        flow = Builder(self.name, lateness=self.lateness, horizon=self.horizon)
        if self.trades:
            flow.trades()
        if self.candles is not None:
            candles = flow.trades().candles(*self.candles.intervals)
            for indicator in self.candles.indicators:
                candles.indicator(indicator)
        for mean in self.moving_average:
            (flow.klines() if mean.source == "klines" else flow.trades()).moving_average(mean.window, mean.slide)
        if self.quotes:
            flow.quotes()
        if self.latest_quotes:
            flow.quotes().latest()
        if self.book is not None:
            flow.book(self.book.depth)
        if self.klines:
            flow.klines()
        if self.tickers:
            flow.tickers()
        return flow.build()


def load_flow(path: Path) -> Flow:
    """The flow of a TOML file; raises `SettingsError` that says where and what is wrong."""
    read = _load(path, FlowSettings, "docs/reference/flow-file.md")
    try:
        return read.flow()
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _load(path: Path, kind: type[_Kind], reference: str) -> _Kind:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; give the path of a TOML file, see {reference}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: expected UTF-8 text: {error}") from error
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}; {reference} has every key") from error


class EndpointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[endpoints]``: where the venue is; its public addresses unless given."""

    websocket: str = ""
    rest: str = ""


class FeedFileSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[feed]``: how the venue is followed."""

    streams_per_connection: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 200
    #: A connection is replaced at this age; ten minutes before the venue cuts it unless given.
    connection_age: str | None = None
    #: A hole that the venue does not answer for so long is given up, and coverage says so.
    give_up: str = "30m"
    #: Candles of the past asked for when a symbol is followed first, for each interval; 0 for none.
    history: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 500
    #: The part of the venue's request weight that may be used.
    weight_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9


class TapeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[tape]``: how long the record of messages is kept, and how it is written."""

    keep: str = "7d"
    keep_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 50 << 30
    segment_bytes: Annotated[int, msgspec.Meta(ge=1 << 16)] = 256 << 20
    commit: str = "5ms"
    sync: str = "1s"
    #: What may wait in memory while the disk refuses; then the sockets are no longer read.
    waiting_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 64 << 20


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[store]``: which channels are kept, and how long; without a time for ever."""

    channels: tuple[str, ...] = STORED
    keep: dict[str, str] = {}


class RunSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of ``tapeflow run``."""

    symbols: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    venue: str = "binance"
    data: str = "data"
    endpoints: EndpointSettings = EndpointSettings()
    feed: FeedFileSettings = FeedFileSettings()
    tape: TapeSettings = TapeSettings()
    store: StoreSettings = StoreSettings()
    flow: FlowSettings | None = None

    def make_flow(self) -> Flow:
        """The flow of ``[flow]``, else the default one of what the store keeps."""
        if self.flow is not None:
            return self.flow.flow()
        return default(INTERVALS, [channel for channel in self.store.channels if channel != "klines"])


def load_run(path: Path) -> RunSettings:
    """The settings of a run; raises `SettingsError` that says where and what is wrong.

    Paths in it are relative to the file. Symbols are upper case, each once.
    """
    read = _load(path, RunSettings, "docs/reference/run-file.md")
    symbols = tuple(dict.fromkeys(symbol.strip().upper() for symbol in read.symbols))
    if not all(symbols):
        raise SettingsError(f"{path}: symbols: expected names such as BTCUSDT, got an empty one")
    for channel in (*read.store.channels, *read.store.keep):
        if channel not in STORABLE:
            raise SettingsError(f"{path}: store: no channel {channel!r}; there are {', '.join(STORABLE)}")
    for span in (read.feed.give_up, read.feed.connection_age or "1s", read.tape.keep, read.tape.commit, read.tape.sync):
        _span(path, span)
    for span in read.store.keep.values():
        _span(path, span)
    data = str((path.parent / read.data).resolve())
    made = msgspec.structs.replace(read, symbols=symbols, data=data)
    try:
        made.make_flow()
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    return made


def _span(path: Path, text: str) -> None:
    try:
        parse_span(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
