"""A time far ahead of all that was heard is damage: it must not run a watermark away."""

from __future__ import annotations

import json

import pytest

from tapeflow import venues
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.stores.results import Results

START = 1_700_000_000_000
DAY_MS = 86_400_000


def trade(id: int, ms: int) -> bytes:
    text = {"e": "trade", "E": START, "s": "X", "t": id, "p": "1.5", "q": "2", "T": START + ms, "m": True, "M": True}
    return json.dumps(text, separators=(",", ":")).encode()


@pytest.mark.parametrize("compiled", [False, None], ids=["portable", "default"])
def test_a_time_more_than_a_day_ahead_is_quarantined(compiled: bool | None) -> None:
    flow = Builder("one")
    flow.trades().candles("1s")
    made = flow.build()
    sink = Results(made, "binance", ("candles", "late", "quarantine", "trades"), price_scale=8, size_scale=8)
    engine = Engine(made, venues.create("binance"), sink, compiled=compiled, of_tape=True)
    received = START * 1000
    frames = [trade(1, 0), trade(3, DAY_MS + 60_000), trade(2, 100), trade(4, 5_000), trade(5, 200)]
    engine.feed(Frames.of([(received + i, frame) for i, frame in enumerate(frames)]))
    engine.finish()
    sink.names = engine.symbols
    assert [row["reason"] for row in _rows(sink, "quarantine")] == ["impossible_time"]
    assert len(sink.table("late")) == 0
    assert len(sink.table("trades")) == 4


def _rows(sink: Results, channel: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in sink.table(channel).json_lines()]


@pytest.mark.parametrize("compiled", [False, None], ids=["portable", "default"])
@pytest.mark.parametrize("ahead_s", [-3600, 0, 300, 3 * 3600])
def test_a_clock_that_is_wrong_at_a_later_start_closes_nothing_early(compiled: bool | None, ahead_s: int) -> None:
    """What one life has learned of its clock says nothing of that of the next; and no watermark goes back."""
    flow = Builder("lives")
    flow.trades().candles("1m")
    made = flow.build()
    sink = Results(made, "binance", ("candles", "trades"), price_scale=8, size_scale=8, all_revisions=True)
    engine = Engine(made, venues.create("binance"), sink, compiled=compiled, of_tape=True)
    begin, last = START // 60_000 * 60_000 - START, -(1 << 62)
    for second in range(300):
        clock = (0 if second < 100 else ahead_s) * 1_000_000
        if second in (0, 100, 200):
            engine.started()
        now = (START + begin + 1000 * second) * 1000
        engine.feed(Frames.of([(now + 100_000 + clock, trade(second + 1, begin + 1000 * second))]))
        engine.tick(now + 300_000 + clock)
        engine.flush()
        assert engine.watermarks()["X"] >= last
        last = engine.watermarks()["X"]
    sink.names = engine.symbols
    rows = [(row["count"], row["revision"], row["closed"]) for row in _rows(sink, "candles")]
    assert rows == [(60, 0, True)] * len(rows)
    assert len(rows) == 4
