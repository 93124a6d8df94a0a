"""What a collector may publish over a real broker: never what another owns, whatever befell its connection."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.cluster import fresh_prefix, rows
from servers import Servers
from tapeflow.app.published import OWNERS, Published, event_topics
from tapeflow.bus import owners
from tapeflow.bus.client import Bus
from tapeflow.bus.topics import ensure
from tapeflow.domain.errors import BusError, OwnerError
from tapeflow.flow.builder import Builder
from tapeflow.settings import BusSettings
from tapeflow.stores.results import Results

pytestmark = pytest.mark.slow

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

    def collector(self, name: str, *keys: str) -> Published:
        return Published(self.bus, self.settings(name), ("tickers",), followed=lambda: keys)

    def published(self) -> list[tuple[str, int]]:
        return [(row["symbol"], row["ts_event"]) for row in rows(self.bus.servers, f"{self.prefix}tickers")]


@pytest.fixture
def cluster(servers: Servers) -> Cluster:
    return Cluster(servers)


def tickers(*rows: tuple[str, int]) -> Results:
    made = Builder("any")
    made.trades()
    found = Results(made.build(), "binance", ("tickers",), price_scale=8, size_scale=8)
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
