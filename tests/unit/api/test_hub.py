"""The hub: whoever comes, goes, lags and comes again has every row once and in order. Real rows of a real engine."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeflow import venues
from tapeflow.api import hub as hubs
from tapeflow.api.hub import Hub
from tapeflow.api.ring import Ring
from tapeflow.api.topics import Refusal, Topic, Topics
from tapeflow.engine.columns import QUOTE
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.stores.results import Results
from tapeflow.stores.swapped import SwappedResults

CHANNELS = ("trades", "candles", "moving_average", "indicators", "quotes")
US = 1_700_000_000_000_000


def flow() -> Any:
    made = Builder("hub", lateness="1s")
    made.trades().candles("1s", "5s").indicator("sma_2")
    made.trades().moving_average("2s", "1s")
    made.quotes()
    return made.build()


class Source:
    """Rows in batches, and the store they go to: some batches later."""

    def __init__(self, seed: int, lag: int = 2) -> None:
        self._chance = random.Random(seed)
        self._sink = SwappedResults(self._new)
        self._engine = Engine(flow(), venues.create("binance"), self._sink, channels=CHANNELS, of_tape=True)
        self._ids = {"A": 0, "B": 0}
        self._at = 0
        self._lag = lag
        self.given: list[Results] = []
        self.lost_before = 0  # numbers that the store has no more

    def epoch(self, _: Topic) -> str:
        return "e"

    def _new(self) -> Results:
        return Results(flow(), "binance", CHANNELS, price_scale=8, size_scale=8, all_revisions=True, numbered=True)

    def batch(self) -> Results:
        frames = []
        for _ in range(self._chance.randrange(1, 6)):
            symbol = self._chance.choice("AB")
            self._at += self._chance.randrange(0, 900_000)
            self._ids[symbol] += 1
            late = self._chance.choice([0, 0, 0, 3_000_000])
            time = US + self._at - late
            row = {"e": "trade", "E": US + self._at, "s": symbol, "t": self._ids[symbol], "p": "1.5", "q": "2"}
            frames.append((None, json.dumps(row | {"T": time, "m": False, "M": True}).encode()))
        self._engine.feed(Frames.of(frames))
        self._engine.tick(US + self._at)
        self._engine.flush()
        results = self._sink.take(self._engine.symbols)
        self.given.append(results)
        return results

    # -- Past -------------------------------------------------------------------------------------------

    async def ready(self) -> None: ...

    async def since(self, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
        await asyncio.sleep(0)
        stored = self.given[: max(0, len(self.given) - self._lag)]
        rows = [row for row in self.rows(topic, stored) if row[0] >= max(first, self.lost_before)]
        return rows[:limit]

    def rows(self, topic: Topic, batches: list[Results] | None = None) -> list[tuple[int, bytes]]:
        if topic.symbol not in self._engine.symbols:
            return []
        code = topic.code(self._engine.number_of(topic.symbol))
        found = []
        for results in self.given if batches is None else batches:
            given = results.in_order(topic.channel, {code})
            if given is not None:
                found += list(zip(given.numbers, given.table.json_lines(), strict=True))
        return found

    async def number(self, topic: Topic) -> int:
        count = len(self.rows(topic))
        await asyncio.sleep(0)
        return count

    async def forming_rows(self, topic: Topic) -> list[bytes]:
        return []


class Reader:
    """A client that keeps what it is given, and where it was."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.cursor: str | None = None
        self.dismissed: list[str] = []

    def push(self, topic: Topic, message: bytes, cursor: str) -> None:
        self.messages.append(json.loads(message))
        self.cursor = cursor

    def show(self, topic: Topic, message: bytes) -> None:
        self.messages.append(json.loads(message))

    async def ready(self) -> None:
        await asyncio.sleep(0)

    def dismiss(self, reason: str) -> None:
        self.dismissed.append(reason)


TOPICS = [
    Topic("trades", "A"),
    Topic("candles", "A", (("interval", "1s"),), 0),
    Topic("candles", "B", (("interval", "5s"),), 1),
    Topic("moving_average", "B", (("window_ms", 2000), ("slide_ms", 1000))),
    Topic("indicators", "A", (("interval", "1s"), ("name", "sma_2")), 0, 0),
]


def small(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(hubs, "Ring", lambda: Ring(kept))
    monkeypatch.setattr(hubs, "PAGE", 7)


async def story(seed: int, kept: int) -> None:
    chance, source = random.Random(seed), Source(seed)
    hub = Hub("binance", source, lambda _: None)
    hub._ring = Ring(kept)
    hub.attach(asyncio.get_running_loop())
    readers = {topic: Reader() for topic in TOPICS}
    begun: dict[Topic, int] = {}
    joined: dict[Topic, asyncio.Task[None]] = {}
    for _ in range(60):
        hub.offer(source.batch(), is_forming=False)
        for _ in range(chance.randrange(0, 3)):
            await asyncio.sleep(0)
        for topic, reader in readers.items():
            if topic in joined and chance.random() < 0.15:
                joined.pop(topic).cancel()
                hub.leave(topic, reader)
            elif topic not in joined and chance.random() < 0.5:
                if reader.cursor is not None:
                    assert await hub.can_resume(topic, reader.cursor)
                joined[topic] = asyncio.create_task(hub.join(topic, reader, cursor=reader.cursor, rows=0))
    for topic, reader in readers.items():
        if topic not in joined:
            joined[topic] = asyncio.create_task(hub.join(topic, reader, cursor=reader.cursor, rows=0))
    hub.offer(source.batch(), is_forming=False)
    for _ in range(4):
        source.batch()  # the store catches up
    source._lag = 0
    await asyncio.wait_for(asyncio.gather(*joined.values()), 20)
    for topic, reader in readers.items():
        assert not reader.dismissed
        snapshot = next((m for m in reader.messages if m["type"] == "snapshot"), None)
        assert snapshot is not None
        begun[topic] = int(snapshot["cursor"].partition(".")[2])
        had = [row for message in reader.messages for row in message["data"]]
        expected = [json.loads(row) for number, row in source.rows(topic) if number > begun[topic]]
        assert had == expected[: len(had)]
        assert len(expected) - len(had) <= len(source.rows(topic, source.given[-4:]))
        last = snapshot["cursor"]
        for message in reader.messages:
            if message["type"] == "update":
                assert message["prev"] == last
            last = message["cursor"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([150, 400, 10_000]))
def test_every_row_once_and_in_order_however_clients_come_and_go(seed: int, kept: int) -> None:
    asyncio.run(story(seed, kept))


def test_a_cursor_whose_rows_are_gone_or_that_is_of_another_time_cannot_be_resumed_from() -> None:
    async def run() -> None:
        source = Source(1, lag=0)
        hub = Hub("binance", source, lambda _: None)
        hub._ring = Ring(5)
        hub.attach(asyncio.get_running_loop())
        for _ in range(30):
            hub.offer(source.batch(), is_forming=False)
            await asyncio.sleep(0)
        topic = TOPICS[0]
        count = len(source.rows(topic))
        assert await hub.can_resume(topic, hub.cursor(topic, count))
        assert await hub.can_resume(topic, hub.cursor(topic, 1))
        source.lost_before = 10
        assert not await hub.can_resume(topic, hub.cursor(topic, 3))
        for bad in (hub.cursor(topic, count + 1), "f.3", "", "e.", "e.-1", "e.1.2", "e.²", "l.3", "e.cabc"):
            assert not await hub.can_resume(topic, bad), bad

    asyncio.run(run())


def test_a_snapshot_has_the_newest_rows() -> None:
    async def run() -> None:
        source = Source(2, lag=0)
        hub = Hub("binance", source, lambda _: None)
        hub.attach(asyncio.get_running_loop())
        for _ in range(30):
            hub.offer(source.batch(), is_forming=False)
            await asyncio.sleep(0)
        for topic in TOPICS:
            for rows in (0, 1, 5, 1000):
                reader = Reader()
                await hub.join(topic, reader, rows=rows)
                (message,) = reader.messages
                expected = [json.loads(row) for _, row in source.rows(topic)]
                assert message["data"] == expected[len(expected) - min(rows, len(expected)) :]

    asyncio.run(run())


@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize("kept", [60, 10_000])
def test_a_snapshot_and_what_follows_it_have_no_hole(kept: int, lag: int) -> None:
    """Though the store is behind, and memory does not reach back as far as is asked for."""

    async def run(seed: int) -> None:
        source = Source(seed, lag=lag)
        hub = Hub("binance", source, lambda _: None)
        hub._ring = Ring(kept)
        hub.attach(asyncio.get_running_loop())
        for _ in range(40):
            hub.offer(source.batch(), is_forming=False)
            await asyncio.sleep(0)
        for topic in TOPICS:
            reader = Reader()
            await asyncio.wait_for(hub.join(topic, reader, rows=20), 20)
            had = [row for message in reader.messages for row in message["data"]]
            whole = [json.loads(row) for _, row in source.rows(topic)]
            assert had, "something is there, in memory if not in the store"
            assert had == whole[len(whole) - len(had) :]
            assert reader.cursor == hub.cursor(topic, len(whole))

    for seed in range(8):
        asyncio.run(run(seed))


def test_a_row_that_is_nowhere_dismisses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a repair of a part of the past: one more row is counted than is stored."""
    monkeypatch.setattr(hubs, "STORED_S", 0.2)

    async def run() -> None:
        source, topic = Source(5, lag=0), TOPICS[1]
        for _ in range(30):
            source.batch()
        whole = source.rows(topic)
        monkeypatch.setattr(source, "rows", lambda *_: whole[:-1])
        monkeypatch.setattr(source, "number", lambda _: asyncio.sleep(0, len(whole)))
        hub, reader = Hub("binance", source, lambda _: None), Reader()
        hub.attach(asyncio.get_running_loop())
        await asyncio.wait_for(hub.join(topic, reader, rows=5), 5)
        assert reader.dismissed == []
        assert [json.loads(row) for _, row in whole[-5:-1]] == reader.messages[0]["data"]
        assert reader.cursor == hub.cursor(topic, len(whole))

    asyncio.run(run())


def test_means_of_trades_and_of_klines_are_both_told() -> None:
    """They come in the same batches, the one as columns and the other as values."""
    made = Builder("both", lateness="0")
    made.trades().moving_average("2s", "1s")
    made.klines().moving_average("3s", "1s")
    both, channels = made.build(), ("trades", "moving_average")
    sink = SwappedResults(
        lambda: Results(both, "binance", channels, price_scale=8, size_scale=8, all_revisions=True, numbered=True)
    )
    engine = Engine(both, venues.create("binance"), sink, channels=channels, of_tape=True)

    def frames(at: int) -> list[tuple[None, bytes]]:
        ms = US // 1000 + 1000 * at
        trade = {"e": "trade", "E": ms, "s": "A", "t": at + 1, "p": "1.5", "q": "2", "T": ms, "m": False, "M": True}
        candle = {"t": ms // 60_000 * 60_000, "T": ms // 60_000 * 60_000 + 59_999, "s": "A", "i": "1m", "f": 1, "L": 2}
        candle |= {"o": "1.5", "c": "1.5", "h": "1.5", "l": "1.5", "v": "2", "n": 2, "x": False, "q": "3", "V": "1"}
        push = {"e": "kline", "E": ms + 5, "s": "A", "k": candle | {"Q": "1", "B": "0"}}
        return [(None, json.dumps(one).encode()) for one in (trade, push)]

    async def run() -> None:
        hub = Hub("binance", Source(1), lambda _: None)
        hub.attach(asyncio.get_running_loop())
        readers = {topic: Reader() for topic in Topics(both, "binance").find({**asked, "symbols": ["A"]}, ["A"])}
        for topic, reader in readers.items():
            await hub.join(topic, reader, rows=0)
        for at in range(0, 18, 3):
            engine.feed(Frames.of([one for n in range(at, at + 3) for one in frames(n)]))
            engine.flush()
            hub.offer(sink.take(engine.symbols), is_forming=False)
            await asyncio.sleep(0.01)
        assert len(readers) == 2
        for reader in readers.values():
            ends = [row["ts_end"] for message in reader.messages for row in message["data"]]
            assert ends == list(range(ends[0], ends[0] + 1_000_000 * len(ends), 1_000_000))
            assert len(ends) > 12

    asked = {"channel": "moving_average"}
    asyncio.run(run())


def test_memory_keeps_no_book_and_no_quotes() -> None:
    source = Source(4)
    batch = source.batch()
    batch.columns("quotes", np.zeros(1000, QUOTE))
    ring = Ring(100_000)
    ring.add(batch)
    assert ring._rows == batch.size - 1000


def test_the_hub_keeps_nothing_of_those_who_left() -> None:
    async def run() -> None:
        source = Source(3)
        watched: list[frozenset[Topic]] = []
        hub = Hub("binance", source, watched.append)
        hub.attach(asyncio.get_running_loop())
        hub.offer(source.batch(), is_forming=False)
        await asyncio.sleep(0)
        forming = Topic("candles.forming", "A", (("interval", "1s"),))
        reader = Reader()
        for topic in (*TOPICS, forming):
            await hub.join(topic, reader)
        assert watched[-1] == {forming}
        for topic in (*TOPICS, forming):
            hub.leave(topic, reader)
        assert watched[-1] == frozenset()
        assert hub.status()["topics"] == 0
        assert not any(hub._by_code.values())

    asyncio.run(run())


def test_the_topics_of_a_request() -> None:
    topics = Topics(flow(), "binance")
    assert topics.find({"channel": "candles", "symbols": ["a"], "interval": "5s"}, {"A", "B"}) == [
        Topic("candles", "A", (("interval", "5s"),), 1)
    ]
    assert [t.symbol for t in topics.find({"channel": "trades", "symbols": ["*"]}, {"B", "A"})] == ["A", "B"]
    for asked in ({"channel": "book", "symbols": ["A"]}, {"channel": "trades", "symbols": ["C"]}, {}):
        with pytest.raises(Refusal):
            topics.find(asked, {"A", "B"})
