"""Tables in a real PostgreSQL: their versions, what finds rows in them, and how long that may take."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from servers import Servers
from tapeflow.domain.errors import SlowError, StoreError
from tapeflow.stores.channels import CHANNELS
from tapeflow.stores.pages import Asked
from tapeflow.stores.postgres import reading, schema, store
from tapeflow.stores.postgres.store import PostgresStore
from tapeflow.stores.schema import table_name

pytestmark = pytest.mark.slow

US = 1_700_000_000_000_000
#: Channels that are asked for by time with no more than a symbol.
PAGED = ("trades", "quotes", "book", "tickers", "late", "klines", "moving_average", "indicators")
#: Those of a page that begins, goes on or ends somewhere.
PLACES = [{"newest": True}, {"start": US + 100_000_000}, {"end": US + 50_000_000, "newest": True}]
#: What rows of a test have in common, as SQL of their number n.
VALUES = {
    "venue": "'binance'",
    "symbol": "CASE WHEN n % 10 = 0 THEN 'Y' ELSE 'X' END",
    "id": "n::text",
    "kind": "'24h'",
    "interval": "'1s'",
    "name": "'sma_20'",
    "window_ms": "3000",
    "slide_ms": "500",
}
#: Ends whoever waits for rows that another holds.
ENDED = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""
KINDS = dict.fromkeys(VALUES, "text") | {"id": "id", "window_ms": "int", "slide_ms": "int"}

#: Tables as version 1 made them; never change this text.
VERSION_1 = """
CREATE SCHEMA tapeflow;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO meta VALUES ('schema_version', '1'), ('position', '0'), ('fingerprint', ''), ('epoch', 'abcd');
CREATE TABLE "quotes" ("venue" TEXT, "symbol" TEXT, "id" TEXT, "bid" NUMERIC(38, 8), "bid_size" NUMERIC(38, 8),
    "ask" NUMERIC(38, 8), "ask_size" NUMERIC(38, 8), "ts_event" TIMESTAMPTZ, "ts_recv" TIMESTAMPTZ,
    UNIQUE NULLS NOT DISTINCT ("venue", "symbol", "id"));
CREATE INDEX "quotes_time" ON "quotes" (symbol, "ts_recv");
INSERT INTO quotes VALUES ('binance', 'X', '1', 1, 1, 2, 1, NULL, 'epoch'::timestamptz + interval '1700000000 s');
"""


@pytest.fixture
def url(servers: Servers) -> str:
    return servers.database()


def ask(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, options="-c search_path=tapeflow", autocommit=True) as db:
        done = db.execute(query, values or None)  # type: ignore[call-overload]
        return done.fetchall() if done.description else []


def version(url: str) -> str:
    return str(ask(url, "SELECT value FROM meta WHERE name = 'schema_version'")[0][0])


def quotes(url: str) -> list[str]:
    """The ids of quotes, and a store that has been opened for it."""
    opened = PostgresStore(url, ("quotes",))
    found: list[str] = opened.read("quotes").column("id").to_pylist()
    opened.close()
    return found


def indexed(url: str) -> str:
    return str(ask(url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'quotes_time'")[0][0])


def test_old_tables_are_brought_up_to_date(url: str) -> None:
    ask(url, VERSION_1)
    with pytest.raises(StoreError, match="a sink brings them up to date"):
        PostgresStore(url, ("quotes",), read_only=True)
    assert quotes(url) == ["1"]
    assert version(url) == str(schema.VERSION)
    assert "COALESCE" in indexed(url)
    PostgresStore(url, ("quotes",), read_only=True).close()


def test_tables_of_version_2_have_no_index_of_all_symbols_and_get_it(url: str) -> None:
    PostgresStore(url, schema.OF_ALL_SYMBOLS).close()
    ask(url, "DROP INDEX late_all_time, quarantine_all_time")
    ask(url, "UPDATE meta SET value = '2' WHERE name = 'schema_version'")
    with pytest.raises(StoreError, match="a sink brings them up to date"):
        PostgresStore(url, schema.OF_ALL_SYMBOLS, read_only=True)
    PostgresStore(url, schema.OF_ALL_SYMBOLS).close()
    assert version(url) == str(schema.VERSION)
    made = ask(url, "SELECT indexname FROM pg_indexes WHERE indexname LIKE '%all_time' ORDER BY 1")
    assert made == [("late_all_time",), ("quarantine_all_time",)]


@pytest.mark.parametrize("fault", ["DROP INDEX nowhere", "SELECT pg_terminate_backend(pg_backend_pid())"])
def test_a_migration_that_fails_or_is_killed_begins_again(
    url: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(url, VERSION_1)
    monkeypatch.setitem(schema.MIGRATIONS, 2, (*schema.MIGRATIONS[2], fault))
    with pytest.raises(StoreError, match="cannot open the store"):
        PostgresStore(url, ("quotes",))
    assert version(url) == "1"
    assert "COALESCE" not in indexed(url)
    monkeypatch.undo()
    assert quotes(url) == ["1"]
    assert version(url) == str(schema.VERSION)


def test_a_newer_form_is_refused_and_left_alone(url: str) -> None:
    PostgresStore(url, ("quotes",)).close()
    ask(url, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    for read_only in (False, True):
        with pytest.raises(StoreError, match="newer release"):
            PostgresStore(url, ("quotes",), read_only=read_only)
    assert version(url) == "99"


@pytest.fixture(scope="module")
def full(servers: Servers) -> Iterator[tuple[str, PostgresStore]]:
    """Tables with 20,000 rows of one symbol, and some of another."""
    url = servers.database()
    opened = PostgresStore(url, (*PAGED, "quarantine"))
    at = f"'epoch'::timestamptz + {US} * interval '1 microsecond' + n * interval '10 ms'"
    for name in (*PAGED, "quarantine"):
        own = {field: value for field, value in VALUES.items() if (field, KINDS[field]) in CHANNELS[name].fields}
        windows = "ts_start" if ("ts_start", "time") in CHANNELS[name].fields else "ts_event"
        own["ts_recv" if name in ("quotes", "book", "quarantine") else windows] = at
        columns, values = ", ".join(own), ", ".join(own.values())
        table = table_name(name)
        ask(url, f'INSERT INTO "{table}" ({columns}) SELECT {values} FROM generate_series(1, 20000) n')
        ask(url, f'ANALYZE "{table}"')
    yield url, opened
    opened.close()


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a plan that read a table."""
    found = [one for each in plan.get("Plans", ()) for one in scans(each)]
    return [plan, *found] if "Relation Name" in plan else found


@pytest.mark.parametrize("channel", PAGED)
@pytest.mark.parametrize("more", PLACES)
def test_a_page_reads_little_more_than_its_rows(
    full: tuple[str, PostgresStore], channel: str, more: dict[str, Any]
) -> None:
    either = {f"{channel}_time", f"{channel}_all_time"}  # of one symbol that has nearly all rows
    check_page(full, either, channel, {"venue": "binance", "symbol": "X"}, more)


@pytest.mark.parametrize("channel", schema.OF_ALL_SYMBOLS)
@pytest.mark.parametrize("more", PLACES)
def test_a_page_of_all_symbols_does_too(full: tuple[str, PostgresStore], channel: str, more: dict[str, Any]) -> None:
    check_page(full, {f"{channel}_all_time"}, channel, {"venue": "binance"}, more)


def check_page(
    full: tuple[str, PostgresStore], indexes: set[str], channel: str, key: dict[str, str | int], more: dict[str, Any]
) -> None:
    """A page and the next one are found by one of the indexes, and little else is read."""
    url, opened = full
    asked = Asked(channel=channel, key=key, limit=100, **more)
    page = opened.page(asked)
    assert page.rows.num_rows == 100
    if page.end is not None:
        asked = Asked(channel=channel, key=asked.key, limit=100, start=asked.start, after=page.end)
        assert opened.page(asked).rows.num_rows == 100
    query, values = reading.page_query(asked)
    (((plan, *_),),) = ask(url, f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values)
    (scan,) = scans(plan["Plan"])
    assert scan.get("Index Name") in indexes, json.dumps(plan)
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) < 200, json.dumps(plan)


@pytest.mark.parametrize("channel", [*PAGED, "quarantine"])
def test_what_is_too_old_is_found_by_its_time(full: tuple[str, PostgresStore], channel: str) -> None:
    url, opened = full
    before = "to_timestamp(%s)"
    query = schema.dropped(CHANNELS[channel], before, 1000)
    plan = json.dumps(ask(url, f"EXPLAIN (FORMAT JSON) {query}", US / 1e6 + 1))
    assert f'"Index Name": "{channel}_{"all_time" if channel == "quarantine" else "time"}"' in plan
    assert "Seq Scan" not in plan
    assert opened.retain({channel: US + 1_000_000}) == {channel: 99}
    assert opened.retain({channel: US + 1_000_000}) == {channel: 0}


def test_much_that_is_too_old_goes_in_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes waits for one part at most; one that is ended in the middle leaves the rows of the others."""
    monkeypatch.setattr(store, "DROPPED", 300)
    opened = PostgresStore(url, ("trades",))
    at = f"'epoch'::timestamptz + {US} * interval '1 microsecond' + n * interval '1 s'"
    rows = f"SELECT 'binance', 'S' || n % 3, n::text, {at} FROM generate_series(1, 1000) n"
    ask(url, f"INSERT INTO trades (venue, symbol, id, ts_event) {rows}")
    older = {"trades": US + 800_500_000}
    assert opened.drop(older) == ({"trades": 300}, True)
    ask(url, "UPDATE trades SET price = 1 WHERE id::int > 800")  # waits for nothing
    with psycopg.connect(url, options="-c search_path=tapeflow") as other:
        other.execute("SELECT 1 FROM trades FOR UPDATE")
        ended = threading.Timer(0.5, ask, (url, ENDED))
        ended.start()
        with pytest.raises(StoreError, match="cannot write to the store"):
            opened.drop(older)
        ended.join()
        other.rollback()
    assert ask(url, "SELECT count(*) FROM trades") == [(700,)]
    assert opened.retain(older) == {"trades": 500}
    assert ask(url, "SELECT min(id::int), count(*) FROM trades") == [(801, 200)]
    opened.close()


def test_an_id_of_before_that_is_no_number_spoils_no_page(url: str) -> None:
    opened = PostgresStore(url, ("trades",))
    values = f"'binance', 'X', id, 'epoch'::timestamptz + {US} * interval '1 microsecond'"
    ask(
        url, f"INSERT INTO trades (venue, symbol, id, ts_event) SELECT {values} FROM unnest(ARRAY['10', 'abc', '9']) id"
    )
    asked = Asked(channel="trades", key={"symbol": "X"}, limit=10)
    assert opened.page(asked).rows.column("id").to_pylist() == ["abc", "9", "10"]
    assert sorted(opened.read("trades").column("id").to_pylist()) == ["10", "9", "abc"]
    opened.close()


def test_rows_by_their_numbers_are_looked_for_among_so_many_numbers(url: str) -> None:
    """Series of a symbol share an index: to look for as many rows would read all that others have."""
    opened = PostgresStore(url, ("candles",))
    values = f"'binance', 'X', interval, 'epoch'::timestamptz + ({US} + 1000 * seq) * interval '1 microsecond', seq"
    for interval, numbers in (("1s", "generate_series(1, 50000)"), ("1d", "unnest(ARRAY[1, 2, 5, 6])")):
        chosen = values.replace("interval,", f"'{interval}',", 1)
        ask(url, f"INSERT INTO candles (venue, symbol, interval, ts_start, seq) SELECT {chosen} FROM {numbers} seq")
    ask(url, "ANALYZE candles")
    key: dict[str, str | int] = {"symbol": "X", "interval": "1d"}
    found = [opened.since("candles", first, 3, **key).column("seq").to_pylist() for first in (1, 3, 6, 7)]
    assert found == [[1, 2], [5], [6], []]
    ask(url, "SELECT pg_stat_reset()")
    opened.since("candles", 1, 1000, **key)
    opened.close()  # what was read is told then
    read = ask(url, "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'candles'")
    assert read[0][0] < 2000, read


def test_connections_of_threads_that_have_ended_are_closed(url: str) -> None:
    """Reads come from threads that a pool ends when they are idle, and makes anew."""
    opened = PostgresStore(url, ("trades",))
    asked = Asked(channel="trades", key={"symbol": "X"}, limit=1)
    ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tapeflow'"
    together = threading.Barrier(4)
    for _ in range(4):
        threads = [threading.Thread(target=lambda: (together.wait(), opened.page(asked))) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    (opened_now,) = ask(url, ours)[0]
    assert opened_now <= 1 + 2 * 4, "one that writes, those of the last threads, and perhaps of some before"
    opened.page(asked)
    assert ask(url, ours) == [(2,)], "one that writes, one of this thread"
    opened.close()


def test_a_read_that_takes_too_long_is_ended_and_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "READ_S", 0.2)
    opened = PostgresStore(url, ("trades",))
    asked = Asked(channel="trades", key={"symbol": "X"}, limit=1)
    with psycopg.connect(url, options="-c search_path=tapeflow") as db:
        db.execute("LOCK TABLE trades")
        with pytest.raises(
            SlowError, match=r"cannot read trades: it took longer than 0.2 s and was ended; ask for less"
        ):
            opened.page(asked)
    assert opened.page(asked).rows.num_rows == 0
    opened.close()
