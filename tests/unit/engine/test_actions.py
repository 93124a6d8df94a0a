"""What the engine asks for, and what it says is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tapeflow import venues
from tapeflow.domain.events import Action
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.stores.results import Results
from tapeflow.testing.engines import run


def trade(id: int, ms: int = 0, symbol: str = "X") -> tuple[None, bytes]:
    text = {"e": "trade", "E": 1_700_000_000_000, "s": symbol, "t": id, "p": "1.5", "q": "2"}
    return None, json.dumps(text | {"T": 1_700_000_000_000 + ms, "m": True, "M": True}).encode()


def flow() -> Flow:
    made = Builder("one")
    made.trades().candles("1s")
    return made.build()


@pytest.fixture(params=[False, None], ids=["portable", "default"])
def asked(request: pytest.FixtureRequest) -> tuple[Engine, list[Action]]:
    actions: list[Action] = []
    sink = Results(flow(), "binance", ("candles", "coverage"), price_scale=8, size_scale=8)
    engine = Engine(flow(), venues.create("binance"), sink, act=actions.append, compiled=request.param)
    return engine, actions


def feed(engine: Engine, *messages: tuple[None, bytes]) -> None:
    engine.feed(Frames.of(list(messages)))


def test_an_open_hole_is_told_until_it_is_filled_or_given_up(asked: tuple[Engine, list[Action]]) -> None:
    engine, actions = asked
    feed(engine, trade(5), trade(6))
    assert engine.holes() == []
    feed(engine, trade(10, 50), trade(20, 90))
    assert [(hole.first_id, hole.last_id) for hole in engine.holes()] == [(7, 9), (11, 19)]
    feed(engine, trade(7), trade(9), trade(8))
    assert [(hole.first_id, hole.last_id) for hole in engine.holes()] == [(11, 19)]
    engine.give_up("X", 11, 19, "not_at_venue")
    assert engine.holes() == []
    assert actions == []
    gaps = [row for row in engine.coverage() if row["state"] == "gap"]
    assert [(row["first_id"], row["last_id"], row["reason"]) for row in gaps] == [(11, 19, "not_at_venue")]


def test_a_hole_is_a_gap_in_coverage_until_it_is_filled() -> None:
    rows = run([trade(5), trade(8, 70)], flow=flow())["coverage"]
    gap = next(row for row in rows if row["state"] == "gap")
    assert (gap["first_id"], gap["last_id"], gap["reason"], gap["guarantee"]) == ("6", "7", "missing_ids", "sequence")
    assert (gap["ts_start"], gap["ts_end"]) == (1_700_000_000_000_000, 1_700_000_000_070_000)
    filled = run([trade(5), trade(8), trade(7), trade(6)], flow=flow())["coverage"]
    assert [(row["state"], row["first_id"], row["last_id"]) for row in filled] == [("complete", "5", "8")]


def test_trades_beyond_the_horizon_are_flagged_in_coverage() -> None:
    rows = run([trade(1), trade(3, 4_000_000), trade(2, 10)], flow=flow())
    assert [row["id"] for row in rows["late"]] == ["2"]
    flagged: list[dict[str, Any]] = [row for row in rows["coverage"] if row["reason"] == "late"]
    assert [(row["state"], row["first_id"], row["last_id"]) for row in flagged] == [("unknown", "2", "2")]
    assert sum(row["count"] for row in rows["candles"]) == 2


def test_a_tick_closes_the_windows_of_a_quiet_symbol(asked: tuple[Engine, list[Action]]) -> None:
    engine, actions = asked
    start = 1_700_000_000_000_000
    engine.feed(Frames.of([(start + 100_000, trade(1)[1])]))
    closed: list[int] = []
    engine._outlet._sink.columns = lambda channel, rows: closed.extend(rows["closed"].tolist())  # type: ignore[method-assign]
    engine.tick(start + 3_900_000)  # a second of the venue's delay and two of lateness: the watermark is at 0.9 s
    assert closed == []
    engine.tick(start + 4_000_000)
    assert closed == [1]
    assert actions == []
