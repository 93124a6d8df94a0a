"""Rows and position in one transaction; what replaces what; reading, keeping, exporting; versions."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storing import CHANNELS, SECOND, US, Source, ids, rows, trade
from tapeflow.app.coverage import _add
from tapeflow.domain.errors import StoreError
from tapeflow.stores import schema
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.sql import SqlError


def opened(folder: Path, **options: Any) -> DuckStore:
    return DuckStore(folder / "results.duckdb", CHANNELS, **options)


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
    while not store._statements._running:  # however busy the machine is
        time.sleep(0.01)
    assert store.commit(source.take(trade(1), trade(2)), 2) == 2
    asking.join()
    assert "the store needs" in said[0]
    said.clear()  # nobody asks: it lacks for another reason, which is told
    with pytest.raises(StoreError, match="Out of Memory"):
        store.commit(source.take(trade(3)), 3)
    assert store.position == 2
    store.close()


def test_coverage_that_is_settled_is_there_once(tmp_path: Path) -> None:
    """It was told before, as what might still change."""
    store, source = opened(tmp_path), Source()
    presence, at = source.engine.presence, US
    for number in range(25):
        presence.connected("c", at)
        presence.asked("c", [("x@bookTicker", ("quotes", "X"))])
        presence.heard("c", at + SECOND, at + 9 * SECOND)
        presence.disconnected("c")
        at += 60 * SECOND
        store.commit(source.take(), number, coverage=source.engine.coverage())
    found = [(row["ts_start"], row["state"]) for row in rows(store, "coverage") if row["stream"] == "quotes"]
    assert len(found) == len(set(found)) == 49, "spans, and the gaps between them"
    store.close()


def test_a_gap_of_a_book_without_a_beginning_is_counted_where_it_ends(tmp_path: Path) -> None:
    row = {"venue": "binance", "symbol": "X", "stream": "book", "state": "gap", "reason": "missing_updates"}
    row |= {"guarantee": "sequence", "ts_start": None, "ts_end": datetime.fromtimestamp(US / 1e6, UTC)}
    found: dict[Any, Any] = {}
    _add(found, row | {"first_id": "16", "last_id": "19"})
    (day,) = found.values()
    assert (day.missing_s, [(hole.first_id, hole.last_id) for hole in day.holes]) == (0.0, [("16", "19")])
