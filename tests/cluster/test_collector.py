"""A collector over a real broker: killed at any moment it neither loses nor doubles; one owner a symbol; an outage."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from cluster.cluster import Role, fresh_prefix, rows, settings, wrong_trades
from live.running import Venue
from live.truth import get
from servers import Servers
from tapeflow.app import opening
from tapeflow.app.opening import patiently
from tapeflow.app.published import event_topics
from tapeflow.app.requests import request_topics
from tapeflow.app.sink import sink_topics
from tapeflow.bus import publisher
from tapeflow.bus.client import Bus
from tapeflow.bus.owners import owners
from tapeflow.bus.publisher import Publisher
from tapeflow.bus.topics import SEGMENT_BYTES, SEGMENT_MS, ensure
from tapeflow.domain.errors import BusError, OwnerError
from tapeflow.settings import BusSettings

pytestmark = pytest.mark.slow

#: Longer than a transaction, its retries and the waits between them.
OUTAGE_S = 20.0
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    # Little of a past: what it trades in a week takes it half a minute of all cores to add up.
    made = Venue(tmp_path, "--rate", "200", "--days", "1")
    yield made
    made.stop()


def test_kills_lose_and_double_nothing(tmp_path: Path, venue: Venue, servers: Servers) -> None:
    bootstrap, prefix = servers.kafka(), fresh_prefix()
    collector = Role(tmp_path / "c", venue, SYMBOLS, "collector", settings(bootstrap, prefix))
    made = random.Random(7)
    for _ in range(4):
        collector.start()
        collector.until_live()
        time.sleep(made.uniform(0.2, 1.5))
        collector.kill()
    collector.start()
    collector.until_whole()
    time.sleep(1)
    assert collector.stop() == 0
    found = rows(bootstrap, f"{prefix}trades")
    count, wrong = wrong_trades(venue, found)
    assert not wrong
    assert count > 200
    for symbol in SYMBOLS:
        stamps = [row["ts_watermark"] for row in found if row["symbol"] == symbol and row["ts_watermark"]]
        assert stamps == sorted(stamps), "a watermark never goes back"
        others = [row for row in found if row["symbol"] == symbol and "id" not in row]
        instants = [row["ts_watermark"] for row in others if "candle" not in row]
        assert len(instants) == len(set(instants)) > 3, "an instant is said once, over all lives"
        candles = [row["candle"] for row in others if "candle" in row]
        wrong_candles(venue, symbol, candles)


def test_topics_of_state_stay_small(servers: Servers) -> None:
    """What is replaced goes soon: an upsert topic is read whole at each start, and Kafka's own segment is of a week."""
    own, bus = BusSettings(bootstrap=servers.kafka(), prefix=fresh_prefix(), partitions=2), Bus(servers.kafka())
    ensure(bus, [*event_topics(own), *sink_topics(own, ("trades", "coverage")), *request_topics(own)])
    small = {"cleanup.policy": "compact", "segment.bytes": str(SEGMENT_BYTES), "segment.ms": str(SEGMENT_MS)}
    upserts = [own.topic(name) for name in ("collectors", "owners", "status", "symbols", "coverage", "dead_letters")]
    for name, found in configs(bus, upserts).items():
        assert {key: found[key] for key in small} == small, name
    events = configs(bus, [own.topic(name) for name in ("trades", "klines", "requests")])
    for name, found in events.items():
        assert found["cleanup.policy"] == "delete", name
        assert int(found["segment.ms"]) > SEGMENT_MS, f"{name}: a file for every ten minutes of a week is many"


def configs(bus: Bus, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """How the broker keeps topics."""
    admin = AdminClient(bus.properties())
    asked = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics])
    return {one.name: {key: entry.value for key, entry in done.result(30).items()} for one, done in asked.items()}


def test_a_changed_flow_goes_on_where_the_last_one_ended(tmp_path: Path, venue: Venue, servers: Servers) -> None:
    bootstrap, prefix = servers.kafka(), fresh_prefix()
    flow = '[flow]\nname = "one"\n[flow.candles]\nintervals = ["1s"]\n'
    collector = Role(tmp_path / "c", venue, SYMBOLS, "collector", settings(bootstrap, prefix, more=flow))
    collector.start()
    collector.until_whole()
    collector.until(lambda s: s["uptime_s"] > 10)
    assert collector.stop() == 0
    before = rows(bootstrap, f"{prefix}trades")
    changed = flow.replace('"one"', '"two"\nquotes = true\nlateness = "3s"\nhorizon = "20m"')
    collector = Role(tmp_path / "c", venue, SYMBOLS, "collector", settings(bootstrap, prefix, more=changed))
    collector.start()
    collector.until_whole()
    assert collector.stop() == 0
    after = rows(bootstrap, f"{prefix}trades")
    count, wrong = wrong_trades(venue, after)
    assert not wrong, "each once, none left out"
    assert count > sum("id" in row for row in before) > 200
    assert "quotes: not published before" in collector.text()
    assert rows(bootstrap, f"{prefix}quotes")


def wrong_candles(venue: Venue, symbol: str, told: list[dict[str, Any]]) -> None:
    """What a collector tells of the past is what the venue says, each window once, over all lives."""
    assert len({(one["interval"], one["ts_start"]) for one in told}) == len(told)
    assert {one["interval"] for one in told} >= {"1s", "5s", "1m", "1d"}, "five seconds follow from one"
    for interval in ("1s", "1m"):
        mine = {one["ts_start"] // 1000: one for one in told if one["interval"] == interval}
        assert len(mine) > 400
        truth: dict[int, list[Any]] = {}
        for at in range(min(mine), max(mine) + 1, 500 * {"1s": 1000, "1m": 60_000}[interval]):
            query = f"symbol={symbol}&interval={interval}&startTime={at}&limit=500"
            truth |= {row[0]: row for row in get(f"{venue.rest}/api/v3/klines?{query}")}
        for ts_ms, one in mine.items():
            names = ("open", "high", "low", "close", "volume")
            assert [float(one[name]) for name in names] == [float(value) for value in truth[ts_ms][1:6]]
            assert one["count"] == truth[ts_ms][8]


def test_a_broker_that_hangs_for_a_while_as_a_collector_starts(
    breakable: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while another takes over for one that was killed: once it was the end of a collector."""
    monkeypatch.setattr(publisher, "TRANSACTION_S", 7.0)
    made, said = Publisher(Bus(breakable.kafka()), fresh_prefix()), list[BusError]()
    (broker,) = (server for server in breakable.stack.servers() if server.service == "kafka")
    os.kill(broker.pid, signal.SIGSTOP)
    threading.Timer(9, os.kill, (broker.pid, signal.SIGCONT)).start()
    patiently(made.open, said.append)
    assert made.is_open
    assert ["does not answer" in str(error) for error in said] == [True]
    monkeypatch.setattr(opening, "PATIENCE_S", 0.0)
    with pytest.raises(BusError, match=r"127\.0\.0\.1:9"):
        patiently(Publisher(Bus("127.0.0.1:9"), "nobody").open, said.append)


def test_a_broker_that_is_away_for_a_while(tmp_path: Path, venue: Venue, breakable: Servers) -> None:
    bootstrap, prefix = breakable.kafka(), fresh_prefix()
    collector = Role(tmp_path / "c", venue, SYMBOLS, "collector", settings(bootstrap, prefix))
    collector.start()
    collector.until_live()
    collector.until(lambda s: s["delivered"] > 200 and not s["history_waiting"])
    breakable.kill("kafka")
    began_us = time.time_ns() // 1000
    before = collector.until(lambda s: s["ts"] > began_us)
    away = collector.until(lambda s: s["store_error"], OUTAGE_S)
    assert "Kafka" in away["store_error"]
    during = collector.until(lambda s: s["ts"] > began_us + OUTAGE_S * 1_000_000)
    ended_us = time.time_ns() // 1000
    # The transaction under way when the broker was killed may have been committed, and known to be so a moment later.
    assert during["delivered"] == away["delivered"], "what is not committed is not delivered"
    assert during["committed"] == away["committed"]
    assert during["position"] > before["position"] + 1000, "the tape grows"
    assert all(connection["is_open"] for connection in during["connections"])
    breakable.revive()
    collector.until(lambda s: not s["store_error"] and s["committed"] > during["position"])
    collector.until_whole()
    assert collector.stop() == 0
    told = [text for _, text in collector.said if "Kafka" in text]
    assert 1 <= len(told) < 5, "told once, not at every try"
    assert any("can be written again" in text for _, text in collector.said)
    found = rows(bootstrap, f"{prefix}trades")
    count, wrong = wrong_trades(venue, found)
    assert not wrong
    for symbol in SYMBOLS:
        trades = [row for row in found if row["symbol"] == symbol and "id" in row]
        ids = [int(row["id"]) for row in trades]
        assert ids == sorted(ids), "in order"
        assert any(began_us < row["ts_event"] < ended_us for row in trades), "what came meanwhile is there"
    topics = [topic.name for topic in event_topics(BusSettings(bootstrap=bootstrap, prefix=prefix, partitions=2))]
    kept = sum(len(rows(bootstrap, topic)) for topic in topics if topic != f"{prefix}owners")
    assert collector.status()["delivered"] == kept > count, "all that is committed, and nothing else"


def test_a_symbol_has_one_owner(tmp_path: Path, venue: Venue, servers: Servers) -> None:
    bootstrap, prefix = servers.kafka(), fresh_prefix()
    mine = settings(bootstrap, prefix).replace("[bus]", '[bus]\nname = "one"')
    one = Role(tmp_path / "one", venue, SYMBOLS[:2], "collector", mine)
    one.start()
    one.until_live()
    other = Role(tmp_path / "two", venue, SYMBOLS[1:], "collector", mine.replace('"one"', '"two"'))
    other.start()
    assert other.process is not None
    assert other.process.wait(60) == OwnerError.exit_code
    assert "binance:ETHUSDT by one" in other.text()
    assert "--take-over" in other.text()
    assert owners(Bus(bootstrap), f"{prefix}owners") == dict.fromkeys(["binance:BTCUSDT", "binance:ETHUSDT"], "one")
    taker = Taker(tmp_path / "two", venue, SYMBOLS[1:], "collector", mine.replace('"one"', '"two"'))
    taker.start()
    taker.until_live()
    assert one.process is not None
    assert one.process.wait(60) == OwnerError.exit_code
    assert "taken over meanwhile: binance:ETHUSDT by two" in one.text()
    assert taker.stop() == 0
    assert owners(Bus(bootstrap), f"{prefix}owners")["binance:ETHUSDT"] == "two"


def test_a_second_collector_of_the_same_name_is_refused(tmp_path: Path, venue: Venue, servers: Servers) -> None:
    bootstrap, prefix = servers.kafka(), fresh_prefix()
    one = Role(tmp_path / "one", venue, SYMBOLS[:1], "collector", settings(bootstrap, prefix))
    one.start()
    before = one.until_live()
    other = Role(tmp_path / "two", venue, SYMBOLS[1:], "collector", settings(bootstrap, prefix))
    other.start()
    assert other.process is not None
    assert other.process.wait(60) == OwnerError.exit_code
    assert "another tape is published as collector 'collector'" in other.text()
    assert set(owners(Bus(bootstrap), f"{prefix}owners")) == {"binance:BTCUSDT"}, "nothing is claimed"
    one.until(lambda s: s["delivered"] > before["delivered"])
    assert one.stop() == 0
    one.start()
    one.until_live()
    assert one.stop() == 0


class Taker(Role):
    """A collector that takes over."""

    def command(self) -> list[str]:
        return [*super().command(), "--take-over"]


def test_without_a_broker_it_says_so(tmp_path: Path, venue: Venue) -> None:
    alone = Role(tmp_path / "c", venue, SYMBOLS, "collector", settings("127.0.0.1:9", fresh_prefix()))
    alone.start()
    assert alone.process is not None
    assert alone.process.wait(60) == 1
    assert "Kafka at 127.0.0.1:9 does not answer" in alone.text()
    assert "Traceback" not in alone.text()
