"""Coverage in memory says what the store says, after any commits, and while they are made."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tapeflow.domain.errors import StoreError
from tapeflow.flow.builder import Builder
from tapeflow.stores import covered
from tapeflow.stores.covered import Covered
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.render import objects
from tapeflow.stores.results import Results

CHANNELS = ("trades", "coverage")
STREAMS = (("trades", "sequence"), ("quotes", "none"))
SYMBOLS = ("A", "B")


def results() -> Results:
    made = Builder("covered")
    made.trades()
    return Results(made.build(), "binance", CHANNELS, price_scale=8, size_scale=8)


def row(symbol: str, stream: str, guarantee: str, start: int, end: int, state: str = "complete") -> dict[str, Any]:
    given = {"venue": "binance", "symbol": symbol, "stream": stream, "ts_start": start, "ts_end": end, "state": state}
    return given | {"reason": None, "first_id": str(start), "last_id": str(end), "guarantee": guarantee}


def some(chance: random.Random) -> list[dict[str, Any]]:
    """Coverage as an engine tells it: of some streams, from some time on."""
    rows = []
    for symbol in SYMBOLS:
        for stream, guarantee in STREAMS:
            at = chance.randrange(100)
            for _ in range(chance.randrange(3)):
                end = at + chance.randrange(10)
                rows.append(row(symbol, stream, guarantee, at, end, chance.choice(["complete", "missing"])))
                at = end + chance.randrange(5)
    return rows


def stored(store: DuckStore, symbol: str, stream: str, start: int, end: int) -> list[dict[str, Any]]:
    rows = objects(store.read("coverage"))
    same = [one for one in rows if one["symbol"] == symbol and one["stream"] == stream]
    return [one for one in same if one["ts_start"] <= end and one["ts_end"] >= start]


def content(rows: list[dict[str, Any]]) -> list[Any]:
    return sorted((one["ts_start"], one["ts_end"], one["state"], one["guarantee"], one["first_id"]) for one in rows)


@pytest.mark.parametrize("seed", range(8))
def test_it_says_what_is_stored(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(covered, "WAITING", 3)
    store = DuckStore(tmp_path / "results.duckdb", CHANNELS)
    for position in range(1, 40):
        store.commit(results(), position, coverage=some(chance) or None)
        for _ in range(chance.choice([0, 1, 3])):
            key = (chance.choice(SYMBOLS), chance.choice(STREAMS)[0])
            start = chance.randrange(120)
            span = (start, start + chance.randrange(60))
            found = store.coverage("binance", *key, *span)
            assert content(found) == content(stored(store, *key, *span))
            assert [one["ts_start"] for one in found] == sorted(one["ts_start"] for one in found)
    store.retain({"coverage": 50})
    assert content(store.coverage("binance", "A", "trades", 0, 200)) == content(stored(store, "A", "trades", 0, 200))
    store.close()


def test_the_store_is_read_once(tmp_path: Path) -> None:
    store = DuckStore(tmp_path / "results.duckdb", CHANNELS)
    store.commit(results(), 1, coverage=[row("A", "trades", "sequence", 0, 10)])
    assert len(store.coverage("binance", "A", "trades", 0, 100)) == 1
    store.commit(results(), 2, coverage=[row("A", "trades", "sequence", 0, 30)])
    store._db.execute("DELETE FROM coverage")
    assert [one["ts_end"] for one in store.coverage("binance", "A", "trades", 20, 100)] == [30]
    store.close()


def test_a_commit_that_failed_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DuckStore(tmp_path / "results.duckdb", CHANNELS)
    store.commit(results(), 1, coverage=[row("A", "trades", "sequence", 0, 10)])
    assert len(store.coverage("binance", "A", "trades", 0, 100)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(store, "_insert", _fail)
        with pytest.raises(StoreError):
            store.commit(results(), 2, coverage=[row("A", "trades", "sequence", 0, 30)])
    assert [one["ts_end"] for one in store.coverage("binance", "A", "trades", 0, 100)] == [10]
    store.close()


def _fail(*_: Any) -> None:
    raise StoreError("no room")


def test_what_is_read_while_a_transaction_is_under_way_is_not_kept() -> None:
    kept = Covered()
    old, new = [row("A", "trades", "sequence", 0, 10)], [row("A", "trades", "sequence", 0, 20)]
    with kept.changing():
        assert kept.rows(("A", "trades"), 0, 100, lambda: old) == old
    assert kept.rows(("A", "trades"), 0, 100, lambda: new) == new
    assert kept.rows(("A", "trades"), 0, 100, lambda: old) == new

    def read() -> list[dict[str, Any]]:
        with kept.changing():
            return old

    assert kept.rows(("B", "trades"), 0, 100, read) == old
    assert kept.rows(("B", "trades"), 0, 100, lambda: new) == new


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covered, "MOST", 2)
    kept = Covered()
    rows = [row("A", "trades", "sequence", 0, 10), row("A", "trades", "sequence", 10, 20)]
    for symbol in "ABC":
        assert len(kept.rows((symbol, "trades"), 0, 100, lambda: rows)) == 2
    assert len(kept._rows) == 1
