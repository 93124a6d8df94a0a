"""``tapeflow query`` as a user calls it, over a store made by the library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tapeflow.flow.catalogue import default
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.results import Results

pytestmark = pytest.mark.slow

START = 1_767_225_600_000_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    store = DuckStore(folder / "results.duckdb", ("coverage", "quarantine"))
    flow = default(("1m",), ("candles",))
    results = Results(flow, "binance", ("coverage",), price_scale=8, size_scale=8)
    row = {"symbol": "A", "stream": "trades", "ts_start": START, "ts_end": START + 5, "state": "complete"}
    more = {"reason": None, "first_id": 7, "last_id": 9, "guarantee": "sequence"}
    store.commit(results, 3, coverage=[row | more])
    store.close()
    return folder


def query(data: Path, sql: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tapeflow", "query", sql, "--data", str(data), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_rows_as_json_follow_the_contract(data: Path) -> None:
    done = query(data, "SELECT ts_start, ts_end, first_id, 1.50::DECIMAL(38, 8) AS price FROM coverage", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"ts_start": START, "ts_end": START + 5, "first_id": "7", "price": "1.5"}


def test_rows_as_a_table_and_as_parquet(data: Path, tmp_path: Path) -> None:
    assert "sequence" in query(data, "SELECT * FROM coverage").stdout
    out = tmp_path / "rows.parquet"
    assert query(data, "SELECT * FROM coverage", "--out", str(out)).returncode == 0
    assert pq.read_table(out).num_rows == 1


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM coverage", "read-only"),
        ("SELECT * FROM read_text('/etc/hostname')", "read_text is not allowed"),
        ("SELECT * FROM 'file.csv'", "disabled by configuration"),
        ("SET enable_external_access = true", "read-only"),
        ("SELECT 1; SELECT 2", "got 2 statements"),
        ("SELECT getenv('HOME')", "getenv is not allowed"),
        ("SELEC", "syntax error"),
        ("SELECT * FROM nothing", "does not exist"),
    ],
)
def test_what_is_no_question_to_the_store_is_refused(data: Path, sql: str, said: str) -> None:
    done = query(data, sql)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_a_store(tmp_path: Path) -> None:
    done = query(tmp_path, "SELECT 1")
    assert done.returncode == 1
    assert "results.duckdb" in done.stderr
