"""The present of a run, and the past of its stream: what the hub and the routes ask of pipeline and store."""

from __future__ import annotations

import asyncio
from concurrent.futures import TimeoutError as Late
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from tapeflow.api.topics import Refusal, Topic, Topics
from tapeflow.app.pipeline import Pipeline
from tapeflow.engine.embedded import Engine
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.render import json_lines

#: How long the pipeline may take to answer a request; a batch takes a fifth of a second at most.
ANSWER_S = 2.0

_decode = msgspec.json.Decoder().decode


class RunLive:
    """A `tapeflow.api.source.Live` and a `tapeflow.api.hub.Past` over the pipeline of a run and its store."""

    def __init__(self, pipeline: Pipeline, store: DuckStore, topics: Topics) -> None:
        self._pipeline = pipeline
        self._store = store
        self._topics = topics
        self._epoch = store.epoch  # does not change while a run lives

    # -- the present, for the routes -------------------------------------------------------------------------

    def watermark(self, symbol: str) -> int | None:
        return self._pipeline.progress.watermarks.get(symbol)

    def latest(self, channel: str, symbol: str) -> dict[str, Any] | None:
        rows = self._rows(Topic(channel, symbol))
        return rows[-1] if rows else None

    def forming(self, channel: str, **key: str | int) -> list[dict[str, Any]]:
        symbol = str(key["symbol"])
        asked = {name: value for name, value in key.items() if name not in ("venue", "symbol")}
        if channel == "indicators.forming" and "interval" not in asked:
            return [row for one in self._topics.intervals for row in self.forming(channel, interval=one, **key)]
        try:
            topics = self._topics.find({"channel": channel, "symbol": symbol, **asked}, [symbol])
        except Refusal:
            return []  # what the flow does not make has no rows
        return [row for topic in topics for row in self._rows(topic)]

    def _rows(self, topic: Topic) -> list[dict[str, Any]]:
        try:
            found = self._pipeline.ask(lambda engine: self._now(engine, topic)).result(ANSWER_S)
        except Late:
            return []
        return [_decode(row) for row in found]

    def _now(self, engine: Engine, topic: Topic) -> list[bytes]:
        """The newest value of a topic, or its rows of windows still open; in the pipeline's thread."""
        if topic.symbol not in engine.symbols:
            return []
        results = self._pipeline.newest(engine, topic.base, topic.symbol)
        given = results.in_order(topic.base, {topic.code(engine.number_of(topic.symbol))}, newest=_is_one(topic))
        return [] if given is None else list(given.table.json_lines())

    # -- the past, for the hub -------------------------------------------------------------------------------

    def epoch(self, _: Topic) -> str:
        return self._epoch

    async def ready(self) -> None:
        while not self._pipeline.progress.is_live:
            await asyncio.sleep(0.02)

    async def since(self, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
        return await asyncio.to_thread(self._since, topic, first, limit)

    def _since(self, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
        return stored_since(self._store, topic, first, limit)

    async def number(self, topic: Topic) -> int:
        return await asyncio.wrap_future(self._pipeline.ask(lambda engine: self._number(engine, topic)))

    def _number(self, engine: Engine, topic: Topic) -> int:
        if topic.symbol not in engine.symbols:
            return 0
        return self._pipeline.count(topic.channel, topic.code(engine.number_of(topic.symbol)))

    async def forming_rows(self, topic: Topic) -> list[bytes]:
        return await asyncio.wrap_future(self._pipeline.ask(lambda engine: self._now(engine, topic)))


class Numbered(Protocol):
    """A store that gives the rows of a series by their numbers."""

    def keeps(self, channel: str) -> bool: ...

    def since(self, channel: str, seq: int, limit: int, **key: str | int) -> pa.Table: ...


def stored_since(store: Numbered, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
    """(number, row as JSON) of a topic from a number on; none of a channel that the store does not keep."""
    if not store.keeps(topic.channel):
        return []
    found = store.since(topic.channel, first, limit, symbol=topic.symbol, **dict(topic.params))
    numbers = found.column("seq").to_pylist()
    return list(zip(numbers, json_lines(found.drop_columns(["seq"])), strict=True))


def _is_one(topic: Topic) -> bool:
    return topic.base in ("quotes", "book", "tickers")
