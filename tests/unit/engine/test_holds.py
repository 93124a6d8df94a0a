"""An open hole holds what it may still change, whatever the horizon; given up it does not. Kernel and twin alike."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeflow import venues
from tapeflow.engine.columns import LINE
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.engine.kernels import COMPILED
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.stores.results import Results

KERNELS = [
    pytest.param(False, id="portable"),
    pytest.param(True, id="compiled", marks=pytest.mark.skipif(COMPILED is None, reason="the kernel is not built")),
]
CHANNELS = ("trades", "candles", "moving_average", "indicators", "late", "coverage", "quarantine")
US = 1_722_988_800_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND

Row = dict[str, Any]


def small() -> Flow:
    flow = Builder("held", lateness="1s", horizon="30m")
    candles = flow.trades().candles("1s", "1m", "1h")
    for name in ("sma_2", "ema_3", "macd_2_3_2"):
        candles.indicator(name)
    flow.trades().moving_average("3s", "1s").moving_average("2m", "1m")
    return flow.build()


FLOW = small()


class Message(msgspec.Struct, frozen=True):
    """A frame, or the answer to a request."""

    frame: bytes
    request: str | None = None


class Running:
    """An engine that is fed in pieces and may be restarted between any two of them."""

    def __init__(self, *, compiled: bool, flow: Flow = FLOW) -> None:
        self.flow = flow
        self._compiled = compiled
        self.sink = Results(flow, "binance", CHANNELS, price_scale=8, size_scale=8)
        self.engine = self._new()

    def _new(self) -> Engine:
        codec = venues.create("binance")
        return Engine(self.flow, codec, self.sink, channels=CHANNELS, compiled=self._compiled, of_tape=True)

    def restart(self) -> None:
        state = self.engine.snapshot()
        self.engine = self._new()
        self.engine.restore(state)

    def feed(self, messages: list[Message]) -> None:
        lines, at = [], 0
        for message in messages:
            lines.append((at, at + len(message.frame), -(2**63)))
            at += len(message.frame)
        requests = {i: message.request for i, message in enumerate(messages) if message.request is not None}
        self.engine.feed(Frames(b"".join(m.frame for m in messages), np.array(lines, LINE), requests=requests))

    def rows(self) -> dict[str, list[Row]]:
        self.engine.finish()
        self.sink.names = self.engine.symbols
        return {c: [json.loads(line) for line in self.sink.table(c).json_lines()] for c in CHANNELS}


def values(rows: dict[str, list[Row]], *channels: str) -> dict[str, list[Row]]:
    """The last values: how often a row was revised may differ."""
    return {
        c: [{name: value for name, value in row.items() if name != "revision"} for row in rows[c]]
        for c in channels or ("trades", "candles", "moving_average", "indicators", "late")
    }


def wire(id: int, ts: int, price: int, symbol: str = "X") -> Message:
    row = {"e": "trade", "E": ts, "s": symbol, "t": id, "p": f"{price}.5", "q": "1", "T": ts, "m": False, "M": True}
    return Message(json.dumps(row, separators=(",", ":")).encode())


def page(trades: list[tuple[int, int, int]]) -> Message:
    """Trades as an answer of REST."""
    rows = [
        {"id": id, "price": f"{price}.5", "qty": "1", "quoteQty": f"{price}.5", "time": ts, "isBuyerMaker": False}
        | {"isBestMatch": True}
        for id, ts, price in trades
    ]
    return Message(json.dumps(rows).encode(), "/api/v3/historicalTrades?symbol=X&fromId=1")


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[tuple[int, int, int]], int, int]:
    """Trades (id, time, price) in order, over hours, and a hole ``lo..hi`` among them that is hours old at the end."""
    count = draw(st.integers(8, 30))
    gaps = draw(
        st.lists(st.sampled_from([0, 1000, 400_000, SECOND, 40 * SECOND, 7 * MINUTE]), min_size=count, max_size=count)
    )
    lo = draw(st.integers(1, count - 4))
    hi = draw(st.integers(lo, count - 3))
    ts, trades = US, []
    for i, gap in enumerate(gaps):
        ts += gap + (70 * MINUTE if i in (hi + 1, count - 1) else 0)
        trades.append((i + 1, ts, draw(st.integers(1, 1000))))
    return trades, lo + 1, hi + 1


def pieces(messages: list[Message], sizes: list[int]) -> list[list[Message]]:
    found, at = [], 0
    for size in [*sizes, len(messages)]:
        if at < len(messages):
            found.append(messages[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("compiled", KERNELS)
@given(story=stories(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_hole_filled_hours_later_leaves_no_trace(compiled: bool, story: Any, data: st.DataObject) -> None:
    trades, lo, hi = story
    whole = Running(compiled=compiled)
    whole.feed([wire(*trade) for trade in trades])
    expected = whole.rows()
    assert not expected["late"]

    missing = [trade for trade in trades if lo <= trade[0] <= hi]
    others = [wire(*trade) for trade in trades if not lo <= trade[0] <= hi]
    filled = data.draw(st.permutations(missing))
    late = [page(filled)] if data.draw(st.booleans()) else [wire(*trade) for trade in filled]
    messages = [*others, *late]
    running = Running(compiled=compiled)
    for piece in pieces(messages, data.draw(st.lists(st.integers(1, 7), max_size=12))):
        running.feed(piece)
        if data.draw(st.booleans()):
            running.restart()
        if data.draw(st.booleans()):
            running.engine.tick(US)
    found = running.rows()
    assert values(found) == values(expected)
    assert [(row["state"], row["first_id"], row["last_id"]) for row in found["coverage"]] == [
        ("complete", "1", str(len(trades)))
    ]


@pytest.mark.parametrize("compiled", KERNELS)
@given(story=stories(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_hole_that_was_given_up_lets_go(compiled: bool, story: Any, data: st.DataObject) -> None:
    trades, lo, hi = story
    others = [wire(*trade) for trade in trades if not lo <= trade[0] <= hi]
    running = Running(compiled=compiled)
    running.feed(others)
    (hole,) = running.engine.holes()
    assert (hole.first_id, hole.last_id) == (lo, hi)
    running.engine.give_up("X", lo, hi, "not_at_venue")
    if data.draw(st.booleans()):
        running.restart()
    assert running.engine.holes() == []
    running.feed([wire(*trade) for trade in trades if lo <= trade[0] <= hi])
    found = running.rows()
    assert [row["id"] for row in found["late"]] == [str(id) for id, _, _ in trades if lo <= id <= hi]
    without = Running(compiled=compiled)
    without.feed(others)
    assert values(found, "trades", "candles", "moving_average", "indicators") == values(
        without.rows(), "trades", "candles", "moving_average", "indicators"
    )


@pytest.mark.skipif(COMPILED is None, reason="the kernel is not built")
@given(story=stories(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_kernel_and_twin_give_the_same_rows(story: Any, data: st.DataObject) -> None:
    trades, lo, hi = story
    messages = [wire(*trade) for trade in trades if not lo <= trade[0] <= hi]
    messages += [wire(*trade) for trade in trades if lo <= trade[0] <= hi]
    cut = data.draw(st.integers(0, len(messages)))
    gives_up, swaps = data.draw(st.booleans()), data.draw(st.booleans())
    found = []
    for compiled in (False, True):
        running = Running(compiled=compiled)
        running.feed(messages[:cut])
        if gives_up:
            for hole in running.engine.holes():
                running.engine.give_up("X", hole.first_id or 0, hole.last_id or 0, "not_at_venue")
        if swaps:  # either goes on from the other's state
            running._compiled = not compiled
            running.restart()
        running.feed(messages[cut:])
        found.append(running.rows())
    assert found[0] == found[1]


@pytest.mark.parametrize("compiled", KERNELS)
def test_of_two_holes_the_older_one_holds(compiled: bool) -> None:
    trades = [(n, US + n * 20 * MINUTE, n) for n in range(1, 10)]
    running = Running(compiled=compiled)
    running.feed([wire(*trade) for trade in trades if trade[0] not in (2, 6)])
    running.engine.give_up("X", 2, 2, "not_at_venue")
    running.feed([wire(*trades[5]), wire(*trades[1])])
    assert [row["id"] for row in running.rows()["late"]] == ["2"]

    running = Running(compiled=compiled)
    running.feed([wire(*trade) for trade in trades if trade[0] not in (2, 6)])
    running.engine.give_up("X", 6, 6, "not_at_venue")
    running.feed([wire(*trades[5]), wire(*trades[1])])  # the older hole holds what the younger let go
    assert running.rows()["late"] == []


@pytest.mark.parametrize("compiled", KERNELS)
def test_a_hole_given_up_twice_and_one_of_another_symbol_change_nothing(compiled: bool) -> None:
    running = Running(compiled=compiled)
    running.feed([wire(1, US, 1), wire(5, US + SECOND, 1), wire(1, US, 1, "Y"), wire(3, US, 1, "Y")])
    for _ in range(2):
        running.engine.give_up("X", 2, 4, "not_at_venue")
    running.engine.give_up("Z", 2, 4, "not_at_venue")
    assert [(hole.symbol, hole.first_id) for hole in running.engine.holes()] == [("Y", 2)]
    rows = [row for row in running.rows()["coverage"] if row["state"] != "complete"]
    assert sorted((row["symbol"], row["state"], row["reason"]) for row in rows) == [
        ("X", "gap", "not_at_venue"),
        ("Y", "gap", "missing_ids"),
    ]


def candle(start: int, count: int) -> list[Any]:
    """A candle of a second, as REST has it."""
    return [start, "5", "9", "4", "7", "33", start + SECOND - 1, "99", count, "1", "3", "0"]


def klines(interval: str, *rows: list[Any]) -> Message:
    return Message(json.dumps(rows).encode(), f"/api/v3/klines?symbol=X&interval={interval}")


@pytest.mark.parametrize("compiled", KERNELS)
def test_windows_that_our_trades_do_not_cover_are_asked_for_and_stand_in_at_once(compiled: bool) -> None:
    running = Running(compiled=compiled)
    start = US + SECOND // 2
    running.feed([wire(10, start, 3), wire(11, US + 3 * SECOND, 3), wire(20, US + 100 * SECOND, 3)])
    wanted = running.engine.wanted_candles()
    assert ("X", "1s", US, US + SECOND) in wanted  # of the first window nobody knows whether it is whole
    assert all(end <= US + 99 * SECOND for _, _, _, end in wanted)
    assert not [one for one in wanted if one[1] == "1s" and one[2] > US]  # the hole is open, it may be filled
    running.engine.give_up("X", 12, 19, "not_at_venue")
    assert ("X", "1s", US + 3 * SECOND, US + 99 * SECOND) in running.engine.wanted_candles()
    running.feed([klines("1s", candle(US, 4), candle(US + 4 * SECOND, 2), candle(US + 3 * SECOND, 1))])
    running.engine.flush()
    assert not [one for one in running.engine.wanted_candles() if one[1:3] == ("1s", US)]
    by_start = {r["ts_start"]: r for r in running.rows()["candles"] if r["interval"] == "1s"}
    assert (by_start[US]["source"], by_start[US]["count"], by_start[US]["close"]) == ("venue", 4, "7")
    assert (by_start[US + 4 * SECOND]["source"], by_start[US + 4 * SECOND]["count"]) == ("venue", 2)
    assert (by_start[US + 3 * SECOND]["source"], by_start[US + 3 * SECOND]["close"]) == ("trades", "3.5")


@pytest.mark.parametrize("compiled", KERNELS)
def test_what_the_past_lacks_before_the_first_trade_is_asked_for(compiled: bool) -> None:
    running = Running(compiled=compiled)
    running.feed([klines("1s", candle(US - 9 * SECOND, 4), candle(US - 8 * SECOND, 4), candle(US - 7 * SECOND, 1))])
    running.feed([wire(10, US + SECOND // 2, 3), wire(11, US + 30 * SECOND, 3)])
    wanted = [one for one in running.engine.wanted_candles() if one[1] == "1s"]
    assert wanted == [("X", "1s", US - 7 * SECOND, US + SECOND)], "from the end of what is known; an open one is not"
    assert ("X", "1m", US // (60 * SECOND) * 60 * SECOND, US + SECOND) not in running.engine.wanted_candles()


@pytest.mark.parametrize("compiled", KERNELS)
def test_trades_that_come_later_win_again(compiled: bool) -> None:
    running = Running(compiled=compiled)
    running.feed([wire(1, US, 3), wire(5, US + 10 * SECOND, 3), wire(6, US + 20 * SECOND, 3)])
    running.feed([klines("1s", candle(US, 4), candle(US + 20 * SECOND, 9))])  # the last one is still open
    running.restart()
    running.feed([wire(n, US + n * 1000, 8) for n in (2, 3)])
    running.engine.flush()
    running.sink.names = running.engine.symbols
    rows = [json.loads(line) for line in running.sink.table("candles").json_lines()]
    assert [r["source"] for r in rows if r["interval"] == "1s" and r["ts_start"] == US] == ["venue"]
    running.feed([wire(4, US + 4000, 8)])
    (row,) = [r for r in running.rows()["candles"] if r["interval"] == "1s" and r["ts_start"] == US]
    assert (row["source"], row["count"], row["close"]) == ("trades", 4, "8.5")
    running.feed([wire(9, US + 60 * SECOND, 3)])
    rows = [r for r in running.rows()["candles"] if r["interval"] == "1s" and r["ts_start"] == US + 20 * SECOND]
    assert [(r["source"], r["closed"]) for r in rows] == [("trades", True)], "an open candle stands in nowhere"


@pytest.mark.parametrize("compiled", KERNELS)
@pytest.mark.parametrize("restarts", [False, True], ids=["going on", "restarted"])
@pytest.mark.parametrize("batch", [50, 10_000])
def test_of_many_windows_none_is_dropped_that_a_hole_may_change(compiled: bool, restarts: bool, batch: int) -> None:
    """So many that what lies beyond the horizon is really dropped where nothing holds it."""
    times = [US + n * SECOND + (120 * MINUTE if n >= 300 else 0) for n in range(600)]
    trades = [(n + 1, ts, 100 + n % 7) for n, ts in enumerate(times)]
    whole = Running(compiled=compiled)
    whole.feed([wire(*trade) for trade in trades])
    expected = whole.rows()
    running = Running(compiled=compiled)
    for piece in pieces([wire(*t) for t in trades if not 20 <= t[0] <= 25], [batch] * 20):
        running.feed(piece)
        running.engine.flush()
        if restarts:
            running.restart()
    running.feed([page([t for t in trades if 20 <= t[0] <= 25])])
    found = running.rows()
    assert values(found) == values(expected)
    assert not found["late"]
