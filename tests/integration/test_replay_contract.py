"""Each line of the public contract that `tapeflow replay` touches, from outside: files in, files out, exit status.

What is right comes from the contract and from brute force over the raw payloads (`oracle`), never from the package.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import random
import re
import zipfile
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from integration import oracle
from integration.replaying import (
    CHANNELS,
    START,
    START_MS,
    Row,
    Run,
    aggregate,
    attempt,
    compact,
    decimal8,
    replay,
    trade,
    write,
)
from recordings import SPOT_2024, lines, recording
from recordings import frames as frames_of

SECOND = 1_000_000
HOUR_MS = 3_600_000

FIELDS = {
    "trades": "id price size side ts_event ts_recv",
    "quotes": "id bid bid_size ask ask_size ts_event ts_recv",
    "book": "id bids asks ts_event ts_recv",
    "tickers": "ts_event",
    "klines": "interval ts_start ts_end open high low close volume quote_volume taker_buy_volume count vwap source "
    "closed revision ts_event",
    "candles": "interval ts_start ts_end open high low close volume quote_volume taker_buy_volume count vwap source "
    "closed revision",
    "moving_average": "window_ms slide_ms ts_start ts_end mean count closed revision",
    "indicators": "interval name ts_start ts_end values bars closed revision",
    "coverage": "stream ts_start ts_end state reason first_id last_id guarantee",
    "late": "id price size side ts_event ts_recv ts_watermark",
    "quarantine": "ts_recv connection reason frame",
}
EXACT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")
EXACT_FIELDS = {
    "price", "size", "bid", "bid_size", "ask", "ask_size", "open", "high", "low", "close", "volume", "quote_volume",
    "taker_buy_volume",
}  # fmt: skip


def values(rows: list[Row], *without: str) -> list[Row]:
    """Rows in the oracle's order without the fields it does not know."""
    dropped = {"venue", "source", *without}
    return oracle.in_order({name: row[name] for name in row if name not in dropped} for row in rows)


def same(found: list[Row], expected: list[Row], *without: str) -> None:
    found, expected = values(found, *without), values(expected, *without)
    for one, other in zip(found, expected, strict=False):
        assert one == other
    assert len(found) == len(expected)


def market(seed: int, count: int, symbols: str = "BTCUSDT ETHUSDT DOGEUSDT", *, unit: int = 1) -> list[Row]:
    """Trades of two symbols and aggregates of the last, a little out of order, prices of every size."""
    chance = random.Random(seed)
    names = symbols.split()
    next_id = dict.fromkeys(names, 1)
    frames: list[tuple[float, Row]] = []
    ts = START_MS
    for number in range(count):
        ts += chance.choice((0, 1, 7, 130, 900, 4000))
        name = chance.choice(names)
        first = next_id[name]
        last = first + chance.randrange(4) if name == names[-1] else first
        next_id[name] = last + 1
        scale = {0: 1, 1: 10**6, 2: 9 * 10**10}[names.index(name) % 3]
        price, size = decimal8(chance.randrange(1, 10**8) * scale), decimal8(chance.randrange(1, 10**10))
        common = {"s": name, "m": chance.random() < 0.5}
        payload = (
            aggregate(number, first, last, ts * unit, price, size, **common)
            if name == names[-1]
            else trade(first, ts * unit, price, size, **common)
        )
        frames.append((ts + chance.choice((0, 0, 0, 3000, 9000)), payload))
    return [payload for _, payload in sorted(frames, key=lambda frame: frame[0])]


# == a market of several symbols, against brute force =========================================================


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay")


@pytest.fixture(scope="module")
def frames() -> list[Row]:
    return market(1, 1500)


@pytest.fixture(scope="module")
def plain(folder: Path, frames: list[Row]) -> Run:
    return replay([write(folder / "plain.ndjson", frames)], folder / "plain")


@pytest.fixture(scope="module")
def ticks(frames: list[Row]) -> list[oracle.Tick]:
    return oracle.unique(frames)


def test_candles_equal_brute_force(plain: Run, ticks: list[oracle.Tick]) -> None:
    same(plain.rows("candles"), oracle.candles(ticks, oracle.DEFAULTS))
    assert {row["source"] for row in plain.rows("candles")} == {"trades"}
    assert len({row["revision"] for row in plain.rows("candles")}) > 2


def test_every_sliding_window_that_holds_a_trade_gives_a_row(plain: Run, ticks: list[oracle.Tick]) -> None:
    rows = plain.rows("moving_average")
    same(rows, oracle.means(ticks))
    assert all(row["ts_end"] % 500_000 == 0 for row in rows)


def test_the_defaults_of_the_contract(plain: Run) -> None:
    assert {row["interval"] for row in plain.rows("candles")} == set(oracle.DEFAULTS)
    assert {(row["window_ms"], row["slide_ms"]) for row in plain.rows("moving_average")} == {(3000, 500)}
    assert {row["name"] for row in plain.rows("indicators")} == set(INDICATORS)


def test_trades_are_rows(plain: Run, ticks: list[oracle.Tick]) -> None:
    expected = [
        {
            "venue": "binance",
            "symbol": tick.symbol,
            "id": str(tick.key),
            "price": oracle.canonical(tick.price),
            "size": oracle.canonical(tick.size),
            "side": "sell" if tick.is_sell else "buy",
            "ts_event": tick.ts,
            "ts_recv": None,
        }
        for tick in sorted(ticks, key=lambda tick: (tick.ts, tick.symbol, tick.key))
    ]
    rows = plain.rows("trades")
    assert [{name: row[name] for name in expected[0]} for row in rows] == expected
    spans = {(row["symbol"], int(row["id"])): (row.get("first_id"), row.get("last_id")) for row in rows}
    for tick in ticks:
        first, last = spans[tick.symbol, tick.key]
        if tick.symbol == "DOGEUSDT":
            assert (int(first), int(last)) == (tick.first, tick.last)
        else:
            assert (first, last) == (None, None)


def test_the_last_line_of_stdout_is_one_json_object(plain: Run, frames: list[Row]) -> None:
    summary = plain.summary
    assert summary["frames"] == summary["events"] == len(frames)
    assert (summary["quarantined"], summary["gaps"]) == (0, 0)
    assert summary["rows"] == {channel: len(plain.rows(channel)) for channel in CHANNELS}
    assert summary["seconds"] >= 0
    assert plain.stdout.count("\n") == 1


def test_each_channel_has_a_file_though_it_be_empty(plain: Run) -> None:
    assert {path.name for path in plain.out.iterdir()} == {f"{channel}.ndjson" for channel in CHANNELS}
    assert [channel for channel in CHANNELS if plain.text(channel) == ""] == [
        "quotes", "book", "tickers", "klines", "late", "quarantine",
    ]  # fmt: skip


def test_windows_that_are_forming_at_the_end_are_not_closed(plain: Run, ticks: list[oracle.Tick]) -> None:
    watermark = {tick.symbol: tick.ts - 2 * SECOND for tick in sorted(ticks, key=lambda tick: tick.ts)}
    for channel in ("candles", "moving_average"):
        rows = plain.rows(channel)
        assert {row["closed"] for row in rows} == {True, False}
        assert all(row["closed"] == (row["ts_end"] <= watermark[row["symbol"]]) for row in rows)
    assert {row["closed"] for row in plain.rows("indicators")} == {True}


def order(row: Row) -> tuple[Any, ...]:
    moments = [row.get("ts_end"), row.get("ts_event"), row.get("ts_recv")]
    ts = next((moment for moment in moments if moment is not None), 0)
    number = int(row.get("id") or 0)
    names = (row["venue"], row.get("symbol") or "", row.get("interval", ""))
    return (ts, *names, row.get("window_ms", 0), row.get("slide_ms", 0), row.get("name", ""), number)


def test_rows_are_in_the_order_of_the_contract(plain: Run, whole: Run, wild: Run) -> None:
    for run in (plain, whole, wild):
        for channel in CHANNELS:
            keys = [(*order(row), row.get("revision", 0)) for row in run.rows(channel)]
            assert keys == sorted(keys), channel


# == orders and repeats ======================================================================================


@pytest.fixture(scope="module")
def wild(folder: Path, frames: list[Row]) -> Run:
    """Everything twice, shuffled, with spaces and other orders of keys, half of it in envelopes."""
    chance = random.Random(2)
    doubled = [*frames, *frames]
    chance.shuffle(doubled)
    return replay([write(folder / "wild.ndjson", [disguised(chance, each) for each in doubled])], folder / "wild")


def disguised(chance: random.Random, payload: Row) -> bytes:
    keys = list(payload)
    chance.shuffle(keys)
    value: Any = {key: payload[key] for key in keys}
    if chance.random() < 0.5:
        value = {"stream": f"{payload['s'].lower()}@{payload['e']}", "data": value}
    if chance.random() < 0.3:
        value = dict(reversed(value.items()))
    if chance.random() < 0.2:
        return compact(value).replace(b"BTCUSDT", b"BTC\\u0055SDT")
    if chance.random() < 0.5:
        return json.dumps(value).encode()
    return json.dumps(value, indent=1).replace("\n", chance.choice(("", " ", "\t"))).encode()


def test_doubled_and_shuffled_frames_give_the_same_last_values(plain: Run, wild: Run) -> None:
    same(wild.rows("candles"), plain.rows("candles"), "revision")
    same(wild.rows("moving_average"), plain.rows("moving_average"), "revision")
    assert wild.text("trades") == plain.text("trades")


def test_doubled_and_shuffled_frames_give_the_same_indicators(plain: Run, wild: Run) -> None:
    drop = ("revision",)
    strip = [
        [{k: v for k, v in row.items() if k not in drop} for row in run.rows("indicators")] for run in (plain, wild)
    ]
    assert strip[0] == strip[1]


def test_the_same_input_gives_the_same_bytes(folder: Path, frames: list[Row], plain: Run) -> None:
    again = replay([folder / "plain.ndjson"], folder / "again")
    for channel in CHANNELS:
        assert again.text(channel) == plain.text(channel)


# == revisions, late trades, the clock =======================================================================


@pytest.fixture(scope="module")
def revised(folder: Path) -> Run:
    """Three trades of one second, of which two come after it is closed; and one beyond the horizon."""
    frames = [
        trade(1, START_MS + 500, "100.00000000"),
        trade(4, START_MS + 10_000, "104.00000000"),
        trade(2, START_MS + 600, "102.00000000"),
        trade(3, START_MS + 700, "103.00000000"),
        trade(6, START_MS + 2 * HOUR_MS, "106.00000000"),
        trade(5, START_MS + 11_000, "1.00000000"),
    ]
    path = write(folder / "revised.ndjson", frames)
    return replay([path], folder / "revised", "--revisions", "--intervals", "1s,1d")


def test_revisions_has_every_revision(revised: Run) -> None:
    rows = revised.rows("candles", interval="1s", ts_start=START)
    found = [(row["revision"], row["count"], row["close"], row["closed"]) for row in rows]
    assert found == [(0, 1, "100", True), (1, 2, "102", True), (2, 3, "103", True)]
    means = revised.rows("moving_average", ts_end=START + SECOND)
    assert [(row["revision"], row["mean"]) for row in means] == [(0, 100.0), (1, 101.0), (2, 305 / 3)]


def test_without_revisions_only_the_last_is_written(folder: Path, revised: Run) -> None:
    run = replay([folder / "revised.ndjson"], folder / "last", "--intervals", "1s,1d")
    for channel in ("candles", "moving_average"):
        last = {(row.get("interval"), row["ts_start"]): row for row in revised.rows(channel)}
        assert run.rows(channel) == sorted(last.values(), key=order)


def test_a_trade_beyond_the_horizon_is_late_and_changes_no_candle(revised: Run) -> None:
    (late,) = revised.rows("late")
    assert late == {
        "venue": "binance", "symbol": "BTCUSDT", "id": "5", "price": "1", "size": "1", "side": "buy",
        "ts_event": START + 11 * SECOND, "ts_recv": None,
        "ts_watermark": START + 2 * HOUR_MS * 1000 - 2 * SECOND,
    } | {name: late[name] for name in ("first_id", "last_id") if name in late}  # fmt: skip
    assert not revised.rows("candles", ts_start=START + 11 * SECOND)
    assert {row["low"] for row in revised.rows("candles")} >= {"100", "106"}
    assert "1" not in {row["low"] for row in revised.rows("candles")}
    assert "5" not in {row["id"] for row in revised.rows("trades")}


@pytest.mark.parametrize("swap", [False, True])
def test_files_are_merged_by_receive_time(tmp_path: Path, swap: bool) -> None:
    def line(after_ms: int, frame: Row) -> bytes:
        return b"%d " % (START + after_ms * 1000) + compact(frame)

    first = write(tmp_path / "a.ndjson", [line(510, trade(1, START_MS + 500)), line(10_200, trade(3, START_MS + 700))])
    second = write(tmp_path / "b.ndjson", [line(10_100, trade(2, START_MS + 10_090))])
    files = [second, first] if swap else [first, second]
    run = replay(files, tmp_path / "out", "--channels", "candles,trades", "--intervals", "1s")
    (row,) = run.rows("candles", ts_start=START)
    assert (row["revision"], row["count"], row["closed"]) == (1, 2, True)
    assert [row["ts_recv"] - START for row in run.rows("trades")] == [510_000, 10_200_000, 10_100_000]


def test_overlapping_files_give_each_trade_once(folder: Path, frames: list[Row], plain: Run) -> None:
    first, second = frames[:900], frames[600:]
    files = [write(folder / "first.ndjson", first), write(folder / "second.ndjson", second)]
    run = replay(files, folder / "made" / "on" / "the" / "way", "--channels", "trades,coverage")
    assert run.text("trades") == plain.text("trades")
    assert run.text("coverage") == plain.text("coverage")


def test_aggregates_whose_trades_come_much_later_leave_nothing_behind(tmp_path: Path) -> None:
    trades = [trade(n, START_MS + 100 * n, decimal8((n % 90 + 1) * 10**8)) for n in range(9000)]
    before = [aggregate(n, 2 * n, 2 * n + 1, START_MS + 200 * n, "9999.00000000") for n in range(4500)]
    files = [write(tmp_path / "trades.ndjson", trades), write(tmp_path / "both.ndjson", [*before, *trades])]
    channels = "trades,candles,moving_average,indicators,late,coverage"
    alone, both = (replay([path], tmp_path / path.stem, "--channels", channels) for path in files)
    assert both.summary["rows"] == alone.summary["rows"]
    for channel in ("trades", "coverage", "late"):
        assert both.text(channel) == alone.text(channel)
    for channel in ("candles", "moving_average", "indicators"):
        one, other = ([row | {"revision": None} for row in run.rows(channel)] for run in (alone, both))
        assert one == other


# == one source, units, edges of windows =====================================================================


def edges() -> list[Row]:
    at, us = START_MS + 60_000, START + 60 * SECOND
    base = START_MS - START_MS % 1000
    return [
        # AGGFIRST: aggregates first, then single trades: only these count. TRADEFIRST: the other way round.
        *[aggregate(n, 10 * n, 10 * n + 9, at + n, "5.00000000", s="AGGFIRST") for n in range(3)],
        *[trade(n, at + n, "7.00000000", s="AGGFIRST") for n in range(3)],
        *[trade(n, at + n, "7.00000000", s="TRADEFIRST") for n in range(3)],
        *[aggregate(n, 10 * n, 10 * n + 9, at + n, "5.00000000", s="TRADEFIRST") for n in range(3)],
        # MIXED: microseconds and milliseconds; in the same millisecond the id decides, not the finer time.
        trade(10, us + 900, "10.00000000", s="MIXED"),
        trade(11, at, "11.00000000", s="MIXED"),
        # MIXEDOPEN: the other order of arrival, and the open.
        trade(21, us + 5_000_100, "21.00000000", s="MIXEDOPEN"),
        trade(20, at + 5_000, "20.00000000", s="MIXEDOPEN"),
        trade(22, us + 5_000_050, "22.00000000", s="MIXEDOPEN"),
        # FINE: microseconds alone compare as such.
        trade(31, us + 100, "31.00000000", s="FINE"),
        trade(30, us + 900, "30.00000000", s="FINE"),
        # TIE: the same time, ids as numbers (9 before 10).
        trade(10, at, "10.00000000", s="TIE"),
        trade(9, at, "9.00000000", s="TIE"),
        # EDGE: a window is [start, end).
        trade(1, base + 999, "1.00000000", s="EDGE"),
        trade(2, base + 1000, "2.00000000", s="EDGE"),
        # BIG: numerators beyond 2^53.
        *[trade(n, at + n, price, "0.00000003", s="BIG") for n, price in enumerate(BIG)],
        # WIDE: a volume beyond 2^63 mantissas. MANY: a price times a count beyond it.
        *[trade(n, at + n, "0.00000001", "90000000000.00000000", s="WIDE") for n in range(5)],
        *[aggregate(n, n * 10**12, n * 10**12 + 10**12 - 1, at, "90000000000.00000001", s="MANY") for n in (1, 2)],
        # LOOSE: fewer decimals than Binance writes today.
        trade(1, at, "0.001", "100", s="LOOSE"),
        trade(2, at, "7", "2.50", s="LOOSE"),
        # SELLS: nothing bought.
        trade(1, at, s="SELLS", m=True),
    ]


BIG = ("90071992547.40993001", "90071992547.40993003", "12345678901.23456789", "0.00000001", "90071992547.40992999")


@pytest.fixture(scope="module")
def edge(folder: Path) -> Run:
    return replay([write(folder / "edge.ndjson", edges())], folder / "edge", "--intervals", "1s,1m,1w")


def test_edges_equal_brute_force(edge: Run) -> None:
    ticks = oracle.unique(edges())
    same(edge.rows("candles"), oracle.candles(ticks, ("1s", "1m", "1w")), "revision")
    same(edge.rows("moving_average"), oracle.means(ticks), "revision")


def test_trades_win_over_aggregates_whichever_comes_first(edge: Run) -> None:
    for symbol in ("AGGFIRST", "TRADEFIRST"):
        rows = edge.rows("candles", symbol=symbol, interval="1m")
        assert [(row["count"], row["high"], row["low"], row["revision"]) for row in rows] == [(3, "7", "7", 0)]
        assert [row["id"] for row in edge.rows("trades", symbol=symbol)] == ["0", "1", "2"]
        assert {row["mean"] for row in edge.rows("moving_average", symbol=symbol)} == {7.0}


def test_mixed_units_compare_at_the_coarser(edge: Run) -> None:
    (mixed,) = edge.rows("candles", symbol="MIXED", interval="1s")
    assert (mixed["open"], mixed["close"]) == ("10", "11")
    (mixed,) = edge.rows("candles", symbol="MIXEDOPEN", interval="1s")
    assert (mixed["open"], mixed["close"]) == ("20", "22")
    (fine,) = edge.rows("candles", symbol="FINE", interval="1s")
    assert (fine["open"], fine["close"]) == ("31", "30")
    (tie,) = edge.rows("candles", symbol="TIE", interval="1s")
    assert (tie["open"], tie["close"]) == ("9", "10")


def test_a_window_ends_before_its_end(edge: Run) -> None:
    starts = [row["ts_start"] for row in edge.rows("candles", symbol="EDGE", interval="1s")]
    assert [start % SECOND for start in starts] == [0, 0]
    assert starts[1] - starts[0] == SECOND


def test_a_week_begins_on_monday(edge: Run) -> None:
    starts = {row["ts_start"] for row in edge.rows("candles", interval="1w")}
    (start,) = [datetime.fromtimestamp(ts // SECOND, UTC) for ts in starts]
    assert (start.isoweekday(), start.hour, start.minute) == (1, 0, 0)
    assert all(row["ts_end"] - row["ts_start"] == 7 * 86_400 * SECOND for row in edge.rows("candles", interval="1w"))


def test_nothing_bought_is_a_zero(edge: Run) -> None:
    (row,) = edge.rows("candles", symbol="SELLS", interval="1s")
    assert (row["taker_buy_volume"], row["volume"]) == ("0", "1")


def test_intervals_replace_those_of_candles_and_indicators(edge: Run) -> None:
    assert {row["interval"] for row in edge.rows("candles")} == {"1s", "1m", "1w"}
    assert {row["interval"] for row in edge.rows("indicators")} <= {"1s", "1m", "1w"}


# == indicators ==============================================================================================

INDICATORS = {
    "sma_20": ({"sma"}, 20),
    "ema_20": ({"ema"}, 20),
    "rsi_14": ({"rsi"}, 15),
    "macd_12_26_9": ({"macd", "signal", "hist"}, 34),
    "bollinger_20_2": ({"upper", "middle", "lower"}, 20),
}


@pytest.fixture(scope="module")
def bars(folder: Path) -> Run:
    """Sixty candles of a second with an empty second after each tenth, then one that is still forming."""
    chance = random.Random(4)
    seconds = [n + n // 10 for n in range(61)]
    frames = [
        trade(n, START_MS + 1000 * second, decimal8(chance.randrange(90, 110) * 10**8), s="BTCUSDT")
        for n, second in enumerate(seconds)
    ]
    return replay([write(folder / "bars.ndjson", frames)], folder / "bars", "--intervals", "1s")


@pytest.mark.parametrize("name", INDICATORS)
def test_an_indicator_has_a_row_for_each_closed_candle_from_its_first_value(bars: Run, name: str) -> None:
    fields, first = INDICATORS[name]
    closed = [row["ts_start"] for row in bars.rows("candles") if row["closed"]]
    rows = bars.rows("indicators", name=name)
    assert [row["ts_start"] for row in rows] == closed[first - 1 :]
    assert [row["bars"] for row in rows] == list(range(first, len(closed) + 1))
    assert all(set(row["values"]) == fields for row in rows)
    assert all(math.isfinite(value) for row in rows for value in row["values"].values())
    assert {(row["interval"], row["closed"], row["ts_end"] - row["ts_start"]) for row in rows} == {("1s", True, SECOND)}


def test_the_values_of_sma_bollinger_and_macd(bars: Run) -> None:
    closes = {row["ts_start"]: float(row["close"]) for row in bars.rows("candles") if row["closed"]}
    starts = list(closes)
    bands = {row["ts_start"]: row["values"] for row in bars.rows("indicators", name="bollinger_20_2")}
    for row in bars.rows("indicators", name="sma_20"):
        at = starts.index(row["ts_start"])
        window = [closes[start] for start in starts[at - 19 : at + 1]]
        mean = sum(window) / 20
        spread = 2 * math.sqrt(sum((value - mean) ** 2 for value in window) / 20)
        expected = {"upper": mean + spread, "middle": mean, "lower": mean - spread}
        assert row["values"]["sma"] == pytest.approx(mean, rel=1e-12)
        assert bands[row["ts_start"]] == pytest.approx(expected, rel=1e-9)
    for row in bars.rows("indicators", name="macd_12_26_9"):
        parts = row["values"]
        assert parts["hist"] == pytest.approx(parts["macd"] - parts["signal"], abs=1e-12)


# == every channel ===========================================================================================

AT = START_MS + 60_000


def every_kind() -> list[Row]:
    kline = {
        "t": START_MS + 40_000, "T": START_MS + 99_999, "s": "ETHUSDT", "i": "1m", "f": 100, "L": 199,
        "o": "0.00100000", "c": "0.00200000", "h": "0.00250000", "l": "0.00050000", "v": "1000.00000000", "n": 100,
        "x": False,
        "q": "1.00000000", "V": "500.00000000", "Q": "0.50000000", "B": "123456",
    }  # fmt: skip
    ticker = {
        "e": "24hrTicker", "E": AT, "s": "ETHUSDT", "p": "-0.00150000", "P": "250.000", "w": "0.00180000",
        "x": "0.00090000", "c": "0.00250000", "Q": "10.00000000", "b": "0.00240000", "B": "10.00000000",
        "a": "0.00260000", "A": "100.00000000", "o": "0.00100000", "h": "0.00250000", "l": "0.00100000",
        "v": "10000.00000000", "q": "18.00000000", "O": AT - 86_400_000, "C": AT, "F": 0, "L": 18150, "n": 18151,
    }  # fmt: skip
    return [
        trade(1, AT, "64123.45000000", "0.00100000", m=True),
        trade(2, AT + 30_000, "64124.00000000", "10.00000000"),
        trade(7, AT + 30_001),
        aggregate(5, 100, 105, AT, "0.00001000", "3.00000000", s="ETHUSDT"),
        trade(9, AT - 2 * HOUR_MS, "1.00000000"),
        {"u": 11, "s": "ETHUSDT", "b": "25.35190000", "B": "31.21000000", "a": "25.36520000", "A": "40.66000000"},
        {"u": 9, "s": "ETHUSDT", "b": "25.35190000", "B": "31.21000000", "a": "25.36520000", "A": "40.66000000"},
        {
            "e": "depthUpdate", "E": AT, "s": "ETHUSDT", "U": 157, "u": 160,
            "b": [["0.00240000", "10.00000000"], ["0.00230000", "0.00000000"]], "a": [["0.00260000", "100.00000000"]],
        },
        {
            "lastUpdateId": 156,
            "bids": [["0.00230000", "1.00000000"], ["0.00220000", "2.50000000"]],
            "asks": [["0.00270000", "4.00000000"]],
        },
        {"e": "kline", "E": AT, "s": "ETHUSDT", "k": kline},
        {"e": "kline", "E": AT + 40_050, "s": "ETHUSDT", "k": kline | {"x": True, "c": "0.00210000"}},
        ticker,
        {"e": "trade", "broken": True},
        aggregate(6, 200, 200, AT + 50_000, "0.00210000", "1.00000000", s="ETHUSDT"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(folder: Path) -> Run:
    stamped = [b"%d " % ((AT + n) * 1000) + compact(frame) for n, frame in enumerate(every_kind())]
    enough = [b"%d " % ((AT + 30_100 + n) * 1000) + compact(trade(8 + n, AT + 30_100 + 1000 * n)) for n in range(30)]
    enough = [line for line in enough if b'"t":9,' not in line]
    return replay([write(folder / "whole.ndjson", [*stamped, *enough])], folder / "whole")


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_has_its_fields(whole: Run, channel: str) -> None:
    rows = whole.rows(channel)
    assert rows
    wanted = {"venue", "symbol", *FIELDS[channel].split()}
    for row in rows:
        assert wanted <= set(row), channel
        assert row["venue"] == "binance"
        assert all(type(row[name]) is int or row[name] is None for name in row if name.startswith("ts_")), row
        for name in EXACT_FIELDS:
            if row.get(name) is not None:
                assert EXACT.fullmatch(row[name]), (name, row[name])


def test_quotes_have_no_time_of_the_venue(whole: Run) -> None:
    rows = whole.rows("quotes")
    assert [(str(row["id"]), row["ts_event"], row["ts_recv"]) for row in rows] == [
        ("11", None, (AT + 5) * 1000),
        ("9", None, (AT + 6) * 1000),
    ]
    assert (rows[0]["bid"], rows[0]["bid_size"], rows[0]["ask"], rows[0]["ask_size"]) == (
        "25.3519", "31.21", "25.3652", "40.66",
    )  # fmt: skip


def test_the_book_is_best_first_after_its_changes(whole: Run) -> None:
    (last,) = [row for row in whole.rows("book", symbol="ETHUSDT") if str(row["id"]) == "160"]
    assert last["ts_event"] == AT * 1000
    assert last["bids"] == [["0.0024", "10"], ["0.0022", "2.5"]]
    assert last["asks"] == [["0.0026", "100"], ["0.0027", "4"]]


def test_each_push_of_a_candle_is_a_row(whole: Run) -> None:
    rows = whole.rows("klines")
    assert [(row["ts_event"], row["close"], row["closed"]) for row in rows] == [
        (AT * 1000, "0.002", False),
        ((AT + 40_050) * 1000, "0.0021", True),
    ]
    row = rows[0]
    assert (row["interval"], row["ts_start"], row["ts_end"]) == ("1m", START + 40 * SECOND, START + 100 * SECOND)
    assert (row["open"], row["high"], row["low"]) == ("0.001", "0.0025", "0.0005")
    assert (row["volume"], row["quote_volume"], row["taker_buy_volume"]) == ("1000", "1", "500")
    assert (row["count"], row["source"], row["vwap"]) == (100, "venue", 0.001)


def test_a_ticker_has_readable_names(whole: Run) -> None:
    (row,) = whole.rows("tickers")
    assert {"-0.0015", "0.0025", "10000", "18"} <= set(map(str, row.values()))
    assert all(len(name) > 1 for name in row)
    assert (row["symbol"], row["ts_event"]) == ("ETHUSDT", AT * 1000)


def test_a_quarantined_frame_has_its_receive_time(whole: Run) -> None:
    (row,) = whole.rows("quarantine")
    assert row["ts_recv"] == (AT + 12) * 1000
    assert base64.b64decode(row["frame"]).endswith(b'{"e":"trade","broken":true}')
    assert row["connection"]


def test_the_candle_of_the_venue_stands_in_where_our_trades_do_not_cover_the_window(whole: Run) -> None:
    row, after = whole.rows("candles", symbol="ETHUSDT", interval="1m")
    assert (row["source"], row["ts_start"], row["closed"]) == ("venue", START + 40 * SECOND, True)
    assert (after["source"], after["ts_start"], after["closed"]) == ("trades", START + 100 * SECOND, False)
    assert (row["open"], row["high"], row["low"], row["close"]) == ("0.001", "0.0025", "0.0005", "0.0021")
    assert (row["volume"], row["count"], row["taker_buy_volume"]) == ("1000", 100, "500")
    assert {row["source"] for row in whole.rows("candles", symbol="ETHUSDT") if row["interval"] != "1m"} == {"trades"}


def venue_candles(chance: random.Random) -> list[Row]:
    """Two minutes of a symbol: of the first we have some of the trades, of the second all; each pushed three times."""
    minute = START_MS + 40_000
    trades = [trade(n, minute + 1000 * n, decimal8((n % 7 + 1) * 10**8), s="SOLUSDT") for n in range(120)]
    pushes = []
    for first in (0, 60):
        for last in (first + 9, first + 29, first + 59):
            held = oracle.unique(trades[first : last + 1])
            made = oracle.candle("SOLUSDT", "1m", START, held)
            pushes.append(pushed(made, minute + 1000 * first, first, last, is_closed=last % 60 == 59))
    frames = [*trades[25:40], *trades[60:], *pushes, trade(120, minute + 125_000, s="SOLUSDT")]
    chance.shuffle(frames)
    return frames


def pushed(made: Row, start_ms: int, first: int, last: int, *, is_closed: bool) -> Row:
    kline = {
        "t": start_ms, "T": start_ms + 59_999, "s": made["symbol"], "i": made["interval"], "f": first, "L": last,
        "o": made["open"], "c": made["close"], "h": made["high"], "l": made["low"], "v": made["volume"],
        "n": made["count"], "x": is_closed, "q": made["quote_volume"], "V": made["taker_buy_volume"], "Q": "0",
        "B": "0",
    }  # fmt: skip
    return {"e": "kline", "E": start_ms + 1000 * (last - first) + 1100, "s": made["symbol"], "k": kline}


@pytest.mark.parametrize("seed", range(3))
def test_the_last_push_of_the_venue_and_our_whole_windows_in_any_order(tmp_path: Path, seed: int) -> None:
    frames = venue_candles(random.Random(seed))
    options = ("--channels", "candles", "--intervals", "1m,5m")
    run = replay([write(tmp_path / "in.ndjson", frames)], tmp_path / "out", *options)
    whole = [trade(n, START_MS + 40_000 + 1000 * n, decimal8((n % 7 + 1) * 10**8), s="SOLUSDT") for n in range(120)]
    expected = oracle.candles(oracle.unique(whole), ("1m",))
    rows = run.rows("candles", interval="1m")
    same(rows[:2], expected, "revision", "closed")
    assert [(row["source"], row["closed"]) for row in rows] == [("venue", True), ("trades", True), ("trades", False)]
    assert {row["source"] for row in run.rows("candles", interval="5m")} == {"trades"}


def test_gaps_are_named(whole: Run) -> None:
    gaps = whole.rows("coverage", state="gap")
    named = {(row["symbol"], row["stream"]): (int(row["first_id"]), int(row["last_id"])) for row in gaps}
    assert named == {("BTCUSDT", "trades"): (3, 6), ("ETHUSDT", "trades"): (106, 199)}
    assert whole.summary["gaps"] == len(gaps) == 2
    for gap in gaps:
        assert gap["guarantee"] == "sequence"
        assert gap["reason"]
        assert gap["ts_start"] <= gap["ts_end"]
    assert {row["state"] for row in whole.rows("coverage")} <= {"complete", "gap", "unknown"}


def test_derived_values_are_shortest(whole: Run, plain: Run, edge: Run) -> None:
    for run in (whole, plain, edge):
        for name, channel in (("vwap", "candles"), ("mean", "moving_average")):
            for text in re.findall(rf'"{name}":([^,}}]+)', run.text(channel)):
                assert Decimal(text) == Decimal(repr(float(text)))


# == formats =================================================================================================


def plainly(value: Any) -> Any:
    """A value of Arrow as the contract writes it in JSON."""
    match value:
        case Decimal():
            return oracle.canonical(int(value.scaleb(16)), 16)
        case datetime():
            return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: plainly(inner) for name, inner in value.items() if inner is not None}
        case list() | tuple():
            pairs = [plainly(inner) for inner in value]
            return [list(pair.values()) if isinstance(pair, dict) else pair for pair in pairs]
        case _:
            return value


def mapping(value: Any) -> Any:
    """A map of Arrow, which pyarrow gives as pairs, or a struct."""
    return dict(value) if isinstance(value, list) else {k: v for k, v in value.items() if v is not None}


@pytest.fixture(scope="module")
def parquet(folder: Path, whole: Run) -> Run:
    return replay([folder / "whole.ndjson"], folder / "parquet", "--format", "parquet")


@pytest.mark.parametrize("channel", CHANNELS)
def test_parquet_says_what_ndjson_says(whole: Run, parquet: Run, channel: str) -> None:
    table = pq.read_table(parquet.out / f"{channel}.parquet")
    found = [
        {name: mapping(value) if name == "values" else plainly(value) for name, value in row.items()}
        for row in table.to_pylist()
    ]
    expected = whole.rows(channel)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert {k: v for k, v in one.items() if v is not None} == {k: v for k, v in other.items() if v is not None}


def test_the_types_of_parquet(parquet: Run) -> None:
    for channel in CHANNELS:
        for field in pq.read_schema(parquet.out / f"{channel}.parquet"):
            if field.name.startswith("ts_"):
                assert field.type == pa.timestamp("us", "UTC"), (channel, field)
            if field.name in EXACT_FIELDS and channel != "tickers":
                assert pa.types.is_decimal(field.type), (channel, field)
            if field.name in ("vwap", "mean"):
                assert field.type == pa.float64(), (channel, field)


def test_an_empty_channel_is_an_empty_table(tmp_path: Path) -> None:
    path = write(tmp_path / "in.ndjson", [trade(1, START_MS)])
    run = replay([path], tmp_path / "out", "--format", "parquet")
    assert {each.name for each in run.out.iterdir()} == {f"{channel}.parquet" for channel in CHANNELS}
    for channel in ("quotes", "book", "late", "quarantine", "indicators"):
        table = pq.read_table(run.out / f"{channel}.parquet")
        assert len(table) == 0
        assert set(FIELDS[channel].split()) <= set(table.column_names)


# == options =================================================================================================


def test_only_the_channels_asked_for_are_written(folder: Path, plain: Run, whole: Run) -> None:
    run = replay([folder / "whole.ndjson"], folder / "some", "--channels", "trades,candles,quarantine")
    assert {path.name for path in run.out.iterdir()} == {"trades.ndjson", "candles.ndjson", "quarantine.ndjson"}
    assert set(run.summary["rows"]) == {"trades", "candles", "quarantine"}
    for channel in ("trades", "candles", "quarantine"):
        assert run.text(channel) == whole.text(channel)


def test_symbols_match_without_regard_to_case(folder: Path, plain: Run) -> None:
    run = replay([folder / "plain.ndjson"], folder / "symbols", "--symbols", "btcusdt,dogeUSDT", "--venue", "binance")
    for channel in ("trades", "candles", "moving_average", "indicators", "coverage"):
        expected = [row for row in plain.rows(channel) if row["symbol"] != "ETHUSDT"]
        assert run.rows(channel) == expected
        assert {row["symbol"] for row in expected} == {"BTCUSDT", "DOGEUSDT"}


def test_symbols_are_byte_for_byte_as_the_venue_writes_them(tmp_path: Path) -> None:
    names = ("币安人生USDT", "1000SATSUSDT", "ethUSDT", "ÄUSDT")
    frames = [json.dumps(trade(1, START_MS, s=name)).encode() for name in names]
    frames += [compact(trade(2, START_MS, s=name)) for name in names]
    path = write(tmp_path / "in.ndjson", frames)
    run = replay([path], tmp_path / "all", "--channels", "trades")
    assert Counter(row["symbol"] for row in run.rows("trades")) == dict.fromkeys(names, 2)
    some = replay([path], tmp_path / "some", "--channels", "trades", "--symbols", "币安人生usdt,ETHUSDT")
    assert {row["symbol"] for row in some.rows("trades")} == {"币安人生USDT", "ethUSDT"}


WRONG = [
    (("--channels", "candels"), "candels"),
    (("--intervals", "1x"), "1x"),
    (("--intervals", "0s"), "0s"),
    (("--format", "xml"), "xml"),
    (("--venue", "nosuch"), "nosuch"),
    (("--frobnicate",), "frobnicate"),
]


@pytest.mark.parametrize(("options", "named"), WRONG)
def test_wrong_usage_is_2_and_says_what_is_wrong(
    folder: Path, plain: Run, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    run = attempt([folder / "plain.ndjson"], tmp_path / "out", *options)
    assert (run.code, run.stdout) == (2, "")
    assert named in run.stderr
    assert not run.out.exists()


def test_no_file_is_wrong_usage(tmp_path: Path) -> None:
    assert attempt([], tmp_path / "out").code == 2


# == input that cannot be read ===============================================================================


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder of earlier results."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "trades.ndjson").write_text("earlier\n")
    return out


BAD_FILES = {
    "missing.ndjson": None,
    "empty.ndjson": b"",
    "blank.ndjson": b"\n\n  \n",
    "garbage.ndjson": b"lorem ipsum\ndolor\n{\n" * 20,
    "binary.dat": bytes(range(256)) * 40,
    "empty.ndjson.gz": gzip.compress(b""),
    "garbage.zst": zstandard.compress(b"lorem\nipsum\n"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_of_no_use_is_an_error_before_anything_is_written(tmp_path: Path, kept: Path, name: str) -> None:
    good, bad = write(tmp_path / "good.ndjson", [trade(1, START_MS)]), tmp_path / name
    if (content := BAD_FILES[name]) is not None:
        bad.write_bytes(content)
    for files in ([bad], [good, bad]):
        run = attempt(files, kept)
        assert (run.code, run.stdout) == (1, "")
        assert name in run.stderr.replace("\n", "")
        assert [(path.name, path.read_text()) for path in kept.iterdir()] == [("trades.ndjson", "earlier\n")]


def test_a_folder_is_no_file(tmp_path: Path, kept: Path) -> None:
    run = attempt([tmp_path], kept)
    assert run.code in (1, 2)
    assert [path.name for path in kept.iterdir()] == ["trades.ndjson"]


def without(name: str) -> Row:
    return {key: value for key, value in trade(99, START_MS).items() if key != name}


def damaged() -> dict[str, bytes]:
    fine = trade(99, START_MS)
    kinds: dict[str, Any] = {f"missing {name}": without(name) for name in "sptqTm"}
    kinds |= {f"{key} as {value!r}": fine | {key: value} for key, value in ILL_TYPED}
    kinds |= {f"price {price}": fine | {"p": price} for price in IMPOSSIBLE}
    kinds |= {f"size {size}": fine | {"q": size} for size in IMPOSSIBLE}
    kinds |= {
        "time of 1970": fine | {"T": -1},
        "time of never": fine | {"T": 10**18},
        "id too large": fine | {"t": 2**63},
        "negative id": fine | {"t": -1},
        "empty symbol": fine | {"s": ""},
        "aggregate from last to first": aggregate(1, 9, 3, START_MS),
        "unknown event": {"e": "fooBar", "E": START_MS, "s": "BTCUSDT"},
        "empty object": {},
    }
    raw = {name: compact(payload) for name, payload in kinds.items()}
    text = compact(fine)
    return raw | {
        "cut": text[:-10],
        "a word": b"garbage",
        "not closed": b"{not json",
        "twice": text + text,
        "NaN": text.replace(b'"100.00000000"', b"NaN"),
        "not UTF-8": text.replace(b"BTCUSDT", b"\xff\xfe"),
        "half of a surrogate pair": text.replace(b"BTCUSDT", b"\\ud800"),
        "deep": b"[" * 100_000,
        "nothing but zeros": b"\0" * 50,
        "long": b"x" * 200_000,
    }


ILL_TYPED: list[tuple[str, Any]] = [
    ("p", 100.5), ("p", 100), ("p", None), ("p", ["1"]), ("p", {"a": 1}), ("q", 1), ("t", "99"), ("t", 1.5),
    ("T", str(START_MS)), ("m", "true"), ("m", 1), ("s", 5),
]  # fmt: skip
IMPOSSIBLE = ["NaN", "Infinity", "-1.00000000", "0.00000000", "", "1,5", "abc", "1" + "0" * 40, " 1", "0x10"]


@pytest.fixture(scope="module")
def hospital(folder: Path) -> Run:
    bad = list(damaged().values())
    frames = [trade(1, START_MS, new_field={"a": [1]}), *bad, trade(2, START_MS, new_field=1), trade(3, START_MS)]
    return replay([write(folder / "bad.ndjson", frames)], folder / "bad")


@pytest.mark.parametrize("name", damaged())
def test_a_frame_that_cannot_be_read_is_quarantined_whole(hospital: Run, name: str) -> None:
    frame = damaged()[name]
    rows = [row for row in hospital.rows("quarantine") if base64.b64decode(row["frame"]) == frame]
    assert len(rows) == list(damaged().values()).count(frame)
    assert all(re.fullmatch(r"[a-z_]+", row["reason"]) for row in rows)
    assert {row["ts_recv"] for row in rows} == {None}


def test_one_row_for_each_frame_and_the_rest_is_read(hospital: Run) -> None:
    assert len(hospital.rows("quarantine")) == hospital.summary["quarantined"] == len(damaged())
    assert hospital.summary["frames"] == len(damaged()) + 3
    assert [row["id"] for row in hospital.rows("trades")] == ["1", "2", "3"]


def test_an_unknown_field_is_ignored_and_counted(hospital: Run) -> None:
    assert [value for name, value in hospital.summary.items() if "unknown" in name] == [2]


KLINE = {
    "t": START_MS - 20_000, "T": START_MS + 39_999, "s": "BNBBTC", "i": "1m", "f": 100, "L": 200, "o": "0.0010",
    "c": "0.0020", "h": "0.0025", "l": "0.0005", "v": "1000", "n": 100, "x": False, "q": "1.0000", "V": "500",
    "Q": "0.500", "B": "123456",
}  # fmt: skip
TICKER = {
    "e": "24hrTicker", "E": START_MS, "s": "BNBBTC", "p": "0.0015", "P": "250.00", "w": "0.0018", "x": "0.0009",
    "c": "0.0025", "Q": "10", "b": "0.0024", "B": "10", "a": "0.0026", "A": "100", "o": "0.0010", "h": "0.0025",
    "l": "0.0010", "v": "10000", "q": "18", "O": 0, "C": 86400000, "F": 0, "L": 18150, "n": 18151,
}  # fmt: skip
MINI = {
    "e": "24hrMiniTicker", "E": START_MS, "s": "BNBBTC", "c": "0.0025", "o": "0.0010", "h": "0.0025", "l": "0.0010",
    "v": "10000", "q": "18",
}  # fmt: skip
#: Midnight at UTC+8.
EIGHT_MS = 1_699_977_600_000
TOP = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
DELTA = {"e": "depthUpdate", "E": START_MS, "s": "BNBBTC", "U": 157, "u": 160, "b": [["0.0024", "10"]], "a": []}
QUOTE = {"u": 400900217, "s": "BNBUSDT", "b": "25.35190000", "B": "31.21000000", "a": "25.36520000", "A": "40.66000000"}
REFERENCE: dict[str, Any] = {
    "trade": trade(1, START_MS),
    "old trade with order ids": trade(2, START_MS) | {"b": 88, "a": 50},
    "aggTrade": aggregate(1, 1, 2, START_MS, s="ETHUSDT"),
    "blockTrade": {"e": "blockTrade", "E": START_MS, "s": "BTCUSDT", "t": 582, "p": "0.052", "q": "5838",
                   "T": START_MS, "m": True},
    "kline": {"e": "kline", "E": START_MS, "s": "BNBBTC", "k": KLINE},
    "empty kline": {"e": "kline", "E": START_MS, "s": "BNBBTC", "k": KLINE | {
        "f": -1, "L": -1, "o": "0.0010", "c": "0.0010", "h": "0.0010", "l": "0.0010", "v": "0", "n": 0, "q": "0",
        "V": "0", "Q": "0"}},
    "kline of UTC+8": {"stream": "bnbbtc@kline_1d@+08:00", "data": {"e": "kline", "E": START_MS, "s": "BNBBTC",
                       "k": KLINE | {"i": "1d", "t": EIGHT_MS - 86_400_000, "T": EIGHT_MS - 1, "x": True}}},
    "mini": MINI,
    "all minis": {"stream": "!miniTicker@arr", "data": [MINI, MINI | {"s": "币安人生USDT"}]},
    "bare minis": [MINI],
    "ticker": TICKER,
    "window": {name: TICKER[name] for name in TICKER if name not in "xQbBaA"} | {"e": "1hTicker"},
    "quote": QUOTE,
    "avgPrice": {"e": "avgPrice", "E": START_MS, "s": "BTCUSDT", "i": "5m", "w": "25776.86000000", "T": START_MS},
    "partial depth": {"stream": "bnbbtc@depth5@100ms", "data": TOP},
    "depth": DELTA,
    "referencePrice": {"e": "referencePrice", "s": "BAZUSD", "r": "1.00", "t": START_MS},
    "no referencePrice": {"e": "referencePrice", "s": "BAZUSD", "r": None, "t": START_MS},
    "shutdown": {"e": "serverShutdown", "E": START_MS},
    "shutdown, combined": {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": START_MS}},
    "ack": {"result": None, "id": 1},
    "list of subscriptions": {"result": ["btcusdt@aggTrade"], "id": 3},
    "property": {"result": True, "id": "a2"},
    "error": {"code": 2, "msg": "Invalid request: too many parameters"},
    "nested error": {"error": {"code": 2, "msg": "Invalid request: streams must be an array"}, "id": 5000001},
}  # fmt: skip


@pytest.fixture(scope="module")
def reference(folder: Path) -> Run:
    return replay([write(folder / "reference.ndjson", [compact(each) for each in REFERENCE.values()])], folder / "ref")


@pytest.mark.parametrize("name", REFERENCE)
def test_each_frame_of_the_reference_is_read(reference: Run, name: str) -> None:
    frame = compact(REFERENCE[name])
    rows = [row for row in reference.rows("quarantine") if base64.b64decode(row["frame"]) == frame]
    assert [row["reason"] for row in rows] == []


def test_block_trades_and_candles_of_another_day_are_none_of_ours(reference: Run) -> None:
    assert [(row["symbol"], row["id"]) for row in reference.rows("trades")] == [
        ("BTCUSDT", "1"), ("BTCUSDT", "2"), ("ETHUSDT", "1"),
    ]  # fmt: skip
    for row in reference.rows("candles"):
        assert row["ts_start"] % (oracle.INTERVALS[row["interval"]] * SECOND) == 0, row
    assert {row["count"] for row in reference.rows("candles", symbol="BTCUSDT")} == {2}


FUTURES: dict[str, Row] = {
    "usdm trade": trade(1, START_MS) | {"X": "MARKET"},
    "usdm depth": {"e": "depthUpdate", "E": START_MS, "T": START_MS, "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0,
                   "b": [["1.0", "1"]], "a": []},
    "usdm quote": {"e": "bookTicker", "u": 1, "E": START_MS, "T": START_MS, "s": "BTCUSDT", "b": "1.0", "B": "1",
                   "a": "2.0", "A": "1"},
    "usdm mark price": {"e": "markPriceUpdate", "E": START_MS, "s": "BTCUSDT", "p": "1.0", "i": "1.0", "P": "1.0",
                        "r": "0.00030000", "T": START_MS},
    "usdm liquidation": {"e": "forceOrder", "E": START_MS, "o": {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC",
                         "q": "0.014", "p": "9910", "ap": "9910", "X": "FILLED", "l": "0.014", "z": "0.014",
                         "T": START_MS}},
    "coinm aggregate": {"e": "aggTrade", "E": START_MS, "s": "BTCUSD_PERP", "a": 1, "p": "100.0", "q": "1", "f": 1,
                        "l": 1, "T": START_MS, "m": False},
    "coinm depth": {"e": "depthUpdate", "E": START_MS, "T": START_MS, "s": "BTCUSD_PERP", "ps": "BTCUSD", "U": 1,
                    "u": 2, "pu": 0, "b": [["1.0", "1"]], "a": []},
    "coinm quote": {"e": "bookTicker", "u": 1, "s": "BTCUSD_PERP", "ps": "BTCUSD", "b": "1.0", "B": "1", "a": "2.0",
                    "A": "1", "T": START_MS, "E": START_MS},
    "coinm dated": {"e": "aggTrade", "E": START_MS, "s": "BTCUSD_240329", "a": 1, "p": "100.0", "q": "1", "f": 1,
                    "l": 1, "T": START_MS, "m": False},
}  # fmt: skip


@pytest.fixture(scope="module")
def futures(folder: Path) -> Run:
    frames = [trade(5, START_MS, "7.00000000"), *FUTURES.values(), trade(6, START_MS, "7.00000000")]
    return replay([write(folder / "futures.ndjson", frames)], folder / "futures")


@pytest.mark.parametrize("name", FUTURES)
def test_another_market_is_unsupported(futures: Run, name: str) -> None:
    frame = compact(FUTURES[name])
    assert [row["reason"] for row in futures.rows("quarantine") if base64.b64decode(row["frame"]) == frame] == [
        "unsupported_market"
    ]


def test_another_market_is_never_merged(futures: Run) -> None:
    assert {(row["symbol"], row["count"], row["low"]) for row in futures.rows("candles")} == {("BTCUSDT", 2, "7")}
    assert [futures.rows(channel) for channel in ("quotes", "book")] == [[], []]
    assert [row["id"] for row in futures.rows("trades")] == ["5", "6"]


# == input forms =============================================================================================

RECV = START + 123_456
LEADING = {
    "NS": b"%d " % (RECV * 1000 + 789),
    "US": b"%d " % RECV,
    "MS": b"%d " % (RECV // 1000),
    "S": b"%d " % (RECV // SECOND),
    "FRACTION": b"%d.123456 " % (RECV // SECOND),
    "COLON": b"%d.123456: " % (RECV // SECOND),
    "SHORT": b"%d.5: " % (RECV // SECOND),
    "BARE": b"",
}
RECEIVED = {
    "NS": RECV, "US": RECV, "MS": START + 123_000, "S": START, "FRACTION": RECV, "COLON": RECV,
    "SHORT": START + 500_000, "BARE": None,
}  # fmt: skip


def lead(kind: str, payload: Row) -> bytes:
    return LEADING[kind] + compact(payload)


@pytest.fixture(scope="module")
def leading(folder: Path) -> Run:
    files = [
        write(folder / f"{kind}.txt", [lead(kind, trade(n, START_MS, s=kind)) for n in (1, 2)]) for kind in LEADING
    ]
    envelope = [lead(kind, {"stream": "x@trade", "data": trade(3, START_MS, s=kind)}) for kind in LEADING]
    files += [write(folder / f"{kind}-e.txt", [line]) for kind, line in zip(LEADING, envelope, strict=True)]
    return replay(files, folder / "leading", "--channels", "trades,quarantine")


@pytest.mark.parametrize("kind", LEADING)
def test_a_leading_time_is_the_receive_time(leading: Run, kind: str) -> None:
    assert [row["ts_recv"] for row in leading.rows("trades", symbol=kind)] == [RECEIVED[kind]] * 3
    assert leading.text("quarantine") == ""


def notes() -> bytes:
    url = b"wss://stream.binance.com:9443/stream"
    return b"\n".join(
        [
            b'configuration: {"trades": ["NOTE"]}',
            url + b" <-> 1700000000.1",
            url + b' <- 1700000000.2: {"method":"SUBSCRIBE","params":["note@trade"],"id":1}',
            b'1700000000.3: {"result":null,"id":1}',
            b"1700000000.4: " + compact({"stream": "note@trade", "data": trade(1, START_MS, s="NOTE")}),
            b"https://api.binance.com/api/v3/historicalTrades?symbol=NOTE&fromId=2&limit=1 -> 1700000000.5: "
            + compact([{
                "id": 2, "price": "4.00000100", "qty": "12.00000000", "quoteQty": "48.00001200", "time": START_MS + 1,
                "isBuyerMaker": True, "isBestMatch": True,
            }]),
            b"1700000000.6: " + compact({"stream": "note@trade", "data": trade(3, START_MS, s="NOTE")}),
            b"",
        ]
    )  # fmt: skip


def dump(kind: str, *, ts: int, unit: int) -> bytes:
    rows = {
        "trades": [f"{n},4.15070000,2.00000000,8.30140000,{(ts + n) * unit},True,True" for n in (1, 2)],
        "aggTrades": [f"{n},4.15070000,2.00000000,{n},{n},{(ts + n) * unit},True,True" for n in (1, 2)],
        "1h": [
            f"{ts * unit},4.10000000,4.30000000,4.00000000,4.20000000,5.00000000,{(ts + HOUR_MS) * unit - 1},"
            "21.00000000,13,2.00000000,8.40000000,0"
        ],
    }
    return "".join(f"{row}\n" for row in rows[kind]).encode()


HOUR_START_MS = START_MS - START_MS % HOUR_MS


@pytest.fixture(scope="module")
def forms(folder: Path) -> Run:
    def lines_of(symbol: str) -> bytes:
        return b"".join(compact(trade(n, START_MS, s=symbol)) + b"\n" for n in (1, 2))

    zst = zstandard.ZstdCompressor().compress
    contents: dict[str, bytes] = {
        "gz.ndjson.gz": gzip.compress(lines_of("GZ")),
        "gz-without-its-name": gzip.compress(lines_of("GZNAME")),
        "gz-members.gz": gzip.compress(compact(trade(1, START_MS, s="GZTWO")) + b"\n")
        + gzip.compress(compact(trade(2, START_MS, s="GZTWO"))),
        "zst.ndjson.zst": zst(lines_of("ZST")),
        "zst-without-its-name": zst(lines_of("ZSTNAME")),
        "zst-members.zst": zst(compact(trade(1, START_MS, s="ZSTTWO")) + b"\n")
        + zst(compact(trade(2, START_MS, s="ZSTTWO"))),
        "windows.ndjson": lines_of("CRLF").replace(b"\n", b"\r\n"),
        "no-end.ndjson": lines_of("NOEND").rstrip(b"\n"),
        "blank-lines.ndjson": lines_of("BLANK").replace(b"\n", b"\n\n"),
        "notes.cryptofeed": notes(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return replay([folder / name for name in contents], folder / "forms")


@pytest.fixture(scope="module")
def dumps(folder: Path) -> Run:
    contents = {
        "TRMSUSDT-trades-2023-11-14.csv": dump("trades", ts=START_MS, unit=1),
        "TRUSUSDT-trades-2023-11.csv": dump("trades", ts=START_MS, unit=1000),
        "AGMSUSDT-aggTrades-2023-11-14.csv": dump("aggTrades", ts=START_MS, unit=1),
        "AGUSUSDT-aggTrades-2023-11-14.csv": dump("aggTrades", ts=START_MS, unit=1000),
        "KLMSUSDT-1h-2023-11-14.csv": dump("1h", ts=HOUR_START_MS, unit=1),
        "KLUSUSDT-1h-2023-11-14.csv": dump("1h", ts=HOUR_START_MS, unit=1000),
        "HEADUSDT-trades-2023-11-14.csv": b"id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"
        + dump("trades", ts=START_MS, unit=1),
        "GZDUMPUSDT-trades-2023-11-14.csv.gz": gzip.compress(dump("trades", ts=START_MS, unit=1)),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    zipped = folder / "ZIPUSDT-trades-2023-11-14.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ZIPUSDT-trades-2023-11-14.csv", dump("trades", ts=START_MS, unit=1))
    return replay([*(folder / name for name in contents), zipped], folder / "dumps")


@pytest.mark.parametrize(
    "symbol", ["GZ", "GZNAME", "GZTWO", "ZST", "ZSTNAME", "ZSTTWO", "CRLF", "NOEND", "BLANK"]
)  # fmt: skip
def test_a_form_is_recognised_by_its_content(forms: Run, symbol: str) -> None:
    assert [row["id"] for row in forms.rows("trades", symbol=symbol)] == ["1", "2"]


@pytest.mark.parametrize("symbol", ["TRMS", "TRUS", "AGMS", "AGUS", "HEAD", "GZDUMP", "ZIP"])
def test_a_public_dump_is_read(dumps: Run, symbol: str) -> None:
    rows = dumps.rows("trades", symbol=f"{symbol}USDT")
    assert [(row["id"], row["ts_event"]) for row in rows] == [("1", START + 1000), ("2", START + 2000)]
    assert {(row["price"], row["size"], row["side"], row["ts_recv"]) for row in rows} == {("4.1507", "2", "sell", None)}


@pytest.mark.parametrize("symbol", ["KLMS", "KLUS"])
def test_a_dump_of_candles_is_read(dumps: Run, symbol: str) -> None:
    (row,) = dumps.rows("klines", symbol=f"{symbol}USDT")
    assert (row["interval"], row["ts_start"], row["ts_end"]) == (
        "1h", HOUR_START_MS * 1000, (HOUR_START_MS + HOUR_MS) * 1000,
    )  # fmt: skip
    assert (row["open"], row["high"], row["low"], row["close"]) == ("4.1", "4.3", "4", "4.2")
    assert (row["volume"], row["quote_volume"], row["taker_buy_volume"], row["count"]) == ("5", "21", "2", 13)
    assert row["vwap"] == 4.2


def test_notes_of_a_cryptofeed_file_are_no_frames_and_an_answer_fills_a_hole(forms: Run) -> None:
    rows = forms.rows("trades", symbol="NOTE")
    assert sorted((row["id"], row["price"], row["ts_recv"]) for row in rows) == [
        ("1", "100", START + 400_000),
        ("2", "4.000001", START + 500_000),
        ("3", "100", START + 600_000),
    ]
    assert not forms.rows("coverage", symbol="NOTE", state="gap")


def test_none_of_the_forms_is_quarantined(forms: Run) -> None:
    assert forms.rows("quarantine") == []


def test_none_of_the_dumps_is_quarantined(dumps: Run) -> None:
    assert dumps.rows("quarantine") == []


@pytest.fixture(scope="module")
def early(folder: Path) -> tuple[Run, int]:
    """A download that broke off, and how many whole lines of it there are."""
    chance = random.Random(6)
    frames = [trade(n, START_MS + n, decimal8(chance.randrange(1, 10**10))) for n in range(5000)]
    content = gzip.compress(b"".join(compact(frame) + b"\n" for frame in frames))
    cut = content[: len(content) // 2]
    (folder / "early.gz").write_bytes(cut)
    run = replay([folder / "early.gz"], folder / "early", "--channels", "trades")
    return run, zlib.decompressobj(31).decompress(cut).count(b"\n")


def test_a_file_that_ends_early_gives_all_its_whole_lines(early: tuple[Run, int]) -> None:
    run, whole = early
    assert [row["id"] for row in run.rows("trades")] == [str(n) for n in range(whole)]


def test_a_file_that_ends_early_is_named(early: tuple[Run, int]) -> None:
    assert "early.gz" in early[0].stderr


# == what the exchange really sent ===========================================================================


@pytest.fixture(scope="module")
def recorded_ticks() -> list[oracle.Tick]:
    payloads = [json.loads(line.split(b" ", 1)[1]) for name in SPOT_2024 for line in lines(name) if b"@trade" in line]
    ticks = oracle.unique(payload["data"] for payload in payloads)
    assert len(ticks) == 19904
    return ticks


@pytest.fixture(scope="module")
def shaken(folder: Path) -> Path:
    """All frames of both days twice, in no order."""
    whole = [line for name in SPOT_2024 for line in lines(name)] * 2
    random.Random(5).shuffle(whole)
    return write(folder / "shaken.txt", whole)


@pytest.mark.parametrize("way", ["in order", "reversed", "shuffled and doubled"])
def test_recorded_trades_equal_brute_force(
    request: pytest.FixtureRequest, tmp_path: Path, recorded_ticks: list[oracle.Tick], way: str
) -> None:
    files = [recording(name) for name in SPOT_2024]
    if way == "reversed":
        files.reverse()
    elif way == "shuffled and doubled":
        files = [request.getfixturevalue("shaken")]
    options = (
        "--channels",
        "candles,moving_average,late,quarantine,coverage",
        "--intervals",
        ",".join(oracle.INTERVALS),
    )
    run = replay(files, tmp_path / "out", *options)
    drop = ("closed", "revision")
    same(run.rows("candles"), oracle.candles(recorded_ticks, oracle.INTERVALS), *drop)
    same(run.rows("moving_average"), oracle.means(recorded_ticks), *drop)
    assert (run.rows("late"), run.rows("quarantine")) == ([], [])
    assert not run.rows("coverage", stream="trades", state="gap")


def test_recorded_candles_are_those_of_the_venue(tmp_path: Path) -> None:
    """Of a minute that the venue has closed: from our trades where they cover it, else from the venue itself."""
    name = "spot_3symbols_20210404.cryptofeed"
    payloads = [json.loads(frame) for frame, request in frames_of(name) if request is None]
    pushes = [payload["data"]["k"] for payload in payloads if "kline" in payload.get("stream", "")]
    closed = [kline for kline in pushes if kline["x"]]
    assert closed
    run = replay([recording(name)], tmp_path / "out", "--channels", "candles", "--intervals", "1m")
    for kline in closed:
        (row,) = run.rows("candles", symbol=kline["s"], ts_start=kline["t"] * 1000)
        texts = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "taker_buy_volume": "V"}
        assert {field: row[field] for field in texts} == {
            field: oracle.canonical(oracle.mantissa(kline[key])) for field, key in texts.items()
        }
        assert Decimal(row["quote_volume"]) == Decimal(kline["q"])
        assert row["count"] == kline["n"]
