"""SQL of strangers: what it may read, and every way out of it that is shut."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from serving import Client, source
from tapeflow.domain.errors import StoreError
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.sql import LONGEST, SqlError, select, select_file

GOOD = [
    ("SELECT count(*) AS n FROM trades", [{"n": 39}]),
    ("SELECT 1.50::DECIMAL(9, 2) AS x, sum(1) AS y, TIMESTAMPTZ '1970-01-01 00:00:01Z' AS t", None),
    ("WITH t AS (SELECT 1 AS a UNION ALL SELECT 2) SELECT sum(a)::INT AS s FROM t", [{"s": 3}]),
    ("FROM range(3) AS r(i)", [{"i": 0}, {"i": 1}, {"i": 2}]),
    (
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT max(i) AS m FROM r",
        [{"m": 3}],
    ),
    ("VALUES (1)", [{"col0": 1}]),
    ("SELECT values['sma'] IS NULL AS b FROM indicators LIMIT 1;", [{"b": False}]),
    ("DESCRIBE trades", None),
    ("SHOW TABLES", None),
    ("SUMMARIZE trades", None),
    ("EXPLAIN SELECT * FROM trades", None),
    ("SELECT NULL AS x, 'nan'::DOUBLE AS y", [{"x": None, "y": None}]),
]
#: Each with a word of the refusal; the files exist.
BAD = [
    ("SELECT getenv('HOME')", "getenv"),
    ("SELECT GetEnv('HOME') FROM trades WHERE id IN (SELECT getenv('PATH'))", "getenv"),
    ("EXPLAIN SELECT getenv('HOME')", "getenv"),
    ("EXPLAIN ANALYZE DELETE FROM trades", "DELETE"),
    ("EXPLAIN (FORMAT json) SELECT 1", "syntax error"),
    ("SELECT * FROM read_text('/etc/hostname')", "read_text"),
    ("SELECT * FROM read_blob('/etc/hostname')", "read_blob"),
    ("SELECT * FROM read_csv('/etc/hostname')", "read_csv"),
    ("SELECT * FROM read_parquet('http://127.0.0.1/x')", "read_parquet"),
    ("SELECT * FROM glob('/*')", "glob"),
    ("SELECT * FROM sniff_csv('/etc/hostname')", "sniff_csv"),
    ("SELECT * FROM parquet_metadata('/x')", "parquet_metadata"),
    ("FROM '/etc/hostname.csv'", "disabled"),
    ("FROM 'file.csv'", "disabled"),
    ("SELECT (SELECT count(*) FROM 'file.parquet')", "disabled"),
    ("PRAGMA version", "PRAGMA"),
    ("PRAGMA database_list", "PRAGMA"),
    ("CALL pragma_version()", "CALL"),
    ("SELECT * FROM duckdb_secrets()", "duckdb_secrets"),
    ("FROM duckdb_settings()", "duckdb_settings"),
    ("FROM duckdb_logs", "duckdb_logs"),
    ("SELECT * FROM pg_settings", "pg_settings"),
    ("SELECT * FROM checkpoint()", "checkpoint"),
    ("SELECT * FROM query('SELECT 1')", "query"),
    ("SELECT * FROM query_table('trades')", "query_table"),
    ("SELECT * FROM json_execute_serialized_sql('{}')", "json_execute_serialized_sql"),
    ("SELECT write_log('x')", "write_log"),
    ("SELECT current_setting('memory_limit')", "current_setting"),
    ("SELECT length(repeat('x', 1000000000))", "repeat"),
    ("SELECT len(range(1000000000))", "range"),
    ("SELECT list_resize([1], 1000000000)", "list_resize"),
    ("COPY trades TO 'x.csv'", "COPY"),
    ("COPY (SELECT 1) TO '/dev/stdout'", "COPY"),
    ("EXPORT DATABASE 'x'", "EXPORT"),
    ("IMPORT DATABASE 'x'", "PRAGMA"),
    ("SET threads = 1", "SET"),
    ("RESET threads", "SET"),
    ("SET VARIABLE x = 1", "SET"),
    ("USE memory", "SET"),
    ("ATTACH 'x.db' AS x", "ATTACH"),
    ("ATTACH ':memory:' AS x", "ATTACH"),
    ("DETACH x", "DETACH"),
    ("INSTALL httpfs", "LOAD"),
    ("LOAD httpfs", "LOAD"),
    ("CREATE SECRET (TYPE s3)", "CREATE"),
    ("CREATE TABLE x (a INT)", "CREATE"),
    ("CREATE TEMP TABLE x AS SELECT 1", "CREATE"),
    ("CREATE MACRO m() AS 1", "CREATE"),
    ("INSERT INTO trades SELECT * FROM trades", "INSERT"),
    ("DELETE FROM trades", "DELETE"),
    ("UPDATE trades SET id = '1'", "UPDATE"),
    ("TRUNCATE trades", "DELETE"),
    ("DROP TABLE trades", "DROP"),
    ("ALTER TABLE trades RENAME TO x", "ALTER"),
    ("MERGE INTO trades USING trades AS b ON true WHEN MATCHED THEN DELETE", "MERGE"),
    ("PIVOT trades ON side USING count(*)", "MULTI"),
    ("BEGIN", "TRANSACTION"),
    ("PREPARE x AS SELECT 1", "PREPARE"),
    ("EXECUTE x", "EXECUTE"),
    ("CHECKPOINT", "CALL"),
    ("VACUUM", "VACUUM"),
    ("SELECT 1; SELECT 2", "got 2 statements"),
    ("SELECT 1; DROP TABLE trades", "got 2 statements"),
    ("", "got no statements"),
    ("-- nothing", "got no statements"),
    ("WITH x AS (INSERT INTO meta VALUES ('a', 'b') RETURNING name) SELECT * FROM x", "INSERT"),
    ("WITH x AS (DELETE FROM trades RETURNING id) SELECT * FROM x", "DELETE"),
    ("WITH x AS (UPDATE trades SET id = '1' RETURNING id) SELECT * FROM x", "UPDATE"),
    ("SELEC 1", "syntax error"),
    ("SELECT * FROM nothing", "does not exist"),
    ("SELECT * FROM folder", "does not exist"),  # a variable of the caller is no table
    ("SELECT " + "1," * LONGEST + "1", "at most"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "rows"), GOOD)
def test_what_may_be_asked(ask: Client, sql: str, rows: list[dict[str, Any]] | None) -> None:
    got = ask("/v1/sql", q=sql)
    assert got.status == 200, got.body
    sent = ask("/v1/sql", method="POST", body=sql.encode())
    assert sent.json == got.json
    assert got.json["data"]
    assert rows is None or got.json["data"] == rows
    assert got.json["truncated"] is False


def test_values_follow_the_contract(ask: Client) -> None:
    (row,) = ask.rows("/v1/sql", q=GOOD[1][0])
    assert row == {"x": "1.5", "y": "1", "t": 1_000_000}


@pytest.mark.parametrize(("sql", "said"), BAD, ids=[sql[:40] for sql, _ in BAD])
def test_what_may_not_be_asked(ask: Client, kept: tuple[DuckStore, Any], sql: str, said: str) -> None:
    folder = object()
    answer = ask("/v1/sql", method="POST", body=sql.encode())
    assert answer.status in (400, 413), answer.body
    if answer.status == 400:
        assert said in answer.json["detail"], answer.json
    assert ask.rows("/v1/sql", q="SELECT count(*) AS n FROM trades") == [{"n": 39}]
    with pytest.raises(SqlError):
        select(kept[0].cursor(), sql)
    del folder


def test_long_work_is_ended_and_the_store_goes_on(ask: Client) -> None:
    began = time.monotonic()
    said = ask(
        "/v1/sql", q="SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range % 7 = b.range % 5"
    )
    assert said.status == 400
    assert "took longer than 1 s" in said.json["detail"]
    assert time.monotonic() - began < 5
    assert ask.rows("/v1/sql", q="SELECT 1 AS x") == [{"x": 1}]


def test_many_rows_and_wide_rows_are_cut_and_said(ask: Client, kept: tuple[DuckStore, Any]) -> None:
    said = ask("/v1/sql", q="FROM range(1000001)")
    assert len(said.json["data"]) == 1000
    assert said.json["truncated"] is True
    lines = ask("/v1/sql", q="FROM range(1000001)", format="csv")
    assert lines.headers["Tapeflow-Truncated"] == "true"
    exact = ask("/v1/sql", q="FROM range(1000)")
    assert (len(exact.json["data"]), exact.json["truncated"]) == (1000, False)
    wide = select(kept[0].cursor(), "SELECT * FROM range(100000)", bytes=10_000)
    assert wide.is_truncated
    assert wide.rows.num_rows < 100_000


def test_too_much_memory_is_refused(ask: Client) -> None:
    said = ask("/v1/sql", q="SELECT count(DISTINCT a.range * 100000 + b.range) FROM range(100000) a, range(100000) b")
    assert said.status == 400
    assert "memory" in said.json["detail"].lower() or "took longer" in said.json["detail"]


def test_a_file_that_nobody_writes_is_asked_with_the_same_rules(kept: tuple[DuckStore, Any], tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    duckdb.connect(str(path)).execute("CREATE TABLE t AS SELECT 5 AS x").close()
    assert select_file(path, "SELECT * FROM t").rows.to_pylist() == [{"x": 5}]
    for sql, _ in BAD:
        with pytest.raises(SqlError):
            select_file(path, sql)
    with pytest.raises(StoreError, match="cannot ask"):
        select_file(tmp_path / "none.duckdb", "SELECT 1")


def test_a_source_gives_rows_of_statements(kept: tuple[DuckStore, Any]) -> None:
    assert source(*kept).select("SELECT 1 AS x").rows.to_pylist() == [{"x": 1}]
    json.dumps(source(*kept).symbols())
