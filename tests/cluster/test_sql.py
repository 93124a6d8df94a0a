"""SQL of strangers at a gateway: answers like those of REST, nothing but reading, within limits, on a real database."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pyarrow as pa
import pytest

from cluster.topics import Cluster, candle, trade
from servers import Servers
from serving import Client, Said
from tapeflow.domain.errors import SettingsError, StoreError
from tapeflow.settings import ApiSettings, PostgresSettings
from tapeflow.stores import render
from tapeflow.stores.postgres.sql import ROW, Reader, role_of
from tapeflow.stores.sql import SqlError

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(servers: Servers, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(servers, str(tmp_path / "gateway"))
    yield made
    made.stop()


@pytest.fixture
def url(cluster: Cluster, servers: Servers) -> str:
    """A gateway with SQL over a database with trades and candles."""
    postgres = PostgresSettings(url=cluster.url, reader=servers.reading(cluster.url))
    api = ApiSettings(port=0, requests_per_s=10_000, sql_seconds=20.0, sql_rows=5_000)
    cluster.settings = msgspec.structs.replace(cluster.settings, postgres=postgres, api=api)
    cluster.start()
    cluster.send("trades", *(trade(n, price=f"{n}.50") for n in range(1, 8)))
    cluster.send("candles", *(candle(n) for n in range(4)))
    cluster.until(lambda: cluster.rows("SELECT count(*) FROM trades")[0][0] == 7)
    cluster.until(lambda: cluster.rows("SELECT count(*) FROM candles")[0][0] == 4)
    cluster.serve()
    return cluster.addresses[0]


@pytest.fixture
def reader(url: str, cluster: Cluster) -> Reader:
    """A reader with the rights that a sink gives it."""
    own = cluster.settings
    return Reader(own.postgres.reader, own.postgres.schema, rows=5_000, seconds=20.0)


def ask(url: str, statement: str, accept: str = "application/json") -> Said:
    return Client(url)("/v1/sql", {"Accept": accept}, "POST", statement.encode())


def test_answers_are_those_of_rest(url: str) -> None:
    assert Client(url)("/v1/about").json["has_sql"]
    said = ask(url, "SELECT id, price, size, ts_event FROM trades WHERE symbol = 'X' ORDER BY ts_event LIMIT 100;\n")
    assert said.status == 200, said.body
    found = Client(url).rows("/v1/trades", symbol="X")
    assert said.json["data"] == [{name: row[name] for name in ("id", "price", "size", "ts_event")} for row in found]
    assert not said.json["truncated"]
    arrow = ask(
        url, "SELECT ts_start, open, volume, count, vwap, closed FROM candles", "application/vnd.apache.arrow.stream"
    )
    table = pa.ipc.open_stream(io.BytesIO(arrow.body)).read_all()
    kinds = [
        pa.timestamp("us", "UTC"),
        pa.decimal128(38, 8),
        pa.decimal128(38, 8),
        pa.int64(),
        pa.float64(),
        pa.bool_(),
    ]
    assert table.schema.types == kinds
    for example in Client(url)("/v1/examples").json:
        if example["kind"] == "sql":
            assert ask(url, example["text"]).status == 200, example


def test_values_of_every_kind(reader: Reader) -> None:
    text = (
        "SELECT 1 AS a, 2 AS a, 0.1 + 0.20 AS sum, 1::numeric / 3 AS third, 'NaN'::numeric AS nan, 1e60 AS huge, "
        "NULL AS none, DATE '2026-01-02' AS day, '\\x00ff'::bytea AS raw, '{\"b\": 1}'::jsonb AS json, "
        "ARRAY[1, 2] AS list, '%s' AS percent -- a comment at the end"
    )
    found = reader.select(text).rows.to_pylist()[0]
    third = found.pop("third")
    assert str(third) == "0.33333333333333333333"
    expected = {"a": 1, "a_1": 2, "nan": "NaN", "huge": "1" + "0" * 60, "none": None, "raw": b"\x00\xff"}
    expected |= {"json": '{"b": 1}', "list": "{1,2}", "percent": "%s"}
    assert str(found.pop("sum")) == "0.3"
    assert str(found.pop("day")) == "2026-01-02"
    assert found == expected
    odd = reader.select(
        'SELECT 0::numeric(3,45) a, 100::numeric(3,-2) b, 0.00012::numeric(2,5) c, -1e37 d, 1 "a_1", 2 a'
    )
    assert odd.rows.column_names == ["a", "b", "c", "d", "a_1", "a_2"]
    assert [str(value) for value in odd.rows.to_pylist()[0].values()] == [
        "0",
        "100",
        "0.00012",
        f"-1{'0' * 37}",
        "1",
        "2",
    ]
    assert render.json_array(odd.rows)
    empty = reader.select("SELECT price, ts_event FROM trades WHERE false").rows
    assert (empty.num_rows, empty.schema.types) == (0, [pa.decimal128(38, 8), pa.timestamp("us", "UTC")])
    for statement in ("VALUES (1), (2)", "TABLE candles", "WITH t AS (SELECT 1 AS x) SELECT x FROM t"):
        assert reader.select(statement).rows.num_rows


def test_limits_of_rows_bytes_and_time(reader: Reader, cluster: Cluster) -> None:
    found = reader.select("SELECT generate_series(1, 100000) AS n")
    assert found.is_truncated
    assert found.rows["n"].to_pylist() == list(range(1, 5001))
    assert not reader.select("SELECT generate_series(1, 5000) AS n").is_truncated
    with psycopg.connect(cluster.url) as db:
        db.execute("CREATE TABLE tapeflow.wide AS SELECT repeat('x', 1000000) AS x FROM generate_series(1, 100)")
        db.execute(f"CREATE TABLE tapeflow.long AS SELECT repeat('x', {ROW + 1}) AS x")
        db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA tapeflow TO tapeflow_reader")
    found = reader.select("SELECT * FROM wide")
    assert found.is_truncated
    assert 60 <= found.rows.num_rows <= 70
    with pytest.raises(SqlError, match="more than 1,048,576 bytes"):
        reader.select("SELECT * FROM long")
    wide = f"SELECT {', '.join(['x'] * 3)} FROM (SELECT left(x, 500000) AS x FROM wide LIMIT 1) AS t"
    with pytest.raises(SqlError, match="a row has more than"):
        reader.select(wide)
    began = time.monotonic()
    hasty = Reader(cluster.settings.postgres.reader, "tapeflow", seconds=1.0)
    with pytest.raises(SqlError, match="longer than 1 s"):
        hasty.select("SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b")
    assert time.monotonic() - began < 20
    # One step of the database that looks at no clock.
    began = time.monotonic()
    with pytest.raises(SqlError, match="longer than 1 s"):
        hasty.select(
            "WITH RECURSIVE t(s) AS (SELECT ' ' UNION ALL SELECT s || s FROM t WHERE length(s) < 500000) "
            "SELECT strpos(max(s), 'b' || left(max(s), 250000)) FROM t"
        )
    assert time.monotonic() - began < 15
    with pytest.raises(SqlError, match="at most 65,536"):
        reader.select("SELECT 1" + " " * 70_000)


#: What writes, reaches out, changes limits, holds what others need, gathers memory, or is no single statement.
ATTACKS = [
    'SELECT false, \'x\'::text) AS asked("0", "1")'
    " UNION ALL SELECT * FROM (SELECT false AS q) AS l NATURAL JOIN (SELECT 'y' AS big, false AS q",
    "SELECT count(pg_export_snapshot()) FROM trades", "SELECT pg_stat_get_backend_activity(1)",
    "SELECT * FROM pg_locks", "SELECT ARRAY/**/(SELECT 1)", "SELECT ARRAY--\n(SELECT 1)",
    "SELECT format('%900000000s', '')", "SELECT txid_current()", "SELECT json_agg_strict(1)", "SELECT json_arrayagg(1)",
    "SELECT crosstab('SELECT 1')", "SELECT array_fill(1, ARRAY[9])", "SELECT 1; SELECT 2",
    "SELECT 1) AS asked; DROP TABLE tapeflow.trades; SELECT * FROM (SELECT 1", "", ";", "--", "SELECT",
    "SELECT 1) AS a; COMMIT; SET statement_timeout = 0; SELECT * FROM (SELECT 1", "DELETE FROM trades",
    "INSERT INTO meta VALUES ('a', 'b')", "DROP TABLE trades", "TRUNCATE trades", "CREATE TABLE x (y int)",
    "WITH x AS (DELETE FROM trades RETURNING id) SELECT * FROM x", "SELECT * INTO y FROM trades",
    "SELECT 1 FROM trades FOR UPDATE", "COPY trades TO '/tmp/x.csv'", "COPY (SELECT 1) TO PROGRAM 'id'",
    "EXPLAIN ANALYZE DELETE FROM trades", "SHOW ALL", "SET statement_timeout = 0",
    "SELECT set_config('statement_timeout', '0', false)", 'SELECT "set_config"(\'a.b\', \'c\', true)',
    'SELECT U&"set\\005fconfig"(\'work_mem\', \'9GB\', false)', "SELECT query_to_xml('SELECT 1', true, true, '')",
    "SELECT pg_read_file('/etc/passwd')", "SELECT pg_ls_dir('/')", "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_binary_file('x')", "SELECT * FROM pg_authid", "SELECT passwd FROM pg_shadow",
    "SELECT * FROM pg_stat_activity", "SELECT pg_stat_get_activity(1)", "SELECT pg_sleep(9)",
    "SELECT pg_advisory_lock(1)", "SELECT pg_try_advisory_lock(1)", "SELECT pg_notify('a', 'b')",
    "SELECT pg_terminate_backend(1)", "SELECT pg_reload_conf()", "SELECT pg_switch_wal()", "SELECT nextval('s')",
    "SELECT dblink('a', 'b')", "SELECT pg_logical_emit_message(true, 'a', 'b')", "DO $$ BEGIN END $$", "CALL x()",
    "LISTEN x", "PREPARE p AS SELECT 1", "VACUUM", "SELECT repeat('x', 1000000000)",
    "SELECT array_agg(raw) FROM quarantine", "SELECT string_agg(id, '') FROM trades", "LOCK TABLE trades",
    "SELECT ARRAY(SELECT id FROM trades)", "SELECT ARRAY\n(SELECT 1)", "SELECT json_agg(t) FROM trades t",
    "SELECT 1\x00; SELECT 2", "SELECT 1 /* ", "SELECT $$", "SELECT 'infinity'::timestamptz", "SELECT $1",
]  # fmt: skip


def backends(cluster: Cluster) -> set[int]:
    """Processes of the database that work for our SQL."""
    return {pid for (pid,) in cluster.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'tapeflow-sql'")}


def test_nothing_but_reading(url: str, cluster: Cluster) -> None:
    before = backends(cluster)  # one of the test above may still be in its one step
    for statement in ATTACKS:
        said = ask(url, statement)
        assert said.status == 400, (statement, said.status, said.body)
        assert said.json["type"].endswith("bad_statement"), (statement, said.body)
        assert "Traceback" not in said.body.decode()
    assert "such as SELECT * FROM candles" in ask(url, "DROP TABLE trades").json["detail"]
    assert cluster.rows("SELECT count(*) FROM trades") == [(7,)]
    cluster.until(lambda: backends(cluster) <= before)
    assert ask(url, "SELECT count(*) AS n FROM trades").json["data"] == [{"n": 7}]


def test_a_role_that_may_do_more_is_refused(reader: Reader, cluster: Cluster) -> None:
    reader.check_role()
    with pytest.raises(SettingsError, match="is a superuser"):
        Reader(cluster.url, "tapeflow").check_role()
    with psycopg.connect(cluster.url, autocommit=True) as db:
        db.execute("GRANT INSERT ON tapeflow.trades TO tapeflow_reader")
        with pytest.raises(StoreError, match=r"may change tapeflow\.trades"):
            reader.select("SELECT 1")
        db.execute("REVOKE INSERT ON tapeflow.trades FROM tapeflow_reader")
        db.execute("GRANT pg_read_server_files TO tapeflow_reader")
        try:
            with pytest.raises(SettingsError, match="belongs to pg_read_server_files"):
                reader.check_role()
        finally:
            db.execute("REVOKE pg_read_server_files FROM tapeflow_reader")
    assert reader.select("SELECT 1 AS one").rows.to_pylist() == [{"one": 1}]
    with pytest.raises(SettingsError, match="reader"):
        role_of("nonsense = = x")


def test_a_gateway_without_a_reader_says_what_to_do(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAPEFLOW_POSTGRES_READER", raising=False)
    cluster.serve_with_tables()
    (url,) = cluster.addresses
    assert not Client(url)("/v1/about").json["has_sql"]
    said = ask(url, "SELECT 1")
    assert said.status == 404
    assert "`reader` in [postgres]" in said.json["detail"]


def test_a_database_that_is_away(breakable: Servers, tmp_path: Path) -> None:
    url = breakable.database()
    reader = Reader(breakable.reading(url), "tapeflow")
    assert reader.select("SELECT 1 AS one").rows.num_rows == 1
    breakable.kill("postgres")
    try:
        with pytest.raises(StoreError) as found:
            reader.select("SELECT 1")
        assert not isinstance(found.value, SqlError)
    finally:
        breakable.revive()
    assert reader.select("SELECT 1 AS one").rows.num_rows == 1
