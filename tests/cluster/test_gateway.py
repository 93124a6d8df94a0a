"""Gateways over real topics and a real database: any of them goes on where another has ended."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka import TopicPartition

from cluster.topics import CHANNELS, US, Cluster, candle, trade
from servers import Servers
from serving import Client
from tapeflow.app.gateway import Gateway
from tapeflow.bus.follower import Follower, Record
from tapeflow.bus.publisher import message
from tapeflow.settings import CandlesSettings, FlowSettings
from topic import Answer, Raw, answer

pytestmark = pytest.mark.slow

PARAMS = {"channel": "candles", "symbols": ["X"], "interval": "1s"}


@pytest.fixture
def cluster(servers: Servers, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(servers, str(tmp_path))
    yield made
    made.stop()


Followed = tuple[list[dict[str, Any]], list[Any]]


def follow(
    url: str, count: int, resume: str | None = None, channel: str = "candles", **more: str | None
) -> tuple[list[dict[str, Any]], list[Any]]:
    """The first messages with data, and the ack before them."""
    return asyncio.run(_follow(url, count, PARAMS | {"channel": channel} | more, resume))


async def _follow(url: str, count: int, params: dict[str, Any], resume: str | None) -> Followed:
    params = {name: value for name, value in params.items() if value is not None}
    params = params | ({"resume": {"X": resume}} if resume else {})
    found: list[dict[str, Any]] = []
    acks: list[Any] = []
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/v1/stream") as ws:
        await ws.send_json({"method": "subscribe", "params": params, "req_id": 1})
        async with asyncio.timeout(30):
            while len(found) < count:
                message = await ws.receive_json()
                if message["type"] in ("snapshot", "update"):
                    found.append(message)
                elif message["type"] == "ack":
                    acks.append(message["result"])
    return found, acks


def starts(messages: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [((row["ts_start"] - US) // 1_000_000, row["revision"]) for m in messages for row in m["data"]]


def test_a_gateway_waits_for_a_database_that_has_no_tables_yet(cluster: Cluster) -> None:
    threading.Timer(2, cluster.start).start()
    cluster.serve()
    told = [text for text in cluster.said if "no such tables yet" in text]
    assert len(told) == 1, "told once, not at every try"


def test_a_cursor_is_good_on_any_gateway_and_after_a_restart(cluster: Cluster) -> None:
    cluster.send("candles", *[candle(n) for n in range(10)])
    sink = cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 10)
    first = cluster.serve()
    (snapshot,), _ = follow(cluster.addresses[0], 1)
    assert starts([snapshot]) == [(n, 0) for n in range(10)]
    cluster.end(sink)  # from here on rows are in the topics only
    cluster.send("candles", *[candle(n) for n in range(10, 15)], candle(3, 1, 4))
    second = cluster.serve()
    for address in cluster.addresses:
        (missed, *_), (ack,) = follow(address, 1, snapshot["cursor"])
        assert ack["recovered"] == {"X": True}
        assert missed["prev"] == snapshot["cursor"]
        assert starts([missed]) == [*[(n, 0) for n in range(10, 15)], (3, 1)]
    cluster.end(first)
    cluster.end(second)
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 15)
    cluster.send("candles", candle(15))
    cluster.serve()
    (missed, *more), (ack,) = follow(cluster.addresses[-1], 1, snapshot["cursor"])
    found = starts([missed, *more])
    if len(found) < 7:  # the last one may come by itself
        rest, _ = follow(cluster.addresses[-1], 1, missed["cursor"])
        found += starts(rest)
    assert found == [*[(n, 0) for n in range(10, 15)], (3, 1), (15, 0)]
    assert ack["recovered"] == {"X": True}


def test_a_row_that_no_sink_can_keep_has_no_number(cluster: Cluster) -> None:
    bad = [candle(2) | {"close": "abc"}, candle(2) | {"ts_end": None, "count": "3"}, candle(2) | {"interval": None}]
    cluster.send("candles", candle(0), candle(1))
    cluster.serve_with_tables()
    (snapshot,), _ = follow(cluster.addresses[0], 1)
    cluster.send("candles", *bad, candle(3), b"no json", candle(4))
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 4)
    cluster.serve()
    for address in cluster.addresses:
        (missed,), (ack,) = follow(address, 1, snapshot["cursor"])
        assert ack["recovered"] == {"X": True}
        assert starts([missed]) == [(3, 0), (4, 0)]
    assert cluster.rows("SELECT seq FROM candles ORDER BY seq") == [(1,), (2,), (3,), (4,)]


def test_a_gateway_begins_anew_where_what_it_was_to_read_next_was_deleted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the counts of the sinks: it goes on, and a cursor of before is good. Before that it counts nothing more."""
    made: list[Follower] = []
    monkeypatch.setattr("tapeflow.app.gateway.WAIT_S", 1.0)  # so that what comes behind the gap comes with it
    taken: dict[int, list[tuple[str, int, int]]] = {}
    take = Gateway._take

    def seen(gateway: Gateway, records: list[Record]) -> None:
        taken.setdefault(id(gateway.store), []).extend(record[:3] for record in records)
        take(gateway, records)

    monkeypatch.setattr(Gateway, "_take", seen)
    monkeypatch.setattr("tapeflow.app.gateway.Follower", lambda *given: made.append(Follower(*given)) or made[-1])
    cluster.send("candles", *[candle(n) for n in range(30)])
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 30)
    cluster.serve()
    (snapshot,), _ = follow(cluster.addresses[0], 1)
    cluster.delete("candles", 25)
    (place,) = {place for place, at in made[0].positions.items() if place[0] == cluster.topic("candles") and at > 25}
    made[0].positions[place] = 3  # as one that has been asleep for longer than the topic is kept
    made[0]._consumer.seek(TopicPartition(*place, 3))
    cluster.until(lambda: len(cluster.addresses) == 2)
    assert f"{place[0]} {place[1]} begins at 25: rows from 3 on were deleted" in " ".join(cluster.said)
    cluster.send("candles", candle(30))
    (missed,), (ack,) = follow(cluster.addresses[1], 1, snapshot["cursor"])
    assert (starts([missed]), ack["recovered"]) == ([(30, 0)], {"X": True})
    assert missed["prev"] == snapshot["cursor"]
    assert len(taken) == 2
    for places in taken.values():
        assert len(places) == len(set(places)), "counted twice"


def test_a_collector_from_which_all_was_taken_over_is_no_more_expected_to_tell(cluster: Cluster) -> None:
    now = time.time_ns() // 1000
    old, new = ({"ts": ts, "is_live": True, "followed": 1, "connections": [{"is_open": True}]} for ts in (US, now))

    def told(topic: str, key: str, value: dict[str, Any]) -> None:
        rows = [message(key.encode(), json.dumps(value).encode())]
        cluster.producer.commit([(cluster.topic(topic), rows)])

    told("owners", "binance:X", {"collector": "one"})
    told("status", "one", old)
    gateway = cluster.serve_with_tables()
    cluster.until(lambda: _code(cluster.addresses[0]) == 503)  # nobody tells how it is, and X is that one's
    told("owners", "binance:X", {"collector": "two"})
    told("status", "two", new)
    cluster.until(lambda: _code(cluster.addresses[0]) == 200)
    status = gateway.status()
    assert (status["ts"], status["followed"], status["gateway"]["collectors"]) == (now, 1, ["two"])


def _code(address: str) -> int:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=10) as answered:
            return int(answered.status)
    except urllib.error.HTTPError as error:
        return error.code


def quote(id: int, symbol: str = "X") -> dict[str, Any]:
    prices = {"bid": "1", "bid_size": "1", "ask": "2", "ask_size": "1"}
    return {"venue": "binance", "symbol": symbol, "id": str(id), "ts_event": None, "ts_recv": US + id, **prices}


def test_of_what_no_sink_keeps_only_the_end_is_read(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a gateway would begin with days of books; rows of now come, and a cursor is good where it was given only."""
    monkeypatch.setattr("tapeflow.app.gateway.LOOK_BACK", 20)
    flow = FlowSettings(candles=CandlesSettings(("1s",), ()), quotes=True)
    cluster = Cluster(servers, str(tmp_path), flow=flow, channels=("candles", "coverage"))
    try:
        for channel, of in (("trades", trade), ("quotes", quote)):
            cluster.send(channel, *[of(n) for n in range(100)])
        cluster.send("candles", *[candle(n) for n in range(30)])  # which a sink has yet to count
        first = cluster.serve_with_tables()
        second = cluster.serve()
        assert first.present.rows == 20 - 1 + 30, "the end of a transaction has an offset too"
        ask = Client(cluster.addresses[0])
        assert ask.rows("/v1/quotes/latest?symbol=X")[0]["id"] == "99"
        (snapshot,), _ = follow(cluster.addresses[0], 1, channel="trades", interval=None)
        assert [row["id"] for row in snapshot["data"]] == [str(n) for n in range(81, 100)]
        cluster.send("trades", trade(100))
        cluster.send("quotes", quote(100))
        (missed,), (ack,) = follow(cluster.addresses[0], 1, snapshot["cursor"], channel="trades", interval=None)
        assert ([row["id"] for row in missed["data"]], ack["recovered"]) == (["100"], {"X": True})
        cluster.until(lambda: ask.rows("/v1/quotes/latest?symbol=X")[0]["id"] == "100")
        cluster.until(lambda: second.present.rows == first.present.rows)
        _, (ack,) = follow(cluster.addresses[1], 1, snapshot["cursor"], channel="trades", interval=None)
        assert ack["recovered"] == {"X": False}, "nobody else counts its rows so"
        (snapshot,), _ = follow(cluster.addresses[0], 1)
        cluster.send("candles", candle(30))
        (missed,), (ack,) = follow(cluster.addresses[1], 1, snapshot["cursor"])
        assert (starts([missed]), ack["recovered"]) == ([(30, 0)], {"X": True})
    finally:
        cluster.stop()


def test_forming_rows_and_rest(cluster: Cluster) -> None:
    cluster.send("candles", candle(0), candle(1, closed=False, count=1))
    cluster.send("trades", trade(1), {"venue": "binance", "symbol": "X", "ts_watermark": US + 5})
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 1)
    cluster.serve()
    url = cluster.addresses[0]
    (forming,), _ = follow(url, 1, channel="candles.forming")
    assert [(row["ts_start"], row["closed"]) for row in forming["data"]] == [(US + 1_000_000, False)]
    ask = Client(url)
    said = ask("/v1/candles?symbol=X&interval=1s&forming=true")
    assert [row["closed"] for row in said.json["data"]] == [True, False]
    assert said.json["ts_watermark"] == US + 5
    assert [row["id"] for row in ask.rows("/v1/trades?symbol=X")] == ["1"]
    cluster.send("candles", candle(1))
    cluster.until(lambda: len(ask.rows("/v1/candles?symbol=X&interval=1s&forming=true")) == 2)
    cluster.until(lambda: len(ask.rows("/v1/candles?symbol=X&interval=1s")) == 2)
    page = ask("/v1/candles?symbol=X&interval=1s&start=0&limit=1").json
    assert page["next"]
    following = ask(f"/v1/candles?symbol=X&interval=1s&start=0&limit=1&cursor={page['next']}").json
    assert following["data"][0]["ts_start"] == US + 1_000_000
    refused = ask("/v1/sql?q=SELECT+1")
    assert refused.status in (400, 404)
    about = ask("/v1/about").json
    assert (about["has_sql"], about["has_alerts"]) == (False, True)


STEPS = ("sma_3", "macd_3_6_2")
FORMING = FlowSettings(lateness="2s", candles=CandlesSettings(("1s",), STEPS))


@pytest.fixture
def computing(servers: Servers, tmp_path: Path) -> Iterator[Cluster]:
    """One whose flow has indicators."""
    made = Cluster(servers, str(tmp_path), flow=FORMING, channels=(*CHANNELS, "indicators"))
    yield made
    made.stop()


def trades(count: int) -> list[Raw]:
    """Four a second of a made-up market, in order but for a few that come five seconds late."""
    chance, found = random.Random(5), []
    for id in range(1, count + 1):
        late = 5_000_000 if id % 37 == 0 else 0
        ts = US + id * 250_000
        found.append(Raw("X", id, chance.randint(90, 110) * 10**8, 10**8, id % 2, ts - late, ts))
    return found


def send(cluster: Cluster, found: Answer, known: Answer | None = None) -> None:
    """What an engine publishes of this answer, but for what it had published before: forming rows of candles only."""
    for channel in ("candles", "indicators"):
        rows = found.rows[channel]
        cluster.send(channel, *[row for row in rows if known is None or row not in known.rows[channel]])


def bare(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """What an indicator says of each window."""
    return {
        (row["name"], row["ts_start"]): (row["ts_end"], row["values"], row["bars"], row["closed"], row["revision"])
        for row in rows
    }


def test_forming_indicators_are_what_the_windows_close_with(computing: Cluster) -> None:
    """Rows of topics are the embedded engine's; a gateway learns of them from the database, and from topics alone."""
    cluster, flow = computing, FORMING.flow()
    before, after, later = (answer(flow, trades(count), after_us=0) for count in (199, 203, 221))
    send(cluster, before)
    sink = cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM indicators")) == len(before.rows["indicators"]))
    cluster.serve()
    url = cluster.addresses[0]
    ask = Client(url)

    def asked(*, closed: bool) -> dict[tuple[str, int], tuple[Any, ...]]:
        rows = ask.rows("/v1/indicators?symbol=X&interval=1s&limit=1000&forming=true")
        return bare([row for row in rows if row["closed"] is closed])

    (_, told), _ = follow(url, 2, channel="indicators.forming", name="sma_3")  # the first has no rows: nobody followed
    assert bare(told["data"]) == bare([row for row in before.forming if row["name"] == "sma_3"])
    assert asked(closed=False) == bare(before.forming)
    assert len(before.forming) == 3 * len(STEPS)
    cluster.end(sink)  # from here on rows are in the topics only
    send(cluster, after, before)
    cluster.until(lambda: asked(closed=False) == bare(after.forming))
    formed = {}
    for name in STEPS:
        (told,), _ = follow(url, 1, channel="indicators.forming", name=name)
        formed |= bare(told["data"])
    assert formed == bare(after.forming)

    send(cluster, later, after)
    cluster.start()
    cluster.until(lambda: asked(closed=False) == bare(later.forming))
    cluster.until(lambda: asked(closed=True) == bare(later.rows["indicators"]))
    closed, newest = asked(closed=True), max(ts for _, ts in formed)
    whole = {key: row[:3] for key, row in formed.items() if key[1] < newest}  # the newest lacked some of its trades
    assert len(whole) == 2 * len(STEPS)
    assert {key: closed[key][:3] for key in whole} == whole
