"""Pages of rows whose times come from two columns, against all rows sorted in Python."""

from __future__ import annotations

import random
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest

from tapeflow.stores import pages
from tapeflow.stores.channels import CHANNELS
from tapeflow.stores.schema import create_tables

Row = dict[str, Any]


@pytest.fixture(scope="module")
def quotes() -> tuple[duckdb.DuckDBPyConnection, list[Row]]:
    chance = random.Random(5)
    db = duckdb.connect()
    for statement in create_tables(CHANNELS["quotes"], 8, 8):
        db.execute(statement)
    rows = []
    for id in range(300):
        event, recv = chance.choice([None, chance.randrange(40)]), chance.randrange(40)
        rows.append({"id": id, "time": recv if event is None else event})
        db.execute(
            "INSERT INTO quotes (venue, symbol, id, bid, ts_event, ts_recv) "
            "VALUES ('v', 's', ?, 1, make_timestamptz(?), make_timestamptz(?))",
            [str(id), event, recv],
        )
    return db, sorted(rows, key=lambda row: (row["time"], row["id"]))


def ids(page: pages.Page) -> list[int]:
    return [int(id) for id in page.rows.column("id").to_pylist()]


@pytest.mark.parametrize("limit", [1, 7, 100, 500])
def test_every_range_and_every_page(quotes: Any, limit: int) -> None:
    db, rows = quotes
    for start, end in ((None, None), (5, 30), (12, 13), (39, None), (None, 20), (50, 60)):
        wanted = [
            row["id"] for row in rows if (start is None or row["time"] >= start) and (end is None or row["time"] < end)
        ]
        asked = pages.Asked(channel="quotes", key={"symbol": "s"}, start=start, end=end, limit=limit)
        newest = pages.read(db.cursor(), msgspec.structs.replace(asked, newest=True))
        assert ids(newest) == wanted[-limit:]
        found: list[int] = []
        after = None
        for _ in range(400):
            page = pages.read(db.cursor(), msgspec.structs.replace(asked, after=after))
            found += ids(page)
            after = page.end
            if after is None:
                break
            assert pages.is_position(CHANNELS["quotes"], after)
        assert found == wanted


@pytest.fixture(scope="module")
def candles() -> tuple[duckdb.DuckDBPyConnection, list[int]]:
    """Candles of two symbols, not in the order of their times, some missing."""
    chance = random.Random(6)
    db = duckdb.connect()
    for statement in create_tables(CHANNELS["candles"], 8, 8):
        db.execute(statement)
    starts = [second for second in range(60) if second % 7]
    for start in chance.sample(starts, len(starts)):
        for symbol in ("s", "t"):
            db.execute(
                "INSERT INTO candles (venue, symbol, interval, ts_start, close) "
                "VALUES ('v', ?, '1s', make_timestamptz(?), 1)",
                [symbol, start * 1_000_000],
            )
    return db, starts


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 500])
def test_every_range_of_windows(candles: Any, limit: int) -> None:
    db, starts = candles
    key = {"venue": "v", "symbol": "s", "interval": "1s"}
    for start, end in (
        (0, 10_000_000),
        (500_000, 10_500_000),
        (3, 3),
        (5_000_000, 4_000_000),
        (55_000_000, 99_000_000),
    ):
        wanted = [second * 1_000_000 for second in starts if start <= second * 1_000_000 < end]
        found: list[int] = []
        after = None
        while True:
            asked = pages.Asked(channel="candles", key=key, start=start, end=end, after=after, limit=limit)
            page = pages.read(db.cursor(), asked)
            assert page.rows.num_rows <= limit
            found += page.rows.column("ts_start").cast(pa.int64()).to_pylist()
            after = page.end
            if after is None:
                break
        assert found == wanted
