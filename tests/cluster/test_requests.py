"""Gateways change what collectors follow, and keep alerts: over a real broker, a real database, a simulated venue."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from cluster.cluster import Role, settings
from cluster.topics import US, Cluster, trade
from live.running import Venue
from servers import Servers
from serving import Client, Said
from tapeflow.api.problem import Problem
from tapeflow.app import requests
from tapeflow.bus.follower import Record
from tapeflow.bus.publisher import message
from tapeflow.bus.topics import ensure
from tapeflow.settings import AlertSettings

pytestmark = pytest.mark.slow


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    made = Venue(tmp_path, "--rate", "200")
    yield made
    made.stop()


@pytest.fixture
def cluster(servers: Servers, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(servers, str(tmp_path / "gateway"))
    yield made
    made.stop()


def collector(cluster: Cluster, venue: Venue, folder: Path, symbols: list[str], name: str) -> Role:
    own = cluster.bus_settings
    text = settings(own.bootstrap, own.prefix).replace("[bus]", f'[bus]\nname = "{name}"')
    return Role(folder / name, venue, symbols, "collector", text + "[feed]\nhistory = 0\n")


def followed(url: str) -> set[str]:
    return {row["symbol"] for row in Client(url).rows("/v1/symbols") if row["status"] != "not_followed"}


def add(url: str, symbol: str) -> Said:
    return Client(url)("/v1/symbols", method="POST", body=json.dumps({"symbol": symbol}))


def remove(url: str, symbol: str) -> Said:
    return Client(url)(f"/v1/symbols/{symbol}", method="DELETE")


def kind(said: Said) -> tuple[int, str]:
    return said.status, said.json["type"].rpartition(":")[2]


def test_symbols_are_added_and_removed_by_any_gateway(
    cluster: Cluster, venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = cluster.serve_with_tables(), cluster.serve()
    one, other = cluster.addresses
    assert kind(add(one, "SOLUSDT")) == (503, "no_collector"), "there is none yet"
    role = collector(cluster, venue, tmp_path, ["BTCUSDT", "ETHUSDT"], "one")
    role.start()
    cluster.until(lambda: followed(one) == {"BTCUSDT", "ETHUSDT"})
    cluster.until(lambda: first.statuses and second.statuses)  # a collector tells of itself when it has begun
    # What the venue says of a symbol is told when it is known, not with the next round of all (30 s).
    cluster.until(lambda: all(row["tick"] for row in Client(one).rows("/v1/symbols")), seconds=15)

    found = {row["symbol"]: row["is_followed"] for row in Client(one).rows("/v1/symbols/listed", search="usdt")}
    assert found["BTCUSDT"]
    assert not found["SOLUSDT"]
    said = add(one, "solusdt")
    assert (said.status, [row["symbol"] for row in said.json["data"]]) == (200, ["SOLUSDT"])
    assert said.json["data"][0]["status"] != "not_followed"
    assert add(other, "SOLUSDT").status == 200, "once more does no harm"
    cluster.until(lambda: "SOLUSDT" in first.present.traded and "SOLUSDT" in second.present.traded)
    said = add(one, "SOLUSDX")
    assert kind(said) == (404, "unknown_symbol")
    assert "SOLUSDT" in said.json["nearest"]

    assert remove(other, "ethusdt").status == 200
    assert kind(remove(one, "ETHUSDT")) == (404, "unknown_symbol")
    cluster.until(lambda: followed(one) == followed(other) == {"BTCUSDT", "SOLUSDT"})
    role.kill()
    role.start()
    role.until_live()
    third = cluster.serve()
    cluster.until(lambda: third.followed() == first.followed() == ["BTCUSDT", "SOLUSDT"])
    role.until(lambda s: s["followed"] == 2)
    assert remove(one, "BTCUSDT").status == 200
    assert kind(remove(one, "SOLUSDT")) == (409, "last_symbol")

    assert role.stop() == 0
    monkeypatch.setattr(requests, "ANSWERED_S", 4.0)  # as long, and no longer, may brokers take to say whose it is
    said = add(one, "ETHUSDT")
    assert kind(said) == (503, "no_collector")
    assert "'one'" in said.json["detail"]


def test_the_collector_that_has_a_symbol_is_asked_else_the_one_with_the_fewest(
    cluster: Cluster, venue: Venue, tmp_path: Path
) -> None:
    gateway = cluster.serve_with_tables()
    url = cluster.addresses[0]
    one = collector(cluster, venue, tmp_path, ["BTCUSDT", "ETHUSDT"], "one")
    two = collector(cluster, venue, tmp_path, ["SOLUSDT"], "two")
    for role in (one, two):
        role.start()
    cluster.until(lambda: followed(url) == {"BTCUSDT", "ETHUSDT", "SOLUSDT"})
    cluster.until(lambda: {name: s.get("followed") for name, s in gateway.statuses.items()} == {"one": 2, "two": 1})
    topic = cluster.topic(requests.REQUESTS)
    late = msgspec.json.encode(requests.Request("late", "unfollow", "SOLUSDT", 1))  # nobody waits for it any more
    nonsense = [message(b"two", one) for one in (b"no json", None, b"{}", late)] + [message(b"nobody", b"{}")]
    (new,) = [name for name in venue.symbols if name.startswith("XRP")][:1]
    assert add(url, new).status == 200  # so the second one listens
    cluster.producer.commit([(topic, nonsense)])
    command = [sys.executable, "-m", "tapeflow", "symbols", "remove", "ethusdt", "--data", cluster.settings.data]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ETHUSDT" in told.stderr
    two.until(lambda s: s["followed"] == 2)
    one.until(lambda s: s["followed"] == 1)
    assert add(url, "ETHUSDT").status == 200, "whoever had it: its tape may hold what is not published yet"
    one.until(lambda s: s["followed"] == 2)
    cluster.until(lambda: f"a message of {topic} cannot be read" in two.text())
    for role in (one, two):
        assert role.stop() == 0


class Slow:
    """A roster that takes its time, and counts."""

    def __init__(self) -> None:
        self.symbols = ["BTCUSDT"]
        self.done: list[str] = []

    async def follow(self, symbol: str) -> str:
        self.done.append(symbol)
        await asyncio.sleep(1)
        return symbol

    async def unfollow(self, symbol: str) -> str:
        if symbol not in self.symbols:
            raise Problem(404, "unknown_symbol", f"{symbol} is not followed")
        self.symbols.remove(symbol)
        return symbol

    async def listed(self) -> dict[str, str]:
        return {"SOLUSDT": "TRADING"}


def test_what_was_asked_before_the_collector_listened_is_answered_and_done_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "AGAIN_S", 0.2)
    bus, own = cluster.bus, msgspec.structs.replace(cluster.bus_settings, name="one")
    ensure(bus, requests.request_topics(own))
    roster, said = Slow(), cluster.said
    status = {"one": {"venue": "binance", "ts": time.time_ns() // 1000, "followed": 1}}
    asker = requests.Asker(bus, own, "binance", status, lambda: ["BTCUSDT"], lambda _: None, said.append)

    async def work() -> None:
        clerk = requests.Clerk(bus, own, roster, asyncio.get_running_loop(), lambda one: {"symbol": one}, said.append)
        search, change = asyncio.create_task(asker.listed()), asyncio.create_task(asker.follow("SOLUSDT"))
        await asyncio.sleep(1)
        clerk.start()
        assert await search == {"SOLUSDT": "TRADING"}
        assert await change == "SOLUSDT"
        # The answer that nobody heard is said again, it is not "not followed" now.
        again = requests.Request("twice", "unfollow", "BTCUSDT", time.time_ns() // 1000)
        heard = requests.Listener(bus, own.topic(requests.ANSWERS), answers.append, said.append)
        heard.start()
        await asyncio.to_thread(heard.is_ready.wait)
        for most in (1, 2):
            cluster.producer.commit([(own.topic(requests.REQUESTS), [message(b"one", msgspec.json.encode(again))])])
            await asyncio.to_thread(cluster.until, lambda most=most: len(answers) == most)
        for listener in (clerk, heard):
            await asyncio.to_thread(listener.stop)

    answers: list[Record] = []
    asker.start()
    cluster.until(asker._listener.is_ready.is_set)
    try:
        asyncio.run(work())
    finally:
        asker.stop()
    assert roster.done == ["SOLUSDT"]
    assert len({record.value for record in answers}) == 1
    assert not said


def test_changes_while_the_broker_is_away_are_refused(breakable: Servers, tmp_path: Path) -> None:
    cluster = Cluster(breakable, str(tmp_path / "gateway"))
    try:
        gateway = cluster.serve_with_tables()
        gateway.statuses["one"] = {"venue": "binance", "ts": time.time_ns() // 1000, "followed": 1}
        breakable.kill("kafka")
        said = remove(cluster.addresses[0], "X")
        assert kind(said) == (503, "bus_unreachable")
        assert "ask again" in said.json["detail"]
        assert said.headers["Retry-After"]
    finally:
        breakable.revive()
        cluster.stop()


RULE = {"when": {"kind": "price", "symbol": "X", "crosses": "above", "level": "2"}}
JSON = {"Content-Type": "application/json"}


def events(url: str) -> list[str]:
    return [row["value"] for row in Client(url).rows("/v1/alerts/events")]


def test_alerts_of_a_gateway_fire_once_over_restarts(cluster: Cluster) -> None:
    cluster.settings = msgspec.structs.replace(cluster.settings, alerts=AlertSettings(limit=2))
    cluster.start()
    first = cluster.serve()
    cluster.send("trades", trade(1, price="1.5"))  # what was before is not looked up: a price begins with what comes
    cluster.until(lambda: first.present.traded)
    url = cluster.addresses[0]
    assert Client(url)("/v1/about").json["has_alerts"]
    made = Client(url)("/v1/alerts", JSON, "POST", json.dumps(RULE))
    assert made.status == 201, made.body
    quiet = {"when": {"kind": "stale", "symbol": "X", "stream": "trades", "seconds": 1}, "once": True}
    assert Client(url)("/v1/alerts", JSON, "POST", json.dumps(quiet)).status == 201
    cluster.until(lambda: len(events(url)) == 1)  # nothing was traded for a second
    cluster.send("trades", trade(2, price="2.5"))
    cluster.until(lambda: events(url)[1:] == ["2.5"])
    cluster.until(lambda: first.status()["alerts"]["fired"] == 2)

    cluster.serve()
    other = cluster.addresses[1]
    assert not Client(other)("/v1/about").json["has_alerts"], "two would tell everything twice"
    assert Client(other)("/v1/alerts").status == 404
    assert any(f"process {os.getpid()} does so already" in text for text in cluster.said)

    cluster.end(first)
    cluster.send("trades", trade(3, price="1.9"), trade(4, price="2.2"))  # while nobody looks
    cluster.serve()
    again = cluster.addresses[2]
    cluster.until(lambda: events(again)[1:] == ["2.5", "2.2"])
    cluster.send("trades", trade(5, price="1.0"), trade(6, price="3.0"))
    cluster.until(lambda: events(again)[1:] == ["2.5", "2.2", "3.0"])


def span(stream: str, start: int, state: str, first: int) -> dict[str, Any]:
    row = {"venue": "binance", "symbol": "X", "stream": stream, "guarantee": "ids", "ts_start": US + start}
    row |= {"ts_end": US + start + 10, "state": state, "reason": None if state == "complete" else "disconnect"}
    return row | {"first_id": str(first), "last_id": str(first + 9)}


def test_coverage_is_all_of_a_symbol_and_old_holes_are_no_alert(cluster: Cluster) -> None:
    """A message of the topic is of one stream."""

    def cover(stream: str, *rows: dict[str, Any]) -> None:
        made = message(f"binance:X:{stream}:ids".encode(), json.dumps({"data": rows}).encode())
        cluster.producer.commit([(cluster.topic("coverage"), [made])])

    def served(url: str) -> list[tuple[str, str]]:
        found = asyncio.run(_first(url))
        return [(row["stream"], row["state"]) for row in found["data"]]

    old = [span("trades", 0, "complete", 0), span("trades", 10, "gap", 10), span("trades", 20, "complete", 20)]
    cover("trades", *old)
    cover("quotes", span("quotes", 0, "complete", 0))
    first = cluster.serve_with_tables()
    (url,) = cluster.addresses
    cluster.until(lambda: first.followed())
    want = [("quotes", "complete"), *[("trades", state) for state in ("complete", "gap", "complete")]]
    assert served(url) == want, "what came before there was a server"
    rule = {"when": {"kind": "coverage", "symbol": "X", "stream": "trades", "on": "opened"}}
    assert Client(url)("/v1/alerts", JSON, "POST", json.dumps(rule)).status == 201
    time.sleep(1)
    cover("quotes", span("quotes", 0, "complete", 0), span("quotes", 10, "gap", 10))
    cover("trades", *old, span("trades", 30, "gap", 30))
    cluster.until(lambda: len(events(url)) == 1)
    cover("quotes", span("quotes", 0, "complete", 0))
    cover("trades", *old, span("trades", 30, "gap", 30), span("trades", 40, "complete", 40))
    cluster.until(lambda: len(served(url)) == 6)
    time.sleep(1)
    (fired,) = Client(url).rows("/v1/alerts/events")
    assert fired["ts"] == US + 30


async def _first(url: str) -> dict[str, Any]:
    """The snapshot of coverage."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/v1/stream") as ws:
        await ws.send_json({"method": "subscribe", "params": {"channel": "coverage", "symbols": ["X"]}})
        async with asyncio.timeout(10):
            while (message := await ws.receive_json())["type"] != "snapshot":
                pass
    return message  # type: ignore[no-any-return]
