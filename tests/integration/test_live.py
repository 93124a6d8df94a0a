"""`tapeflow run` against the simulated venue, as processes: what goes wrong is survived, and what is shown is true.

More of it by hand: ``python tests/live/faults.py``, ``python tests/live/kills.py``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

import tapeflow as tf
from live.faults import SETTINGS, alone
from live.kills import kills
from live.running import Live, Venue
from live.truth import compare, get

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="SIGHUP, SIGSTOP, SIGKILL")]

VENUE = ("--symbols", "8", "--rate", "150", "--days", "1")


def command(*words: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "tapeflow", *map(str, words)]
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=timeout)


def text_of(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    made = Venue(tmp_path, *VENUE)
    yield made
    made.stop()


def test_faults_of_every_kind_in_a_row(tmp_path: Path) -> None:
    kinds = ["drop", "duplicate", "reorder", "malformed", "skip_ids"]
    kinds += ["rate_limit", "ban", "error_5xx", "html_403", "slow_rest", "maintenance"]
    found, live = alone(tmp_path, kinds)
    assert found.wrong == []
    assert found.trades > 100
    assert found.candles > 30
    said = live.text(10_000)
    assert " answers 429: nothing is asked for" in said
    assert " answers 418: nothing is asked for" in said
    assert "the hole is filled" in said
    # What could not be had is named: the ids that the venue never issued, and nothing else.
    assert {gap[5] for gap in found.gaps} <= {"not_at_venue"}
    assert any("cannot be had (not_at_venue)" in line for _, line in live.said)


def heard(live: Live, word: str, since: float, seconds: float = 30.0) -> float:
    """Seconds from then until a line with this word was said."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for at, line in list(live.said):
            if at >= since and word in line:
                return at - since
        time.sleep(0.05)
    raise AssertionError(f"{word!r} was not said:\n{live.text()}")


def test_a_run_from_start_to_stop(tmp_path: Path, venue: Venue) -> None:
    """Silence, a second run, SIGHUP, sleep, Ctrl-C; then its replay."""
    known = venue.symbols[:3]
    live = Live(tmp_path, venue, [*known, "BTCUSDR"], SETTINGS)
    try:
        live.start()
        assert live.process is not None
        live.until_whole()
        heard(live, "BTCUSDR is not listed by binance, nothing will come of it; did you mean BTCUSDT?", 0.0)

        second = command("run", live.config)
        assert second.returncode == 1
        assert "cannot write to the tape" in second.stderr
        assert f"process {live.process.pid} does so already" in second.stderr

        time.sleep(3)
        began = time.monotonic()
        venue.fault("freeze", seconds=12)
        assert heard(live, "silent against the rhythm known", began) <= 10.0
        time.sleep(max(0.0, 12 - (time.monotonic() - began)))
        venue.calm()
        live.until_whole()

        live.configure([*known[1:], venue.symbols[4]])
        began = time.monotonic()
        live.process.send_signal(signal.SIGHUP)
        heard(live, f"following {known[1]}, {known[2]}, {venue.symbols[4]}", began)
        live.until(lambda s: s["symbols"] >= 4)
        live.config.write_text('symbols = ["X"\n')
        live.process.send_signal(signal.SIGHUP)
        heard(live, "the settings cannot be used, nothing was changed", began)

        time.sleep(3)  # a connection that was being made meanwhile is brought up to date too
        live.process.send_signal(signal.SIGSTOP)
        time.sleep(20)
        live.process.send_signal(signal.SIGCONT)
        heard(live, "nothing ran for ", began)
        time.sleep(3)
        live.until_whole(90)
        time.sleep(3)
        live.until_whole()
    finally:
        code = live.stop()
    assert code == 0, live.text()
    assert "stopped; everything that arrived is kept" in live.said[-1][1]
    assert live.status()["is_running"] is False

    found = compare(live.data, venue.rest)
    assert found.wrong == []
    assert found.gaps == []
    check_symbols(live.data, left=known[0], added=venue.symbols[4])
    check_replay(live.data)


def check_symbols(data: Path, *, left: str, added: str) -> None:
    store = duckdb.connect(str(data / "results.duckdb"), read_only=True)
    last = dict(store.execute("SELECT symbol, epoch_us(max(ts_event)) FROM trades GROUP BY symbol").fetchall())
    store.close()
    assert last[left] < last[added] - 15_000_000  # it was given up long before the end


def check_replay(data: Path) -> None:
    """What the live run gave is what a replay of its tape gives, for windows that are closed in both."""
    done = tf.replay([data], channels=["candles", "trades", "coverage"])
    store = duckdb.connect(str(data / "results.duckdb"), read_only=True)
    store.execute("SET TimeZone = 'UTC'")
    for channel, key in (("candles", ("symbol", "interval", "ts_start")), ("trades", ("symbol", "id"))):
        live = by_key(store.sql(f"SELECT * EXCLUDE (seq) FROM {channel}").to_arrow_table(), key)
        again = by_key(done.arrow(channel), key)
        both = live.keys() & again.keys()
        assert len(both) > 50
        assert live.keys() == both
        assert not [key for key in both if live[key] != again[key]]
    kept = "symbol, stream, epoch_us(ts_start), epoch_us(ts_end), state, reason, first_id"
    covered = store.sql(f"SELECT {kept} FROM coverage").fetchall()
    replayed = done.arrow("coverage")  # noqa: F841 - the query below reads it
    assert sorted(map(str, covered)) == sorted(map(str, duckdb.sql(f"SELECT {kept} FROM replayed").fetchall()))
    states = {(row[1], row[4]) for row in covered}
    assert {("quotes", "complete"), ("quotes", "gap"), ("trades", "complete")} <= states  # it was stopped for a while
    store.close()


def by_key(table: Any, key: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(row[name] for name in key): row for row in table.to_pylist() if row.get("closed", True)}


def test_kills_at_random(tmp_path: Path) -> None:
    found, took = kills(tmp_path, 5, seed=4)
    assert found.wrong == []
    assert found.trades > 50
    assert took


def test_history_is_fetched_once_and_repaired(tmp_path: Path, venue: Venue) -> None:
    live = Live(tmp_path, venue, venue.symbols[:2], SETTINGS)
    symbol = venue.symbols[0]
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    start = end - timedelta(minutes=8)
    span = ("--start", text_of(start), "--end", text_of(end), "--symbols", symbol.lower())

    nothing = command("repair", live.config, "--start", text_of(start))
    assert nothing.returncode == 1
    assert "there is no tape to compute from" in nothing.stderr
    assert command("coverage", tmp_path / "nowhere").returncode == 1

    before = dict(venue.stats()["requests"])
    line = [sys.executable, "-m", "tapeflow", "backfill", str(live.config), *span]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while requests_since(venue, before) < 6 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    killed_at = requests_since(venue, before)
    assert not list((live.data / "backfill").glob("*/whole"))

    done = command("backfill", live.config, *span, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["damage"] == []
    in_all = requests_since(venue, before)
    assert in_all > killed_at
    check_history(live.data, venue, symbol, start, end)
    rows = count(live.data)

    again = command("backfill", live.config, *span)
    assert again.returncode == 0, again.stderr
    assert "was fetched before" in again.stderr
    assert requests_since(venue, before) == in_all  # nothing is fetched twice
    repaired = command("repair", live.config, "--start", text_of(start))
    assert repaired.returncode == 0, repaired.stderr
    assert count(live.data) == rows

    shown = command("coverage", live.data, "--symbol", symbol, "--json")
    (day, *_) = (json.loads(row) for row in shown.stdout.splitlines())
    assert (day["symbol"], day["stream"], day["holes"]) == (symbol, "trades", [])
    assert symbol in command("coverage", live.data).stdout

    live.start()  # a run goes on with what was fetched
    try:
        live.until_live()
        busy = command("repair", live.config, "--start", text_of(start))
        assert busy.returncode == 1
        assert "in use by another process" in busy.stderr
    finally:
        assert live.stop() == 0
    assert count(live.data)["trades"] > rows["trades"]


def requests_since(venue: Venue, before: dict[str, int]) -> int:
    now: dict[str, int] = venue.stats()["requests"]
    return sum(now.values()) - sum(before.values())


def count(data: Path) -> dict[str, int]:
    store = duckdb.connect(str(data / "results.duckdb"), read_only=True)
    tables = ("trades", "candles", "moving_average", "indicators", "coverage")
    found = {table: store.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables}
    store.close()
    return {table: row[0] for table, row in found.items() if row}


def check_history(data: Path, venue: Venue, symbol: str, start: datetime, end: datetime) -> None:
    """Each true trade of the range stands there once."""
    first, last = (int(at.timestamp() * 1_000_000) for at in (start, end))
    truth = get(f"{venue.rest}/control/truth/trades?symbol={symbol}&start={first}&end={last}")
    store = duckdb.connect(str(data / "results.duckdb"), read_only=True)
    rows = store.execute(
        "SELECT CAST(coalesce(first_id, id) AS BIGINT), CAST(coalesce(last_id, id) AS BIGINT) FROM trades "
        "WHERE symbol = ? ORDER BY 1",
        [symbol],
    ).fetchall()
    store.close()
    stored = [id for low, high in rows for id in range(low, high + 1)]
    assert len(stored) == len(set(stored))
    assert {trade["id"] for trade in truth} <= set(stored)
    assert len(truth) > 50


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('symbols = ["BTCUSDT"]\nsymbol = 1\n', ["run.toml", "symbol: no such key", "did you mean symbols?"]),
        ('symbols = ["BTCUSDT"]\n[feed]\ngiveup = "1m"\n', ["run.toml", "[feed] giveup", "did you mean give_up?"]),
        ('symbols = ["BTCUSDT"]\n[store]\nchannels = ["trade"]\n', ["'trade'", "trades, quotes"]),
        ('symbols = ["BTCUSDT"]\n[tape]\nkeep = "7 days"\n', ["'7 days'"]),
        ("symbols = []\n", ["run.toml", "symbols"]),
    ],
)
def test_settings_that_cannot_be_are_told(tmp_path: Path, settings: str, words: list[str]) -> None:
    (tmp_path / "run.toml").write_text(settings)
    done = command("run", tmp_path / "run.toml")
    assert done.returncode == 2
    assert not [word for word in words if word not in done.stderr], done.stderr
    assert not (tmp_path / "data").exists()
