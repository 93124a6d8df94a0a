"""What a collector publishes over a real broker: never what another owns, whatever befell its connection or itself, and
what is too large for a message in a form that is not."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from typing import Any

import pytest

from cluster.cluster import fresh_prefix, rows
from servers import Servers
from tapeflow.app.place import Place, Tape, place_of
from tapeflow.app.published import OWNERS, Published, event_topics
from tapeflow.app.sink import DEAD, sink_topics
from tapeflow.bus import owners, publisher
from tapeflow.bus.client import LARGEST, Bus
from tapeflow.bus.dead import DeadLetters, letters, put_back
from tapeflow.bus.follower import Record, read_all
from tapeflow.bus.publisher import Publisher, message
from tapeflow.bus.topics import TopicSpec, ensure
from tapeflow.domain.errors import BusError, OwnerError
from tapeflow.flow.builder import Builder
from tapeflow.settings import BusSettings
from tapeflow.stores.channels import CHANNELS
from tapeflow.stores.events import LONGEST_FRAME
from tapeflow.stores.results import Results

pytestmark = pytest.mark.slow

#: Brokers look for transactions to end so often, and a little more.
LOOK_S = 12.0
#: What an answer of a venue may have at most.
LONGEST_ANSWER = 64 << 20
BTC, ETH = "binance:BTCUSDT", "binance:ETHUSDT"


class Cluster:
    """Topics of their own, and collectors over them without a venue."""

    def __init__(self, servers: Servers) -> None:
        self.bus, self.prefix = Bus(servers.kafka()), fresh_prefix()
        ensure(self.bus, event_topics(self.settings("any")))

    def settings(self, name: str) -> BusSettings:
        return BusSettings(bootstrap=self.bus.servers, prefix=self.prefix, partitions=1, name=name)

    def claim(self, name: str, *keys: str, take_over: bool = False) -> None:
        owners.claim(self.bus, self.settings(name).topic(OWNERS), name, keys, take_over=take_over)

    def collector(self, name: str, *keys: str, tape: Tape | None = None) -> Published:
        channels = ("tickers", "quarantine")
        return Published(self.bus, self.settings(name), channels, tape or Tape(name, 0), followed=lambda: keys)

    def published(self) -> list[tuple[str, int]]:
        return [(row["symbol"], row["ts_event"]) for row in rows(self.bus.servers, f"{self.prefix}tickers")]


@pytest.fixture
def cluster(servers: Servers) -> Cluster:
    return Cluster(servers)


def results(channel: str) -> Results:
    made = Builder("any")
    made.trades()
    return Results(made.build(), "binance", (channel,), price_scale=8, size_scale=8)


def tickers(*rows: tuple[str, int]) -> Results:
    found = results("tickers")
    found.rows("tickers", [{"symbol": symbol, "kind": "mini", "ts_event": ts} for symbol, ts in rows])
    return found


def lose(collector: Published) -> None:
    """As an outage does: what it had begun is gone, and so is its producer."""
    collector._publisher._give_up()


def test_what_was_taken_over_during_an_outage_is_not_published(cluster: Cluster) -> None:
    cluster.claim("one", BTC, ETH)
    one = cluster.collector("one", BTC, ETH)
    one.commit(tickers(("ETHUSDT", 1)), 1)
    lose(one)
    one.commit(tickers(("ETHUSDT", 2)), 2)
    lose(one)
    cluster.claim("two", ETH, take_over=True)
    two = cluster.collector("two", ETH)
    two.commit(tickers(("ETHUSDT", 3)), 1)
    for _ in range(2):
        with pytest.raises(OwnerError, match="binance:ETHUSDT by two"):
            one.commit(tickers(("ETHUSDT", 3)), 3)
    two.commit(tickers(("ETHUSDT", 4)), 2)
    assert cluster.published() == [("ETHUSDT", ts) for ts in (1, 2, 3, 4)]


def test_one_that_begins_anew_while_it_is_taken_over_is_fenced(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.claim("one", BTC)
    one = cluster.collector("one", BTC)
    fence, count = owners._fence, 0

    def interrupted(*given: Any) -> None:
        nonlocal count
        fence(*given)
        count += 1
        if count == 1:  # the claim is not written yet, so it cannot be read
            lose(one)
            one.claim("anew")

    monkeypatch.setattr(owners, "_fence", interrupted)
    cluster.claim("two", BTC, take_over=True)
    with pytest.raises(OwnerError):
        one.commit(tickers(("BTCUSDT", 1)), 1)
    assert cluster.published() == []


def test_what_the_tape_has_of_a_symbol_that_another_owns_stays_there(cluster: Cluster) -> None:
    cluster.claim("one", BTC, ETH)
    cluster.claim("two", ETH, take_over=True)
    one = cluster.collector("one", BTC)
    one.commit(tickers(("ETHUSDT", 1), ("BTCUSDT", 2)), 2)
    assert cluster.published() == [("BTCUSDT", 2)]
    assert one.position == 2


def test_a_claim_that_is_gone_is_nobody_elses(cluster: Cluster) -> None:
    """Topics that were made anew: the collector keeps its tape and says what to do."""
    with pytest.raises(BusError, match="no claim of binance:BTCUSDT"):
        cluster.collector("one", BTC)


def test_a_message_that_is_too_large_is_named_and_the_next_batch_goes(cluster: Cluster) -> None:
    topic = cluster.settings("any").topic("tickers")
    made = Publisher(cluster.bus, f"{cluster.prefix}any")
    made.open()
    with pytest.raises(BusError, match=rf"{topic}: .*too large.* \(of {LARGEST} bytes\)"):
        made.commit([(topic, [message(b"k", b"{}"), message(b"k", b"x" * LARGEST), message(b"k", b"{}")])])
    made.open()
    assert made.commit([(topic, [message(b"k", b"{}")] * 2)]) == 2
    assert rows(cluster.bus.servers, topic) == [{}, {}]


def test_a_message_that_brokers_refuse_takes_its_batch_along_and_the_next_one_goes(cluster: Cluster) -> None:
    """What was refused is said with its reason, by the message or by its transaction."""
    topic = f"{cluster.prefix}narrow"
    ensure(cluster.bus, [TopicSpec(topic, 1, largest=20_000)])
    made = Publisher(cluster.bus, f"{cluster.prefix}any")
    made.open()
    with pytest.raises(BusError, match=rf"{topic}.*too large"):
        made.commit([(topic, [message(b"k", b"{}"), message(b"k", os.urandom(50_000)), message(b"k", b"{}")])])
    assert made.delivered == 0
    made.open()
    assert made.commit([(topic, [message(b"k", b"{}")] * 2)]) == 2
    assert rows(cluster.bus.servers, topic) == [{}, {}]


def test_a_quarantined_frame_of_any_length_stops_nothing(cluster: Cluster) -> None:
    cluster.claim("one", BTC)
    one = cluster.collector("one", BTC)
    short, long = b"short", os.urandom(LONGEST_ANSWER)
    found = results("quarantine")
    found.rows(
        "quarantine", [{"ts_recv": 1, "connection": "c", "reason": "not_json", "frame": f} for f in (short, long)]
    )
    assert one.commit(found, 1) == 2
    told = rows(cluster.bus.servers, f"{cluster.prefix}quarantine")
    assert [base64.b64decode(row["frame"]) for row in told] == [short, long[:LONGEST_FRAME]]
    assert [row["frame_size"] for row in told] == [None, LONGEST_ANSWER]
    assert told[1]["frame_sha256"] == hashlib.sha256(long).hexdigest()
    for row in told:
        assert set(row) >= {name for name, _ in CHANNELS["quarantine"].fields}, "what a sink keeps is there"


def test_coverage_of_any_number_of_holes_stops_nothing(cluster: Cluster) -> None:
    """As many runs as a symbol may have, with a hole between each two: beyond some the oldest are one row."""
    cluster.claim("one", BTC)
    channels = ("tickers", "coverage")
    one = Published(cluster.bus, cluster.settings("one"), channels, Tape("one", 0), followed=lambda: (BTC,))
    first, many = 10**18, 2 * 131_072 - 1
    stream = {"symbol": "BTCUSDT", "stream": "trades", "guarantee": "sequence"}
    runs, holes = {"state": "complete", "reason": None}, {"state": "gap", "reason": "venue_unreachable"}
    told = [
        {**stream, "ts_start": n, "ts_end": n + 1, "first_id": first + n, "last_id": first + n, **kind}
        for offset, kind in ((0, runs), (1, holes))
        for n in range(offset, many, 2)
    ]
    one.commit(results("tickers"), 1, coverage=told)
    one.commit(tickers(("BTCUSDT", 1)), 2, coverage=told)
    (row,) = rows(cluster.bus.servers, cluster.settings("one").topic("coverage"))
    oldest, *rest = row["data"]
    assert len(rest) > 20_000
    assert [int(each["first_id"]) - first for each in rest] == list(range(many - len(rest), many))
    assert (oldest["state"], oldest["reason"], oldest["ts_start"]) == ("unknown", "too_many_holes", 0)
    assert (int(oldest["first_id"]), int(oldest["last_id"]) + 1) == (first, int(rest[0]["first_id"]))
    assert oldest["ts_end"] == rest[0]["ts_start"]
    assert cluster.published() == [("BTCUSDT", 1)]


def test_the_largest_message_can_be_a_dead_letter_and_be_put_back(cluster: Cluster) -> None:
    settings = cluster.settings("any")
    ensure(cluster.bus, sink_topics(settings, ()))
    value = os.urandom(LARGEST - 65_536)
    dead = DeadLetters(cluster.bus, settings.topic(DEAD))
    dead.add(Record(settings.topic("tickers"), 0, 7, b"k", value), "no row")
    dead.flush()
    (letter,) = letters(cluster.bus, settings.topic(DEAD))
    assert letter.value == base64.b64encode(value).decode()
    assert put_back(cluster.bus, settings.topic(DEAD), lambda _: True) == 1
    assert [record.value for record in read_all(cluster.bus, settings.topic("tickers"))] == [value]


def test_one_that_is_paused_within_a_transaction_goes_on(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The brokers end a transaction after a while, and say the same as of one that another has taken over."""
    monkeypatch.setattr(publisher, "TRANSACTION_S", 7.0)
    cluster.claim("one", BTC)
    one = cluster.collector("one", BTC)
    send = Publisher._send

    def paused(self: Publisher, *given: Any) -> int:
        monkeypatch.setattr(Publisher, "_send", send)
        count = send(self, *given)
        time.sleep(7 + LOOK_S)
        return count

    monkeypatch.setattr(Publisher, "_send", paused)
    with pytest.raises(BusError, match="was this process paused"):
        one.commit(tickers(("BTCUSDT", 1)), 1)
    assert one.commit(tickers(("BTCUSDT", 1)), 1) == 1
    assert one.commit(tickers(("BTCUSDT", 2)), 2) == 1
    assert cluster.published() == [("BTCUSDT", 1), ("BTCUSDT", 2)]


def test_of_two_processes_of_one_name_the_second_goes_on(cluster: Cluster) -> None:
    cluster.claim("one", BTC)
    first = cluster.collector("one", BTC)
    first.commit(tickers(("BTCUSDT", 1)), 1)
    second = cluster.collector("one", BTC)
    with pytest.raises(OwnerError, match="another process of the same name"):
        first.commit(tickers(("BTCUSDT", 2)), 2)
    with pytest.raises(BusError):
        second.commit(tickers(("BTCUSDT", 2)), 2)  # the first one has looked, which fences
    assert second.commit(tickers(("BTCUSDT", 2)), 2) == 1
    assert cluster.published() == [("BTCUSDT", 1), ("BTCUSDT", 2)]


def test_a_name_is_of_one_tape(cluster: Cluster) -> None:
    cluster.claim("one", BTC)
    one = cluster.collector("one", BTC, tape=Tape("mine", 0))
    one.commit(tickers(("BTCUSDT", 1)), 1)
    with pytest.raises(OwnerError, match="another tape is published as collector 'one'"):
        cluster.collector("one", BTC, tape=Tape("other", 70))
    other = cluster.collector("one", BTC, tape=Tape("other", 70, takes_over=True))
    assert (other.position, other.fingerprint) == (70, ""), "what it holds from before, the other one has published"
    with pytest.raises(OwnerError, match="another tape"):
        one.commit(tickers(("BTCUSDT", 2)), 2)
    with pytest.raises(BusError):
        other.commit(tickers(("BTCUSDT", 2)), 71)
    assert other.commit(tickers(("BTCUSDT", 2)), 71) == 1
    assert cluster.collector("one", BTC, tape=Tape("other", 80)).position == 71, "from now on without taking over"


def test_a_tape_goes_on_under_another_name(cluster: Cluster) -> None:
    cluster.claim("one", BTC)
    cluster.collector("one", BTC, tape=Tape("mine", 0)).commit(tickers(("BTCUSDT", 1)), 5)
    cluster.claim("two", BTC, take_over=True)
    two = cluster.collector("two", BTC, tape=Tape("mine", 7))
    assert two.position == 5
    two.commit(tickers(("BTCUSDT", 2)), 7)
    cluster.claim("one", BTC, take_over=True)
    assert cluster.collector("one", BTC, tape=Tape("mine", 9)).position == 7, "and back"


def test_a_place_of_an_earlier_release_is_of_any_tape() -> None:
    old = Place(position=5, fingerprint="code", epoch="e")
    assert place_of(Tape("mine", 9), "one", {"one": old}) == (old, [])
    assert place_of(Tape("mine", 9), "two", {"one": old}) == (Place(), [])
