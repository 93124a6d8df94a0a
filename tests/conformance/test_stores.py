"""What every store must do: rows and position in one transaction; what replaces what; reading, keeping, exporting."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from servers import Servers
from storing import CHANNELS, SECOND, US, Message, Source, aggregate, ids, quote, rows, trade
from tapeflow.domain.errors import StoreError
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.postgres.store import PostgresStore
from tapeflow.stores.store import Store


class Stores:
    """Opens the one store of a test, as often as it is asked to."""

    def __init__(self, kind: str, folder: Path, servers: Servers) -> None:
        self._kind = kind
        self._folder = folder
        self._url = servers.database() if kind == "postgres" else ""

    def open(self, channels: tuple[str, ...] = CHANNELS) -> Store:
        if self._kind == "postgres":
            return PostgresStore(self._url, channels)
        return DuckStore(self._folder / "results.duckdb", channels)


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.slow)])
def stores(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Stores:
    return Stores(request.param, tmp_path, servers)


def test_rows_and_position_are_there_after_a_commit_and_a_new_start(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    assert (store.position, store.fingerprint) == (0, "")
    source = Source()
    results = source.take(trade(1), trade(2, 5), quote(9, 6))
    assert store.commit(results, 17, coverage=source.engine.coverage()) == 5  # with the candle and the run of ids
    store.claim("code")
    store.close()
    again = stores.open()
    assert (again.position, again.fingerprint, ids(again)) == (17, "code", ["1", "2"])
    (candle,) = rows(again, "candles")
    assert (str(candle["close"]), candle["count"], candle["revision"]) == ("100.00000000", 1, 0)
    again.close()


def test_the_same_commit_again_gives_no_second_row(stores: Stores, tmp_path: Path) -> None:
    store, source = stores.open(), Source()
    messages: list[Message] = [trade(1), trade(2, 1), quote(5, 1), trade(3, 2), trade(4, 9), quote(6, 9)]
    results = source.take(*messages)
    assert store.commit(results, 4, coverage=source.engine.coverage())
    before = {channel: rows(store, channel) for channel in CHANNELS}
    assert before["indicators"]
    for _ in range(2):
        store.commit(results, 4, coverage=source.engine.coverage(), again=True)
    assert {channel: rows(store, channel) for channel in CHANNELS} == before
    store.close()


def test_after_a_rewind_nothing_is_written_twice_even_after_another_kill(stores: Stores, tmp_path: Path) -> None:
    """A power failure took the end of the tape: its rows come again, over several lives of the store."""
    messages: list[Message] = [(US, trade(1)), (US, b"damage"), (US + 1, trade(2, 1)), (US + 2, trade(3, 9))]
    store = stores.open()
    store.commit(Source().take(*messages), 40)
    before = {channel: rows(store, channel) for channel in CHANNELS if channel != "coverage"}
    assert before["quarantine"]
    store.rewind(10, US + 20 * SECOND)
    assert store.position == 10
    store.close()
    for _ in range(2):
        store = stores.open()
        store.commit(Source().take(*messages), 20)
        assert {channel: rows(store, channel) for channel in before} == before
        store.close()
    store = stores.open()
    store.commit(Source().take((US + 30 * SECOND, trade(9, 30))), 21)
    assert ids(store) == ["1", "2", "3", "9"]
    store.close()


def test_single_trades_and_the_aggregate_of_them_are_the_same_trades(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    store.commit(Source().take(trade(7), trade(8), trade(9), trade(10, 1)), 4)
    store.commit(Source().take(aggregate(1, 7, 9)), 5, again=True)
    found = rows(store, "trades")
    assert [(row["first_id"], row["id"]) for row in found] == [("7", "1"), (None, "10")]
    store.close()


def test_a_revision_replaces_its_row(stores: Stores, tmp_path: Path) -> None:
    store, source = stores.open(), Source()
    store.commit(source.take(trade(1), trade(2, 1), trade(9, 9)), 3)
    store.commit(source.take(trade(3, 0.5, "250")), 4)
    found = rows(store, "candles", start=US, end=US + SECOND)
    assert [(row["revision"], row["count"], str(row["close"])) for row in found] == [(1, 2, "250.00000000")]
    store.commit(source.take(trade(10, 30)), 5)
    (mean,) = (row for row in rows(store, "indicators") if row["ts_start"] == rows(store, "candles")[1]["ts_start"])
    assert dict(mean["values"])["sma"] == 175.0
    store.close()


def test_a_lower_count_never_replaces_a_higher_one(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    store.commit(Source().take(trade(1), trade(2, 0.1), trade(3, 9)), 3)
    store.commit(Source().take(trade(1, 0, "77"), trade(3, 9)), 3, again=True)
    found = rows(store, "candles")
    assert [(row["count"], str(row["open"])) for row in found] == [(2, "100.00000000")]
    store.commit(Source().take(trade(1, 0, "77"), trade(2, 0.1), trade(4, 0.2), trade(3, 9)), 3, again=True)
    assert [(row["count"], str(row["open"])) for row in rows(store, "candles")] == [(3, "77.00000000")]
    store.close()


def test_what_single_trades_void_is_gone(stores: Stores, tmp_path: Path) -> None:
    store, source = stores.open(), Source()
    store.commit(source.take(aggregate(1, 1, 9), aggregate(2, 10, 12, 9), trade(100, symbol="Y")), 3)
    assert [row["count"] for row in rows(store, "candles")] == [9]
    store.commit(source.take(trade(11, 9)), 4)
    assert ids(store, symbol="X") == ["11"]
    assert ids(store, symbol="Y") == ["100"]
    assert rows(store, "candles") == []
    store.close()


def test_coverage_is_that_of_the_last_commit(stores: Stores, tmp_path: Path) -> None:
    store, source = stores.open(), Source()
    store.commit(source.take(trade(1), trade(5, 1)), 2, coverage=source.engine.coverage())
    assert sorted((row["state"], row["first_id"], row["last_id"]) for row in rows(store, "coverage")) == [
        ("complete", "1", "1"),
        ("complete", "5", "5"),
        ("gap", "2", "4"),
    ]
    store.commit(source.take(trade(2, 0.1), trade(3, 0.2), trade(4, 0.3)), 5, coverage=source.engine.coverage())
    assert [(row["state"], row["last_id"]) for row in rows(store, "coverage")] == [("complete", "5")]
    store.commit(source.take(trade(6, 2)), 6)  # without: it stays
    assert [row["last_id"] for row in rows(store, "coverage")] == ["5"]
    store.close()


def test_a_store_may_be_without_coverage(stores: Stores, tmp_path: Path) -> None:
    store, source = stores.open(("trades",)), Source()
    assert store.commit(source.take(trade(1)), 1, coverage=source.engine.coverage()) == 1
    assert (ids(store), store.position) == (["1"], 1)
    store.close()


def test_only_rows_from_a_time_on(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    results = Source().take(trade(1), trade(2, 1), trade(3, 2), trade(4, 9))
    store.commit(results, 4, again=True, start=US + SECOND)
    assert ids(store) == ["2", "3", "4"]
    assert len(rows(store, "candles")) == 2
    store.close()


def test_reading_by_range_limit_and_key(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    messages = [trade(n, n / 10) for n in range(20)] + [trade(n, n / 10, symbol="Y") for n in range(5)]
    store.commit(Source().take(*messages), 25)
    assert ids(store, symbol="Y") == ["0", "1", "2", "3", "4"]
    assert ids(store, symbol="X", start=US + 500_000, end=US + 800_000) == ["5", "6", "7"]
    assert ids(store, symbol="X", start=US + 500_000, limit=2) == ["5", "6"]
    assert ids(store, symbol="X", limit=3) == ["17", "18", "19"]  # the newest, in order
    assert ids(store, symbol="X", end=US + 500_000, limit=2) == ["3", "4"]
    with pytest.raises(StoreError, match="no channel 'tickers'; it has trades, "):
        store.read("tickers")
    store.close()


def test_ids_compare_as_numbers(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    store.commit(Source().take(*[trade(n) for n in (8, 9, 10, 11, 100)]), 5)
    assert ids(store) == ["8", "9", "10", "11", "100"]
    assert ids(store, limit=2) == ["11", "100"]
    store.close()


def test_quotes_that_are_later_are_appended_and_others_replace(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    store.commit(Source().take(quote(9), quote(10, 1)), 2)
    store.commit(Source().take(quote(10, 1), quote(11, 2)), 3)
    assert [row["id"] for row in rows(store, "quotes")] == ["9", "10", "11"]
    store.close()


def test_what_is_older_is_dropped(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    store.commit(Source().take(*[trade(n, n) for n in range(10)], quote(1), quote(2, 9)), 12)
    assert store.retain({"trades": US + 4 * SECOND, "quotes": US + SECOND}) == {"trades": 4, "quotes": 1}
    assert ids(store) == ["4", "5", "6", "7", "8", "9"]
    assert len(rows(store, "candles")) > 4  # no word of them
    store.close()


def test_a_channel_as_parquet(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    store.commit(Source().take(*[trade(n, 1) for n in (9, 10, 100)], trade(1, 0.5)), 4)
    path = tmp_path / "it's trades.parquet"
    assert store.export("trades", str(path)) == 4
    assert pq.read_table(path).column("id").to_pylist() == ["1", "9", "10", "100"]
    with pytest.raises(StoreError, match="cannot write"):
        store.export("trades", str(tmp_path / "no folder" / "x.parquet"))
    store.close()


def test_gaps_of_books_stay_beside_the_coverage_of_trades(stores: Stores, tmp_path: Path) -> None:
    store, source = stores.open(), Source()
    store.commit(source.take(trade(1)), 1, coverage=source.engine.coverage())
    gap = {"symbol": "X", "stream": "book", "ts_start": US, "ts_end": US + 5, "state": "gap", "first_id": 4}
    results = source.take(trade(2, 1))
    results.rows("coverage", [gap | {"reason": "missing_updates", "last_id": 6, "guarantee": "sequence"}])
    store.commit(results, 2, coverage=source.engine.coverage())
    store.commit(source.take(trade(3, 2)), 3, coverage=source.engine.coverage())
    found = [(row["stream"], row["state"], row["first_id"], row["last_id"]) for row in rows(store, "coverage")]
    assert sorted(found) == [("book", "gap", "4", "6"), ("trades", "complete", "1", "3")]
    store.close()
