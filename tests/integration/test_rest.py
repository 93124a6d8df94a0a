"""REST of a live run against the simulated venue: true while it is written, documented as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live.serving import Running
from live.truth import get

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGINT ends the run"),
]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "rest.md"
SETTINGS = """[api]
port = 0
requests_per_s = 10000
"""
SECOND = 1_000_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("rest"), SETTINGS, symbols=2, seconds=6)
    yield made
    made.stop()


def closed(running: Running) -> tuple[int, int]:
    """Whole seconds that have closed, all of whose trades were seen."""
    span = running.ask.rows("/v1/coverage", symbol=running.symbol, stream="trades", state="complete")[-1]
    start = -(-span["ts_start"] // SECOND) * SECOND
    watermark = running.ask("/v1/trades", symbol=running.symbol, limit=1).json["ts_watermark"]
    return start, min(watermark, span["ts_end"]) // SECOND * SECOND


def test_the_address_is_told(running: Running) -> None:
    assert f"serving {running.ask.address}" in running.live.text()
    assert running.ask("/readyz").status == 200
    assert running.ask("/healthz").status == 200
    assert b"tapeflow" in running.ask("/metrics").body


def test_trades_are_the_venues_and_coverage_says_so(running: Running) -> None:
    start, end = closed(running)
    said = running.ask("/v1/trades", symbol=running.symbol.lower(), start=start, end=end, limit=10_000).json
    assert said["coverage"] == {"complete": True, "gaps": [], "guarantee": "sequence"}
    ids = [int(row["id"]) for row in said["data"]]
    assert len(ids) > 20
    assert ids == list(range(ids[0], ids[-1] + 1))
    asked = f"{running.venue.rest}/api/v3/historicalTrades?symbol={running.symbol}&fromId={ids[0]}&limit=1000"
    truth = {row["id"]: row for row in get(asked)}
    for row in said["data"][:1000]:
        assert float(row["price"]) == float(truth[int(row["id"])]["price"])


def test_candles_are_the_sums_of_trades(running: Running) -> None:
    start, end = closed(running)
    trades = running.ask.rows("/v1/trades", symbol=running.symbol, start=start, end=end, limit=10_000)
    candles = running.ask.rows("/v1/candles", symbol=running.symbol, interval="1s", start=start, end=end)
    assert len(candles) >= 2
    for candle in candles:
        inside = [row for row in trades if candle["ts_start"] <= row["ts_event"] < candle["ts_end"]]
        assert (candle["count"], candle["open"], candle["close"]) == (
            len(inside), inside[0]["price"], inside[-1]["price"],
        )  # fmt: skip


def test_pages_of_a_table_that_grows_have_each_row_once(running: Running) -> None:
    start, _ = closed(running)
    ids: list[int] = []
    cursor: dict[str, str] = {}
    for _ in range(200):
        said = running.ask("/v1/trades", symbol=running.symbol, start=start, limit=10, **cursor).json
        ids += [int(row["id"]) for row in said["data"]]
        if said["next"] is None:
            break
        cursor = {"cursor": said["next"]}
    assert ids == list(range(ids[0], ids[-1] + 1))


def test_before_the_capture_is_not_captured(running: Running) -> None:
    start, end = closed(running)
    coverage = running.ask("/v1/trades", symbol=running.symbol, start=start - 60 * SECOND, end=end).json["coverage"]
    assert coverage["complete"] is False
    assert coverage["gaps"][0]["reason"] == "not_captured"


def test_symbols_have_what_the_venue_told(running: Running) -> None:
    rows = running.ask.rows("/v1/symbols")
    assert [row["symbol"] for row in rows] == sorted(running.venue.symbols[:2])
    assert all(row["status"] == "TRADING" and row["tick"] and row["size_unit"] for row in rows)


def test_the_command_asks_the_run(running: Running) -> None:
    def query(sql: str, *more: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "tapeflow", "query", sql, "--data", str(running.live.data), *more]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)

    done = query("SELECT count(*) AS n, 1.50::DECIMAL(9, 2) AS x FROM trades", "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["n"] > 20
    assert row["x"] == "1.5"
    refused = query("DELETE FROM trades")
    assert refused.returncode == 1
    assert "read-only" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_reading_hard_does_not_hold_up_the_feed(running: Running) -> None:
    began = time.monotonic()
    asked = 0
    while time.monotonic() - began < 3:
        running.ask("/v1/candles", symbol=running.symbol, interval="1s", limit=500)
        asked += 1
    assert asked > 20
    running.live.until(lambda s: s["lag_ms"] is not None and s["lag_ms"] < 2000, 10)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's blocks are for curl")
def test_every_block_of_the_page_runs(running: Running, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 7
    shim = tmp_path / "tapeflow"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tapeflow "$@"\n')
    shim.chmod(0o755)
    (tmp_path / "data").symlink_to(running.live.data)
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    env = os.environ | {"API": running.ask.address, "PATH": path}
    for language, text in blocks:
        line: list[Any] = ["sh", "-e", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, text + done.stdout + done.stderr
        assert done.stdout


def test_a_stop_ends_the_server_first_and_tells(running: Running) -> None:
    assert running.stop() == 0
    assert "stopped; everything that arrived is kept" in running.live.text()
    with pytest.raises(OSError, match=r"."):
        running.ask("/healthz")
    line = [sys.executable, "-m", "tapeflow", "query", "SELECT count(*) AS n FROM trades", "--json"]
    done = subprocess.run([*line, "--data", str(running.live.data)], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["n"] > 20


def test_coverage_is_told_by_the_run_that_has_the_store(running: Running) -> None:
    command = [sys.executable, "-m", "tapeflow", "coverage", str(running.live.data), "--json"]
    done = subprocess.run([*command, "--symbol", running.symbol.lower()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    days = [json.loads(line) for line in done.stdout.splitlines()]
    assert {day["symbol"] for day in days} == {running.symbol}
    assert any(day["stream"] == "trades" and day["complete_s"] > 0 for day in days)
