"""A sink whose rows are taken away: each row is in what was taken once."""

from __future__ import annotations

from typing import Any

from tapeflow import venues
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.sim.sample import sample_frames
from tapeflow.stores.results import Results
from tapeflow.stores.swapped import SwappedResults

CHANNELS = ("trades", "quotes", "book", "klines", "candles", "moving_average", "indicators", "coverage", "quarantine")


def flow() -> Flow:
    made = Builder("swapped")
    made.trades().candles("1s").indicator("sma_2")
    made.trades().moving_average("3s", "500ms")
    made.quotes()
    made.book(5)
    made.klines()
    return made.build()


def new() -> Results:
    return Results(flow(), "binance", CHANNELS, price_scale=8, size_scale=8)


def lines(taken: list[Results]) -> dict[str, list[bytes]]:
    return {c: sorted(line for results in taken for line in results.table(c).json_lines()) for c in CHANNELS}


def rows(sink: Any, every: int | None) -> list[Results]:
    """What is taken from a sink after every so many frames."""
    engine = Engine(flow(), venues.create("binance"), sink, channels=CHANNELS, patience=1 << 62, of_tape=True)
    frames = Frames.of([*sample_frames(seconds=20, symbols=("BTCUSDT", "ETHUSDT")), (None, b"{")])
    taken = []
    for at in range(0, len(frames), every or len(frames)):
        engine.feed(frames, at, min(at + (every or len(frames)), len(frames)))
        engine.flush()
        if isinstance(sink, SwappedResults):
            taken.append(sink.take(engine.symbols))
    sink.names = engine.symbols
    return taken or [sink]


def test_every_row_is_taken_once() -> None:
    expected = lines(rows(new(), None))
    assert all(expected[channel] for channel in CHANNELS if channel != "coverage")
    assert lines(rows(SwappedResults(new), 100)) == expected


def test_nothing_new_is_no_row() -> None:
    sink = SwappedResults(new)
    before = sink.has_rows
    sink.rows("quarantine", [{"ts_recv": 1, "connection": "", "reason": "not_json", "frame": b"{"}])
    between = sink.has_rows
    assert len(sink.take(["X"]).table("quarantine")) == 1
    assert (before, between, sink.has_rows) == (False, True, False)
    empty = sink.take(["X", "Y"])
    assert [len(empty.table(channel)) for channel in CHANNELS] == [0] * len(CHANNELS)
    assert empty.names == ["X", "Y"]
    assert empty.retracted == set()


def test_a_symbol_that_is_void_is_told_with_the_rows_that_follow() -> None:
    sink = SwappedResults(new)
    sink.retract("X")
    assert sink.has_rows
    assert sink.take().retracted == {"X"}
    assert sink.take().retracted == set()
