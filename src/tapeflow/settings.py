"""Settings: the only place that reads configuration files and the environment. Frozen values, unknown keys refused."""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from tapeflow import indicators
from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import parse_span
from tapeflow.flow.builder import Builder
from tapeflow.flow.catalogue import INDICATORS, INTERVALS, default
from tapeflow.flow.nodes import Flow

_Kind = TypeVar("_Kind", bound=msgspec.Struct)

#: Channels that a store can keep, and those it keeps unless told otherwise.
STORABLE = (
    "trades", "quotes", "book", "tickers", "klines", "candles", "moving_average", "indicators", "coverage", "late",
    "quarantine",
)  # fmt: skip
STORED = ("trades", "quotes", "candles", "moving_average", "indicators", "coverage", "late", "quarantine")
#: What has a topic on a bus: channels, and what its parts tell each other.
TOPICS = (*STORABLE, "collectors", "owners", "status", "symbols", "requests", "answers", "dead_letters")


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
    own_indicators: str | None = None
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
        if self.own_indicators:
            indicators.add_folder(self.own_indicators)
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
    read = _placed(_load(path, FlowSettings, "docs/reference/flow-file.md"), path)
    try:
        return read.flow()
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _placed(flow: FlowSettings, path: Path) -> FlowSettings:
    """The folder is relative to the file that names it."""
    if not flow.own_indicators:
        return flow
    return msgspec.structs.replace(flow, own_indicators=str((path.parent / flow.own_indicators).resolve()))


def _load(path: Path, kind: type[_Kind], reference: str) -> _Kind:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; give the path of a TOML file, see {reference}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: expected UTF-8 text: {error}") from error
    return parse_toml(text, kind, str(path), f"; {reference} has every key")


def parse_toml(text: str, kind: type[_Kind], place: str, advice: str = "") -> _Kind:
    """The settings of a TOML text; raises `SettingsError` with all that is wrong in it."""
    try:
        read = tomllib.loads(text)
        return msgspec.convert(read, kind)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{place}: {error}{advice}") from error
    except msgspec.ValidationError as error:
        found = "\n  ".join(problems(read, kind)) or str(error)
        raise SettingsError(f"{place}: {found}{advice}") from error


def problems(
    read: object, kind: type[msgspec.Struct], where: str = "", root: type[msgspec.Struct] | None = None
) -> Iterator[str]:
    """What is wrong with a table, key by key, each with its place: ``[feed] history: expected int, got str``."""
    place, root = f"[{where}] " if where else "", root or kind
    if not isinstance(read, dict):
        yield f"{place or 'the file '}expected a table, got {type(read).__name__}"
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key, value in read.items():
        if key not in fields:
            yield f"{place}{key}: no such key{_nearest(key, where, fields, root)}"
            continue
        inner = table_of(fields[key].type)
        inside = f"{where}.{key}" if where else key
        if inner is None or not isinstance(value, dict | list):
            yield from _value_problems(value, fields[key].type, f"{place}{key}")
        else:
            for row in value if isinstance(value, list) else [value]:
                yield from problems(row, inner, inside, root)
    for name, field in fields.items():
        if field.required and name not in read:
            yield f"{place}{name}: must be given"


def table_of(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a type is, may be or is a list of; None for a plain value."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for part in get_args(kind) if (found := table_of(part)) is not None), None)


def _value_problems(value: Any, kind: Any, place: str) -> Iterator[str]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield f"{place}: {error}"


def _nearest(key: str, where: str, fields: dict[str, Any], root: type[msgspec.Struct]) -> str:
    near = difflib.get_close_matches(key, fields, 1)
    if near:
        return f"; did you mean {near[0]}?"
    homes = [table for table, names in _places(root) if key in names and table != where]
    if homes:
        return f" here; it belongs to {f'[{homes[0]}]' if homes[0] else 'the head of the file'}"
    return f"; there are {', '.join(fields)}"


def _places(root: type[msgspec.Struct]) -> Iterator[tuple[str, list[str]]]:
    """The tables of a file and their keys."""
    fields = msgspec.structs.fields(root)
    yield "", [field.name for field in fields]
    for field in fields:
        table = table_of(field.type)
        if table is not None:
            yield field.name, [inner.name for inner in msgspec.structs.fields(table)]


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
    commit: str = "2ms"
    sync: str = "1s"
    #: What may wait in memory while the disk refuses; then the sockets are no longer read.
    waiting_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 64 << 20


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[store]``: which channels are kept, and how long; without a time for ever."""

    channels: tuple[str, ...] = STORED
    keep: dict[str, str] = {}


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[api]``: the page, REST and the stream, on one port; and what one client may take of it."""

    enabled: bool = True
    #: Not a loopback address only with keys: `tapeflow.api.keys` refuses the start otherwise.
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8600
    #: Names by which the server may be called, beside its own address; another ``Host`` is refused.
    allowed_hosts: tuple[str, ...] = ()
    #: Pages of other origins that may read and subscribe.
    allowed_origins: tuple[str, ...] = ()
    #: For each key, or each address where there is none.
    requests_per_s: Annotated[float, msgspec.Meta(gt=0)] = 50.0
    connections_per_address: Annotated[int, msgspec.Meta(ge=1)] = 64
    connections: Annotated[int, msgspec.Meta(ge=1)] = 4096
    subscriptions_per_connection: Annotated[int, msgspec.Meta(ge=1)] = 1000
    messages_per_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    sql: bool = True
    sql_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    sql_rows: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    #: A key is asked for on loopback too.
    require_key: bool = False

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach the address."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True  # a name may mean any address


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[alerts]``: who may be told of them. The rules are made by the API and kept in ``alerts.json``."""

    #: Webhooks may lead to this machine and its networks.
    allow_private: bool = False
    #: Targets of Apprise, which connects wherever its URL says.
    apprise: bool = False
    limit: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 1000


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[log]``: what is said on standard error, and how."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


def _where(given: str, variable: str, question: str) -> str:
    """Where a server is: as given, else as the environment says; raises `SettingsError` where nothing does."""
    found = given or os.environ.get(variable, "")
    if not found:
        raise SettingsError(
            f'{question}, or in {variable}: eval "$(tapeflow stack env)" sets it for the servers of `tapeflow stack up`'
        )
    return found


class BusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[bus]``: Kafka between the collectors, the engine, the sinks and the gateways."""

    #: ``HOST:PORT,...``; what TAPEFLOW_KAFKA says unless given.
    bootstrap: str = ""
    #: Of this collector: its place on the bus and its symbols are kept under it. It is of one tape.
    name: str = "collector"
    #: Put before the name of every topic that `topics` does not name.
    prefix: str = ""
    #: The topic of a channel, where it is not the channel's own name.
    topics: dict[str, str] = {}
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4
    #: Copies of each topic; 0 for three, or as many as there are brokers.
    replication: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    #: How long event topics are kept.
    keep: str = "7d"
    #: Further properties of every Kafka client, such as ``security.protocol``.
    client: dict[str, str] = {}

    def topic(self, channel: str) -> str:
        """The name of a channel's topic."""
        return self.topics.get(channel, f"{self.prefix}{channel}")

    @property
    def servers(self) -> str:
        """The brokers; raises `SettingsError` where nothing names them."""
        return _where(self.bootstrap, "TAPEFLOW_KAFKA", '[bus] bootstrap: where is Kafka? Give it as "HOST:PORT"')


class PostgresSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[postgres]``: the database that sinks write to and gateways read from."""

    #: ``postgresql://USER:PASSWORD@HOST:PORT/NAME``; what TAPEFLOW_POSTGRES says unless given.
    url: str = ""
    #: The schema of the tables.
    schema: str = "tapeflow"
    #: The same of a role that may only read, for SQL of strangers; what TAPEFLOW_POSTGRES_READER says unless given.
    reader: str = ""

    @property
    def address(self) -> str:
        """Where it is; raises `SettingsError` where nothing says."""
        return _where(self.url, "TAPEFLOW_POSTGRES", "[postgres] url: where is PostgreSQL? Give it")

    @property
    def reader_address(self) -> str:
        """Where it is as one reads it; empty where nothing says, and there is no SQL."""
        return self.reader or os.environ.get("TAPEFLOW_POSTGRES_READER", "")


class FlinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[flink]``: how `tapeflow submit` runs the flow on a Flink cluster."""

    #: ``HOST:PORT`` of its REST; what TAPEFLOW_FLINK says unless given.
    address: str = ""
    #: The brokers as the cluster reaches them, where that is not as we do.
    brokers: str = ""
    #: Tasks that work side by side; 0 for one for each partition.
    parallelism: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    #: How often state and, with exactly_once, results are committed.
    checkpoint: str = "10s"
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    #: How long trades gather before a window gives a row.
    latency: str = "500ms"
    #: The longest time that the job may be away or behind without losing state of a window.
    outage: str = "1h"
    #: Further properties of Flink.
    properties: dict[str, str] = {}

    @property
    def server(self) -> str:
        """Where it is; raises `SettingsError` where nothing says."""
        asked = '[flink] address: where is Flink? Give it as "HOST:PORT", by --address'
        return _where(self.address, "TAPEFLOW_FLINK", asked)


class RunSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of ``tapeflow run``."""

    symbols: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    venue: str = "binance"
    data: str = "data"
    endpoints: EndpointSettings = EndpointSettings()
    feed: FeedFileSettings = FeedFileSettings()
    tape: TapeSettings = TapeSettings()
    store: StoreSettings = StoreSettings()
    api: ApiSettings = ApiSettings()
    alerts: AlertSettings = AlertSettings()
    log: LogSettings = LogSettings()
    flow: FlowSettings | None = None
    bus: BusSettings | None = None
    postgres: PostgresSettings = PostgresSettings()
    flink: FlinkSettings = FlinkSettings()

    def make_flow(self) -> Flow:
        """The flow of ``[flow]``, else the default one of what the store keeps."""
        if self.flow is not None:
            return self.flow.flow()
        return default(INTERVALS, [channel for channel in self.store.channels if channel != "klines"])


def load_run(path: Path) -> RunSettings:
    """The settings of a run; raises `SettingsError` that says where and what is wrong, all of it.

    Paths in it are relative to the file. Symbols are upper case, each once.
    """
    read = _load(path, RunSettings, "docs/reference/run-file.md")
    symbols = tuple(dict.fromkeys(symbol.strip().upper() for symbol in read.symbols))
    data = str((path.parent / read.data).resolve())
    flow = None if read.flow is None else _placed(read.flow, path)
    made = msgspec.structs.replace(read, symbols=symbols, data=data, flow=flow)
    found = list(_misfits(made))
    if found:
        raise SettingsError(f"{path}: " + "\n  ".join(found))
    return made


def _misfits(made: RunSettings) -> Iterator[str]:
    """Values of the right type that cannot be used."""
    if not all(made.symbols):
        yield "symbols: expected names such as BTCUSDT, got an empty one"
    for channel in dict.fromkeys((*made.store.channels, *made.store.keep)):
        if channel not in STORABLE:
            yield f"[store] no channel {channel!r}; there are {', '.join(STORABLE)}"
    for channel in made.store.keep:
        if channel in STORABLE and channel not in made.store.channels:
            yield f"[store] keep: {channel} is not kept at all; add it to channels, or take it out of keep"
    for name in made.bus.topics if made.bus is not None else ():
        if name not in TOPICS:
            yield f"[bus.topics] nothing is called {name!r}; there are {', '.join(TOPICS)}"
    for place, span in _spans(made):
        try:
            parse_span(span)
        except SettingsError as error:
            yield f"{place}: {error}"
    try:
        made.make_flow()
    except SettingsError as error:
        yield str(error)


def _spans(made: RunSettings) -> Iterator[tuple[str, str]]:
    """Every span of time in the file, with its place."""
    yield "[feed] give_up", made.feed.give_up
    if made.feed.connection_age is not None:
        yield "[feed] connection_age", made.feed.connection_age
    for name in ("keep", "commit", "sync"):
        yield f"[tape] {name}", getattr(made.tape, name)
    for channel, span in made.store.keep.items():
        yield f"[store] keep.{channel}", span
    for name in ("checkpoint", "latency", "outage"):
        yield f"[flink] {name}", getattr(made.flink, name)
    if made.bus is not None:
        yield "[bus] keep", made.bus.keep
