"""What a tail gives after any bars in any order is what its step gives over all of them at once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tapeflow import indicators
from tapeflow.engine import tails as under_test
from tapeflow.engine.tails import Bar, Last, Tails

STEPS = tuple(map(indicators.parse, ("ema_5", "rsi_3", "macd_3_6_2")))


def brute(closes: list[float], opened: list[float], step: Any) -> list[Any]:
    """The values for the open bars."""
    state, found = step.zero(), []
    for close in closes:
        state, _ = step.on_event(state, close)
    for close in opened:
        state, values = step.on_event(state, close)
        found.append(values)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_bars_and_revisions(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "AGAIN", 3)
    chance, tails = random.Random(seed), Tails(STEPS)
    kept: dict[int, Bar] = {}
    begun = 0
    for _ in range(90):
        newest = max(kept, default=1000)
        ts = chance.choice(
            (newest + chance.randint(1, 3), newest - chance.randint(0, 60), chance.choice([newest, *kept]))
        )
        revision = chance.choice((0, 1, kept[ts].revision if ts in kept else 0, 2))
        bar = Bar(ts, chance.choice((1.0, 2.0, chance.random() * 9)), revision)
        tails.put(bar)
        if ts not in kept or revision >= kept[ts].revision:
            kept[ts] = bar
        if chance.random() < 0.6:
            continue
        if chance.random() < 0.1:
            begun = chance.choice([0, *kept])  # the chain is another one, begun later
        closes = [kept[ts].close for ts in sorted(kept) if ts >= begun]
        last = Last(max(kept), len(closes), 7)
        opened = [Bar(last.ts_start + at, chance.random(), 0) for at in (1, 2)]
        tails.open(opened)
        for at, step in enumerate(STEPS):
            tails.go_on(at, last)
            values = brute(closes, [bar.close for bar in opened], step)
            wanted = [
                (bar.ts_start, value, last.bars + n, 7)
                for n, (bar, value) in enumerate(zip(opened, values, strict=True), 1)
                if value is not None
            ]
            assert [(row.ts_start, row.values, row.bars, row.revision) for row in tails.rows(at)] == wanted


def test_the_state_outlives_the_bars_that_are_dropped() -> None:
    tails, step, closes, rows = Tails(STEPS), 0, list[float](), list[Any]()
    chance = random.Random(1)
    for ts in range(5 * tails.limit):
        closes.append(chance.random())
        tails.put(Bar(ts, closes[-1], 0))
        tails.go_on(step, Last(ts, ts + 1, 0))
        tails.open([Bar(ts + 1, 0.5, 0)])
        rows = list(tails.rows(step))
    (row,) = rows
    assert (row.values, row.bars) == (brute(closes, [0.5], STEPS[step])[0], len(closes) + 1)
    assert len(tails._starts) == tails.limit


def test_bars_before_all_that_is_kept_change_nothing() -> None:
    tails = Tails(STEPS[:1])
    for ts in range(10, 10 + 2 * tails.limit):
        tails.put(Bar(ts, float(ts), 0))
    before = list(tails._starts)
    tails.put(Bar(5, 1.0, 3))
    assert tails._starts == before


def test_a_tail_that_nobody_has_asked_begins_with_what_is_kept() -> None:
    tails, chance = Tails(STEPS), random.Random(2)
    closes = [chance.random() for _ in range(2 * tails.limit)]
    for ts, close in enumerate(closes):
        tails.put(Bar(ts, close, 0))
    tails.go_on(0, Last(len(closes) - 1, len(closes), 0))
    tails.open([Bar(len(closes), 0.5, 0)])
    (row,) = tails.rows(0)
    assert row.values == brute(closes[-tails.limit :], [0.5], STEPS[0])[0]
    assert row.values["ema"] == pytest.approx(brute(closes, [0.5], STEPS[0])[0]["ema"], rel=1e-14)


def test_an_open_bar_that_has_closed_is_told_no_more() -> None:
    """Its open row may come again, from an engine that repeats what it had written."""
    tails = Tails(STEPS[:1])
    for ts in range(10):
        tails.put(Bar(ts, 1.0, 0))
    tails.go_on(0, Last(8, 9, 0))  # the row of the newest one is on its way
    tails.open([Bar(5, 7.0, 0), Bar(9, 8.0, 0), Bar(10, 4.0, 0)])
    assert [(row.ts_start, row.values, row.bars) for row in tails.rows(0)] == [(10, {"ema": 2.0}, 11)]
