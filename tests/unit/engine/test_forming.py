"""Rows of windows that are still open: those of steps, of which there are many, only where they are wanted."""

from __future__ import annotations

import json

from storing import Source, trade

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
