"""A store with known rows, and a real server over it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from tapeflow import venues
from tapeflow.api.app import create
from tapeflow.api.guard import Keys, NoKeys
from tapeflow.api.limits import Limits
from tapeflow.api.server import Server
from tapeflow.app.source import RunSource
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.stores import pages
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.render import objects
from tapeflow.stores.results import Results
from tapeflow.stores.swapped import SwappedResults

START = 1_700_000_000_000_000
SECOND = 1_000_000
CHANNELS = (
    "trades", "quotes", "book", "candles", "moving_average", "indicators", "coverage", "late", "quarantine",
)  # fmt: skip
LATENESS = 2 * SECOND


def trade(id: int, at: float, price: str = "100", size: str = "0.5", symbol: str = "BTCUSDT") -> bytes:
    time = START + round(at * SECOND)
    row = {"e": "trade", "E": time, "s": symbol, "t": id, "p": price, "q": size, "T": time, "m": id % 2 == 0, "M": True}
    return json.dumps(row).encode()


def quote(id: int, at: float) -> tuple[int, bytes]:
    row = {"u": id, "s": "BTCUSDT", "b": "99.50", "B": "1.25", "a": "100.5", "A": "3"}
    return START + round(at * SECOND), json.dumps(row).encode()


#: 40 trades, one a second and three in the seconds 5 and 6 at one time; none in the seconds 20 to 24; ids 31, 32 lack.
TRADES = [
    trade(number, at, f"{64000 + number * 7 % 13}.{number:02}")
    for number, at in enumerate([0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, *range(7, 20), *range(25, 41)], 1)
    if number not in (31, 32)
]


def flow() -> Any:
    made = Builder("served", lateness="2s")
    made.trades().candles("1s", "5s", "1m").indicator("sma_2")
    made.trades().moving_average("3s", "500ms")
    made.quotes()
    made.book(5)
    return made.build()


def stored(folder: Path) -> tuple[DuckStore, dict[str, tuple[int, int]]]:
    """A store of `TRADES`, a frame that cannot be read and some quotes, and the newest trades."""
    store = DuckStore(folder / "results.duckdb", CHANNELS)
    sink = SwappedResults(lambda: Results(flow(), "binance", CHANNELS, price_scale=8, size_scale=8))
    engine = Engine(flow(), venues.create("binance"), sink, channels=CHANNELS, of_tape=True)
    messages: list[Any] = [(None, one) for one in TRADES] + [(None, trade(9, 3, symbol="ETHUSDT"))]
    messages += [quote(number, number) for number in range(1, 30)] + [(START, b"{"), (START, b"{"), (START, b"[")]
    engine.feed(Frames.of(messages))
    engine.flush()
    store.commit(sink.take(engine.symbols), 1, coverage=engine.coverage())
    return store, engine.edges()


class StoredLive:
    """The present as the store has it: a `Live` without memory of its own."""

    def __init__(self, store: DuckStore, edges: dict[str, tuple[int, int]]) -> None:
        self._store = store
        self._edges = edges

    def watermark(self, symbol: str) -> int | None:
        edge = self._edges.get(symbol)
        return None if edge is None else edge[1] - LATENESS

    def latest(self, channel: str, symbol: str) -> dict[str, Any] | None:
        key = {"venue": "binance", "symbol": symbol}
        page = pages.read(self._store.cursor(), pages.Asked(channel=channel, key=key, limit=1, newest=True))
        return next(iter(objects(page.rows)), None)

    def forming(self, channel: str, **key: str | int) -> list[dict[str, Any]]:
        return []


def source(store: DuckStore, edges: dict[str, tuple[int, int]]) -> RunSource:
    return RunSource(
        store,
        StoredLive(store, edges),
        venue="binance",
        channels=CHANNELS,
        intervals=("1s", "5s", "1m"),
        indicators=("sma_2",),
        timezone="UTC",
        scales=(8, 8),
        followed=lambda: ["BTCUSDT"],
        instrument=lambda _: None,
        status=lambda: {"is_live": True, "is_pipeline_alive": True},
        sql_rows=1000,
        sql_seconds=1.0,
    )


class Said(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a server; every answer is read whole."""

    def __init__(self, address: str) -> None:
        self.address = address
        parts = urlsplit(address)
        self.host, self.port = parts.hostname or "", parts.port or 0

    def __call__(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: Any = None, **query: Any
    ) -> Said:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        target = path + ("?" + urlencode(query) if query else "")
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return Said(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        said = self(path, **query)
        assert said.status == 200, said.body
        return said.json["data"]  # type: ignore[no-any-return]


@contextmanager
def serving(given: Any, limits: Limits | None = None, keys: Keys | None = None) -> Iterator[Client]:
    limits = limits or Limits(requests_per_s=10_000)
    server = Server(create(given, limits), "127.0.0.1", 0, limits=limits, keys=keys or NoKeys())
    server.start()
    try:
        yield Client(server.address)
    finally:
        server.stop()
