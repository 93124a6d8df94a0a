"""The steps of a symbol give what the embedded engine gives, in whatever order closed windows come."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest

from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.indicators import parse
from tapeflow.runners.flink.line import Tick, Told
from tapeflow.runners.flink.spec import Interval, folds_of
from tapeflow.runners.flink.stage import Stage, StepRow, Steps
from topic import Raw, answer, answer_with_past, hidden, market, past


class Pieces(dict[str, bytes]):
    def put(self, name: str, piece: bytes) -> None:
        self[name] = piece

    def drop(self, name: str) -> None:
        self.pop(name, None)


def flow(*intervals: str, horizon: str = "10m") -> Flow:
    made = Builder("steps", lateness="2s", horizon=horizon)
    candles = made.trades().candles(*intervals)
    for name in ("sma_3", "ema_5", "rsi_3", "macd_3_6_2", "bollinger_4_2"):
        candles.indicator(name)
    return made.build()


def tick(row: dict[str, Any]) -> Tick:
    id = int(row["first_id"] or row["id"])
    place = f"{id + (0 if (is_long := id >= 10**18) else 10**18)}{row['price']}"
    fine, coarse = (str(10**17 + 10 * ts + is_long) for ts in (row["ts_event"], row["ts_event"] // 1000 * 1000))
    trades = int(row["last_id"]) - int(row["first_id"]) + 1 if row["first_id"] else 1
    return Tick(fine + place, coarse + place, row.get("coarse", False), trades)


def stepped(flow: Flow, topic: list[dict[str, Any]], chance: random.Random, kept_us: int) -> Any:
    """The last row of each key, with the state read anew now and then, closed windows held back and mixed."""
    folds = folds_of(flow, 8, 8)
    steps = tuple(tuple(map(parse, one.steps)) for one in folds.intervals)
    what = Steps(folds.intervals, steps, kept_us)
    last: dict[tuple[Any, ...], Any] = {}
    pieces: dict[str, Pieces] = defaultdict(Pieces)
    stages: dict[str, Stage] = {}
    ticks: dict[tuple[str, int, int], Tick | None] = {}
    held: list[tuple[str, int, int, Tick | None]] = []

    def give(symbol: str, rows: list[StepRow]) -> None:
        for at, row in rows:
            interval = folds.intervals[at]
            last[symbol, interval.name, interval.steps[row.step], row.ts_start] = (row.values, row.bars, row.revision)

    def stage(symbol: str) -> Stage:
        if symbol not in stages or chance.random() < 0.02:
            stages[symbol] = Stage(what, pieces[symbol])
        return stages[symbol]

    def release(most: int) -> None:
        chance.shuffle(held)
        while len(held) > most:
            symbol, at, ts_start, found = held.pop()
            give(symbol, stage(symbol).closed(at, ts_start, found))

    numbers = {one.name: at for at, one in enumerate(folds.intervals)}
    for row in topic:
        symbol, stamp = row["symbol"], row["ts_watermark"]
        if "candle" in row:
            candle = row["candle"]
            if candle["interval"] in numbers:
                told = Told(candle["count"], float(candle["close"]))
                give(symbol, stage(symbol).venue(numbers[candle["interval"]], candle["ts_start"], stamp, told))
        elif "id" not in row:
            for at, one in enumerate(folds.intervals):
                if (stamp - one.origin_us) % one.size_us == 0:
                    held.append((symbol, at, stamp - one.size_us, ticks.pop((symbol, at, stamp - one.size_us), None)))
            give(symbol, stage(symbol).time(stamp))
        else:
            for at, one in enumerate(folds.intervals):
                ts_start = start(row["ts_event"], one)
                if stamp is None or stamp < ts_start + one.size_us:
                    known = ticks.get((symbol, at, ts_start))
                    ticks[symbol, at, ts_start] = known.merged(tick(row)) if known else tick(row)
            ends = [start(row["ts_event"], one) + one.size_us for one in folds.intervals]
            if stamp is not None and stamp >= min(ends):
                give(symbol, stage(symbol).late(row["ts_event"], stamp, tick(row)))
        if chance.random() < 0.1:
            release(chance.randint(0, 20))
    release(0)
    return last, pieces


def start(ts: int, one: Interval) -> int:
    return ts - (ts - one.origin_us) % one.size_us


def expected(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], Any]:
    return {
        (row["symbol"], row["interval"], row["name"], row["ts_start"]): (
            tuple(row["values"].values()), row["bars"], row["revision"],
        )
        for row in rows
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("intervals", [("1s", "5s", "1m"), ("3s", "5s", "1m")])
def test_the_last_row_of_every_indicator_is_that_of_the_embedded_engine(intervals: tuple[str, ...], seed: int) -> None:
    made = flow(*intervals)
    raws = market(seed, 3000, late=0.1, late_s=200.0, coarse=0.3 * (seed % 2), rate=8.0, doubled=0.05)
    found = answer(made, raws)
    last, pieces = stepped(made, found.topic, random.Random(seed), made.horizon_us)
    want = expected(found.rows["indicators"])
    assert len(want) > 500
    assert last == want
    assert not [name for kept in pieces.values() for name in kept if name.startswith(("queue/", "closed/"))]


@pytest.mark.parametrize("seed", range(6))
def test_the_venues_candles_stand_in_as_in_the_embedded_engine(seed: int) -> None:
    made = flow("1s", "5s", "1m")
    whole = market(seed, 3000, late=0.1, late_s=60.0, coarse=0.3 * (seed % 2), rate=8.0)
    raws = [raw for raw in whole if not hidden(raw, whole)]
    answers = past(whole, raws)
    found = answer_with_past(made, raws, answers)
    candles = {(row["symbol"], row["interval"], row["ts_start"]): row for row in found.rows["candles"]}
    for told in answers:
        for start, _, high, low, close, *_, count, _, _, _ in told.rows[:-2]:  # the newest may be open
            row = candles[told.symbol, told.interval, start * 1000]
            assert (row["close"], row["high"], row["low"], row["count"]) == (close, high, low, count)
    last, _ = stepped(made, found.topic, random.Random(seed), made.horizon_us)
    assert sum("candle" in row for row in found.topic) > 200
    assert {row["source"] for row in found.rows["candles"] if row["interval"] == "1s"} == {"trades", "venue"}
    assert last == expected(found.rows["indicators"])


@pytest.mark.parametrize("seed", range(4))
def test_of_a_symbol_that_trades_seldom_no_late_trade_is_left_out(seed: int) -> None:
    """Bars are dropped in lots: a late one may lie before all that are kept, and within the horizon still."""
    made = flow("1s", horizon="1m")
    raws = market(seed, 1500, late=0.3, late_s=50.0, rate=0.1, symbols=1)
    found = answer(made, raws)
    last, _ = stepped(made, found.topic, random.Random(seed), made.horizon_us)
    assert last == expected(found.rows["indicators"])
    closes = [float(row["close"]) for row in found.rows["candles"] if row["closed"]]
    means = [row["values"]["sma"] for row in found.rows["indicators"] if row["name"] == "sma_3"]
    assert means == pytest.approx([sum(closes[at - 2 : at + 1]) / 3 for at in range(2, len(closes))], rel=1e-12)


def test_state_is_bounded_by_the_horizon() -> None:
    made = flow("1s")
    raws = market(1, 20_000, late=0.02, late_s=100.0, rate=5.0, symbols=1)
    found = answer(made, raws)
    last, pieces = stepped(made, found.topic, random.Random(1), made.horizon_us)
    assert last == expected(found.rows["indicators"])
    chunks = [name for name in pieces["S0USDT"] if name.startswith("1s/") and name[3:].isdigit()]
    assert len(chunks) <= 600 / 32 + 3


def test_a_trade_before_all_that_is_kept_changes_nothing() -> None:
    pieces = Pieces()
    what = Steps((Interval("1s", 1_000_000, 0, ("sma_1",)),), ((parse("sma_2"),),), 60_000_000)
    stage = Stage(what, pieces)

    def text(ts: int, id: int, price: str) -> Tick:
        place = f"{10**17 + 10 * ts}{10**18 + id}{price}"
        return Tick(place, place, False, 1)

    for second in range(1, 400):
        stage.closed(0, second * 1_000_000, text(second * 1_000_000, second, str(second)))
        stage.time((second + 1) * 1_000_000)
    assert stage.late(2_000_000, 400_000_000, text(2_000_000, 9999, "7")) == []
    assert stage.time(402_000_000) == []


def test_raw_trades_are_what_the_market_says() -> None:
    assert isinstance(market(1, 10)[0], Raw)
