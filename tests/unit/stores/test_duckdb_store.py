"""Rows and position in one transaction; what replaces what; reading, keeping, exporting; versions."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from tapeflow import venues
from tapeflow.domain.errors import StoreError
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.stores import schema
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.results import Results
from tapeflow.stores.sql import SqlError

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


def opened(folder: Path, **options: Any) -> DuckStore:
    return DuckStore(folder / "results.duckdb", CHANNELS, **options)


def rows(store: DuckStore, channel: str, **options: Any) -> list[dict[str, Any]]:
    return store.read(channel, **options).to_pylist()  # type: ignore[no-any-return]


def ids(store: DuckStore, **options: Any) -> list[str]:
    return [row["id"] for row in rows(store, "trades", **options)]


def test_rows_and_position_are_there_after_a_commit_and_a_new_start(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert (store.position, store.fingerprint) == (0, "")
    source = Source()
    results = source.take(trade(1), trade(2, 5), quote(9, 6))
    assert store.commit(results, 17, coverage=source.engine.coverage()) == 5  # with the candle and the run of ids
    store.claim("code")
    store.close()
    again = opened(tmp_path)
    assert (again.position, again.fingerprint, ids(again)) == (17, "code", ["1", "2"])
    (candle,) = rows(again, "candles")
    assert (str(candle["close"]), candle["count"], candle["revision"]) == ("100.00000000", 1, 0)
    again.close()


@pytest.mark.parametrize("broken", ["candles", "coverage", "meta"])
def test_a_commit_that_fails_inside_leaves_nothing(tmp_path: Path, broken: str) -> None:
    store, source = opened(tmp_path), Source()
    store.commit(source.take(trade(1)), 1, coverage=source.engine.coverage())
    store._db.execute(f"ALTER TABLE {broken} RENAME TO away")
    results = source.take(trade(2, 1), trade(3, 9))
    with pytest.raises(StoreError, match="cannot write to the store"):
        store.commit(results, 3, coverage=source.engine.coverage())
    store._db.execute(f"ALTER TABLE away RENAME TO {broken}")
    assert ids(store) == ["1"]
    assert rows(store, "candles") == []
    assert [row["last_id"] for row in rows(store, "coverage")] == ["1"]
    assert store.position == 1
    store.close()


def test_after_a_failed_commit_the_same_one_is_written_once(tmp_path: Path) -> None:
    store, source = opened(tmp_path), Source()
    store.commit(source.take(trade(1)), 1)
    results = source.take(trade(2, 1), trade(3, 9), trade(4, 12))
    store._db.execute("ALTER TABLE indicators RENAME TO away")
    with pytest.raises(StoreError):
        store.commit(results, 4)
    store._db.execute("ALTER TABLE away RENAME TO indicators")
    store.commit(results, 4)
    assert ids(store) == ["1", "2", "3", "4"]
    assert [row["count"] for row in rows(store, "candles")] == [1, 1, 1]
    assert store.position == 4
    store.close()


def test_the_same_commit_again_gives_no_second_row(tmp_path: Path) -> None:
    store, source = opened(tmp_path), Source()
    messages: list[Message] = [trade(1), trade(2, 1), quote(5, 1), trade(3, 2), trade(4, 9), quote(6, 9)]
    results = source.take(*messages)
    assert store.commit(results, 4, coverage=source.engine.coverage())
    before = {channel: rows(store, channel) for channel in CHANNELS}
    assert before["indicators"]
    for _ in range(2):
        store.commit(results, 4, coverage=source.engine.coverage(), again=True)
    assert {channel: rows(store, channel) for channel in CHANNELS} == before
    store.close()


def test_after_a_rewind_nothing_is_written_twice_even_after_another_kill(tmp_path: Path) -> None:
    """A power failure took the end of the tape: its rows come again, over several lives of the store."""
    messages: list[Message] = [(US, trade(1)), (US, b"damage"), (US + 1, trade(2, 1)), (US + 2, trade(3, 9))]
    store = opened(tmp_path)
    store.commit(Source().take(*messages), 40)
    before = {channel: rows(store, channel) for channel in CHANNELS if channel != "coverage"}
    assert before["quarantine"]
    store.rewind(10, US + 20 * SECOND)
    assert store.position == 10
    store.close()
    for _ in range(2):
        store = opened(tmp_path)
        store.commit(Source().take(*messages), 20)
        assert {channel: rows(store, channel) for channel in before} == before
        store.close()
    store = opened(tmp_path)
    store.commit(Source().take((US + 30 * SECOND, trade(9, 30))), 21)
    assert ids(store) == ["1", "2", "3", "9"]
    store.close()


def test_single_trades_and_the_aggregate_of_them_are_the_same_trades(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(Source().take(trade(7), trade(8), trade(9), trade(10, 1)), 4)
    store.commit(Source().take(aggregate(1, 7, 9)), 5, again=True)
    found = rows(store, "trades")
    assert [(row["first_id"], row["id"]) for row in found] == [("7", "1"), (None, "10")]
    store.close()


def test_a_revision_replaces_its_row(tmp_path: Path) -> None:
    store, source = opened(tmp_path), Source()
    store.commit(source.take(trade(1), trade(2, 1), trade(9, 9)), 3)
    store.commit(source.take(trade(3, 0.5, "250")), 4)
    found = rows(store, "candles", start=US, end=US + SECOND)
    assert [(row["revision"], row["count"], str(row["close"])) for row in found] == [(1, 2, "250.00000000")]
    store.commit(source.take(trade(10, 30)), 5)
    (mean,) = (row for row in rows(store, "indicators") if row["ts_start"] == rows(store, "candles")[1]["ts_start"])
    assert dict(mean["values"])["sma"] == 175.0
    store.close()


def test_a_lower_count_never_replaces_a_higher_one(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(Source().take(trade(1), trade(2, 0.1), trade(3, 9)), 3)
    store.commit(Source().take(trade(1, 0, "77"), trade(3, 9)), 3, again=True)
    found = rows(store, "candles")
    assert [(row["count"], str(row["open"])) for row in found] == [(2, "100.00000000")]
    store.commit(Source().take(trade(1, 0, "77"), trade(2, 0.1), trade(4, 0.2), trade(3, 9)), 3, again=True)
    assert [(row["count"], str(row["open"])) for row in rows(store, "candles")] == [(3, "77.00000000")]
    store.close()


def test_what_single_trades_void_is_gone(tmp_path: Path) -> None:
    store, source = opened(tmp_path), Source()
    store.commit(source.take(aggregate(1, 1, 9), aggregate(2, 10, 12, 9), trade(100, symbol="Y")), 3)
    assert [row["count"] for row in rows(store, "candles")] == [9]
    store.commit(source.take(trade(11, 9)), 4)
    assert ids(store, symbol="X") == ["11"]
    assert ids(store, symbol="Y") == ["100"]
    assert rows(store, "candles") == []
    store.close()


def test_coverage_is_that_of_the_last_commit(tmp_path: Path) -> None:
    store, source = opened(tmp_path), Source()
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


def test_a_store_may_be_without_coverage(tmp_path: Path) -> None:
    store, source = DuckStore(tmp_path / "results.duckdb", ("trades",)), Source()
    assert store.commit(source.take(trade(1)), 1, coverage=source.engine.coverage()) == 1
    assert (ids(store), store.position) == (["1"], 1)
    store.close()


def test_only_rows_from_a_time_on(tmp_path: Path) -> None:
    store = opened(tmp_path)
    results = Source().take(trade(1), trade(2, 1), trade(3, 2), trade(4, 9))
    store.commit(results, 4, again=True, start=US + SECOND)
    assert ids(store) == ["2", "3", "4"]
    assert len(rows(store, "candles")) == 2
    store.close()


def test_reading_by_range_limit_and_key(tmp_path: Path) -> None:
    store = opened(tmp_path)
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


def test_ids_compare_as_numbers(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(Source().take(*[trade(n) for n in (8, 9, 10, 11, 100)]), 5)
    assert ids(store) == ["8", "9", "10", "11", "100"]
    assert ids(store, limit=2) == ["11", "100"]
    store.close()


def test_quotes_that_are_later_are_appended_and_others_replace(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(Source().take(quote(9), quote(10, 1)), 2)
    store.commit(Source().take(quote(10, 1), quote(11, 2)), 3)
    assert [row["id"] for row in rows(store, "quotes")] == ["9", "10", "11"]
    store.close()


def test_what_is_older_is_dropped(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(Source().take(*[trade(n, n) for n in range(10)], quote(1), quote(2, 9)), 12)
    assert store.retain({"trades": US + 4 * SECOND, "quotes": US + SECOND}) == {"trades": 4, "quotes": 1}
    assert ids(store) == ["4", "5", "6", "7", "8", "9"]
    assert len(rows(store, "candles")) > 4  # no word of them
    store.close()


def test_a_channel_as_parquet(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(Source().take(*[trade(n, 1) for n in (9, 10, 100)], trade(1, 0.5)), 4)
    path = tmp_path / "it's trades.parquet"
    assert store.export("trades", str(path)) == 4
    assert pq.read_table(path).column("id").to_pylist() == ["1", "9", "10", "100"]
    with pytest.raises(StoreError, match="cannot write"):
        store.export("trades", str(tmp_path / "no folder" / "x.parquet"))
    store.close()


def child(text: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text, str(path)], check=False, capture_output=True, text=True)


OPEN = """
import sys, pathlib
from tapeflow.domain.errors import StoreError
from tapeflow.stores.duckdb import DuckStore
try:
    DuckStore(pathlib.Path(sys.argv[1]), ("trades",)).close()
except StoreError as error:
    sys.exit(str(error))
"""


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    path = tmp_path / "results.duckdb"
    done = child(OPEN, path)
    assert done.returncode == 1
    assert f"the store {path} is in use by another process" in done.stderr
    store.close()
    assert child(OPEN, path).returncode == 0


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "results.duckdb").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="cannot open the store"):
        opened(tmp_path)


def test_a_newer_form_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store._set("schema_version", "99")
    store.close()
    for read_only in (False, True):
        with pytest.raises(StoreError, match="newer release"):
            opened(tmp_path, read_only=read_only)
    assert meta(tmp_path)["schema_version"] == "99"


#: A store as version 1 made it; never change this text.
VERSION_1 = """
CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
INSERT INTO meta VALUES ('schema_version', '1'), ('position', '1234');
CREATE TABLE "trades" ("venue" VARCHAR, "symbol" VARCHAR, "id" VARCHAR, "price" DECIMAL(38, 8), "size" DECIMAL(38, 8),
    "side" VARCHAR, "ts_event" TIMESTAMPTZ, "ts_recv" TIMESTAMPTZ, "first_id" VARCHAR, "last_id" VARCHAR);
INSERT INTO trades VALUES ('binance', 'X', '1', 100, 1, 'buy', make_timestamptz(1700000000000000), NULL, NULL, NULL);
"""


def old_store(folder: Path) -> None:
    db = duckdb.connect(str(folder / "results.duckdb"))
    db.execute(VERSION_1)
    db.close()


def meta(folder: Path) -> dict[str, str]:
    db = duckdb.connect(str(folder / "results.duckdb"), read_only=True)
    found = dict(db.execute("SELECT name, value FROM meta").fetchall())
    db.close()
    return found


def test_an_old_store_is_brought_up_to_date(tmp_path: Path) -> None:
    old_store(tmp_path)
    with pytest.raises(StoreError, match="brings it up to date"):
        opened(tmp_path, read_only=True)
    store = opened(tmp_path)
    assert (store.position, store.fingerprint, ids(store)) == (1234, "", ["1"])
    store.commit(Source().take(trade(2, 1)), 1235)
    store.close()
    found = meta(tmp_path)
    assert len(found.pop("epoch")) == 8
    assert found == {"schema_version": str(schema.VERSION), "position": "1235", "fingerprint": ""}


DIE = """
import os, sys, pathlib
from tapeflow.stores import schema
from tapeflow.stores.duckdb import DuckStore

class Dying(tuple):
    def __iter__(self):
        yield from super().__iter__()
        os._exit(9)

schema.MIGRATIONS[2] = Dying(schema.MIGRATIONS[2])
DuckStore(pathlib.Path(sys.argv[1]), ("trades",))
"""


def test_a_migration_that_is_killed_begins_again(tmp_path: Path) -> None:
    old_store(tmp_path)
    assert child(DIE, tmp_path / "results.duckdb").returncode == 9
    assert meta(tmp_path) == {"schema_version": "1", "position": "1234"}
    store = opened(tmp_path)
    assert (store.position, ids(store)) == (1234, ["1"])
    store.close()


def test_a_migration_that_fails_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_store(tmp_path)
    monkeypatch.setitem(schema.MIGRATIONS, 2, (*schema.MIGRATIONS[2], "SELECT error('disk')"))
    with pytest.raises(StoreError):
        opened(tmp_path)
    monkeypatch.undo()
    store = opened(tmp_path)
    assert (store.position, ids(store)) == (1234, ["1"])
    store.close()


def test_gaps_of_books_stay_beside_the_coverage_of_trades(tmp_path: Path) -> None:
    store, source = opened(tmp_path), Source()
    store.commit(source.take(trade(1)), 1, coverage=source.engine.coverage())
    gap = {"symbol": "X", "stream": "book", "ts_start": US, "ts_end": US + 5, "state": "gap", "first_id": 4}
    results = source.take(trade(2, 1))
    results.rows("coverage", [gap | {"reason": "missing_updates", "last_id": 6, "guarantee": "sequence"}])
    store.commit(results, 2, coverage=source.engine.coverage())
    store.commit(source.take(trade(3, 2)), 3, coverage=source.engine.coverage())
    found = [(row["stream"], row["state"], row["first_id"], row["last_id"]) for row in rows(store, "coverage")]
    assert sorted(found) == [("book", "gap", "4", "6"), ("trades", "complete", "1", "3")]
    store.close()


def test_a_commit_after_one_that_could_not_be_rolled_back(tmp_path: Path) -> None:
    """As where the memory is gone that a rollback needs: the connection is left in a transaction that is void."""
    store, source = opened(tmp_path), Source()
    store.commit(source.take(trade(1)), 1)
    store._db.execute("BEGIN")
    with pytest.raises(duckdb.Error):
        store._db.execute("INSERT INTO meta VALUES ('position', '99')")
    with pytest.raises(duckdb.Error, match="aborted"):
        store._db.execute("SELECT 1")
    store.commit(source.take(trade(2, 1)), 2)
    assert (store.position, ids(store)) == (2, ["1", "2"])
    store.close()


def test_a_statement_gives_its_memory_to_a_commit_that_lacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, source = DuckStore(tmp_path / "store.duckdb", CHANNELS), Source()
    said: list[str] = []

    def ask() -> None:
        with pytest.raises(SqlError) as caught:
            store.select("SELECT sum(a.range * b.range) FROM range(1000000000) a, range(1000000000) b")
        said.append(str(caught.value))

    asking = threading.Thread(target=ask)
    asking.start()
    plain = store._write

    def write(*given: Any, **more: Any) -> int:
        if not said:  # as long as the statement has the memory
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate")
        return plain(*given, **more)

    monkeypatch.setattr(store, "_write", write)
    time.sleep(0.3)
    assert store.commit(source.take(trade(1), trade(2)), 2) == 2
    asking.join()
    assert "the store needs" in said[0]
    said.clear()  # nobody asks: it lacks for another reason, which is told
    with pytest.raises(StoreError, match="Out of Memory"):
        store.commit(source.take(trade(3)), 3)
    assert store.position == 2
    store.close()
