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
