"""Messages, and the results that an engine makes of them, for tests of stores."""

from __future__ import annotations

import json
from typing import Any

from tapeflow import venues
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.stores.results import Results
from tapeflow.stores.store import Store

CHANNELS = ("trades", "quotes", "candles", "indicators", "coverage", "late", "quarantine")
US = 1_700_000_000_000_000
SECOND = 1_000_000

Message = bytes | tuple[int | None, bytes]


def flow() -> Any:
    made = Builder("stored")
    made.trades().candles("1s").indicator("sma_2")
    made.quotes()
    return made.build()


def trade(id: int, at: float = 0.0, price: str = "100", *, symbol: str = "X") -> bytes:
    time = US + round(at * SECOND)
    row = {"e": "trade", "E": time, "s": symbol, "t": id, "p": price, "q": "1", "T": time, "m": False, "M": True}
    return json.dumps(row).encode()


def aggregate(id: int, first: int, last: int, at: float = 0.0) -> bytes:
    time = US + round(at * SECOND)
    row = {"e": "aggTrade", "E": time, "s": "X", "a": id, "p": "100", "q": "1", "f": first, "l": last, "T": time}
    return json.dumps(row | {"m": False, "M": True}).encode()


def quote(id: int, at: float = 0.0) -> tuple[int, bytes]:
    return US + round(at * SECOND), b'{"u":%d,"s":"X","b":"1","B":"1","a":"2","A":"1"}' % id


class Source:
    """An engine, and the results it has given since they were taken."""

    def __init__(self) -> None:
        self.results = self._new()
        self.engine = Engine(flow(), venues.create("binance"), self, of_tape=True)

    def _new(self) -> Results:
        return Results(flow(), "binance", CHANNELS, price_scale=8, size_scale=8)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.results, name)

    def take(self, *messages: Message) -> Results:
        self.engine.feed(Frames.of([m if isinstance(m, tuple) else (None, m) for m in messages]))
        self.engine.tick(US)  # closes what the trades' own times allow
        self.engine.flush()
        taken, self.results = self.results, self._new()
        taken.names = self.engine.symbols
        return taken


def rows(store: Store, channel: str, **options: Any) -> list[dict[str, Any]]:
    return store.read(channel, **options).to_pylist()  # type: ignore[no-any-return]


def ids(store: Store, **options: Any) -> list[str]:
    return [row["id"] for row in rows(store, "trades", **options)]
