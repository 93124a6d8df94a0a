"""Rows of windows that are still open: those of steps, of which there are many, only where they are wanted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from storing import Source, trade
from tapeflow import venues
from tapeflow.engine.embedded import Engine
from tapeflow.flow.builder import Builder
from tapeflow.stores.results import Results
from topic import Raw, feed, told

SYMBOLS = ("X", "Y")


def test_steps_look_ahead_for_the_symbols_that_are_named() -> None:
    source = Source()
    source.take(*(trade(n, n / 2, symbol=symbol) for n in range(1, 20) for symbol in SYMBOLS))
    numbers = [source.engine.number_of(symbol) for symbol in SYMBOLS]

    def formed(*with_steps: int) -> tuple[set[str], set[str]]:
        results = source.results.empty()
        source.engine.forming(numbers, results, with_steps)
        results.names = source.engine.symbols
        rows = {name: map(json.loads, results.table(name).json_lines()) for name in ("candles", "indicators")}
        candles, steps = ({row["symbol"] for row in rows[name] if not row["closed"]} for name in rows)
        return candles, steps

    assert formed() == ({"X", "Y"}, set())
    assert formed(numbers[1]) == ({"X", "Y"}, {"Y"})
    assert formed(*numbers) == ({"X", "Y"}, {"X", "Y"})


def test_a_window_that_the_venues_candle_has_closed_is_no_bar_more() -> None:
    made = Builder("forming", lateness="2s")
    made.trades().candles("1s").indicator("sma_3")
    flow, start, second = made.build(), 1_722_988_800_000_000, 1_000_000
    results = Results(flow, "binance", ("candles", "indicators"), price_scale=8, size_scale=8)
    engine = Engine(flow, venues.create("binance"), results, of_tape=True)
    raws = [
        Raw("X", id, (500 + id) * 10**6, 10**8, 0, start + id * second // 2, start + id * second // 2)
        for id in range(1, 42)
    ]
    feed(engine, raws, 50)

    def formed() -> dict[int, tuple[int, Any]]:
        rows = results.empty()
        engine.forming([0], rows)
        rows.names = engine.symbols
        found = map(json.loads, rows.table("indicators").json_lines())
        return {(row["ts_start"] - start) // second: (row["bars"], row["values"]["sma"]) for row in found}

    before = formed()
    assert list(before) == [18, 19, 20]
    engine.feed(told(raws, 0, "X", "1s", start + 21_700_000).frames())  # closed there, open by our watermark
    after = formed()
    assert list(after) == [20]
    assert after[20] == (before[20][0], pytest.approx(before[20][1]))
