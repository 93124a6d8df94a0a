"""What a flow refuses, and what it says."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

import pytest

from tapeflow import venues
from tapeflow.domain.candle import MeanFold
from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import MONDAY
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.engine.kernels import COMPILED
from tapeflow.flow import nodes
from tapeflow.flow.builder import Builder, Stream
from tapeflow.flow.catalogue import default
from tapeflow.stores.results import Results
from tapeflow.testing.engines import run

needs_kernel = pytest.mark.skipif(COMPILED is None, reason="the kernel is not built")


def two_means(flow: Builder) -> None:
    flow.trades().moving_average("3s", "1s")
    flow.klines().moving_average("3s", "1s")
    flow.build()


def twice(trades: Stream) -> None:
    trades.fold(MeanFold(), window="1s", channel="a").fold(MeanFold(), window="1s", channel="a")


def means(trades: Stream, count: int) -> Stream:
    for n in range(1, count + 1):
        trades.moving_average(f"{n}s", "1s")
    return trades


def indicators(trades: Stream, count: int) -> Stream:
    candles = trades.candles("1s")
    for n in range(2, count + 2):
        candles.indicator(f"sma_{n}")
    return trades


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda flow: flow.build(), "no nodes"),
        (lambda flow: flow.trades().candles("1x"), "expected a span of time"),
        (lambda flow: flow.trades().candles("500ms"), "whole seconds from 1s to 1w"),
        (lambda flow: flow.trades().candles("2w"), "whole seconds from 1s to 1w"),
        (lambda flow: flow.trades().candles(), "at least one interval"),
        (lambda flow: flow.quotes().candles("1m"), "needs a stream of trades"),
        (lambda flow: flow.trades().candles("1m").indicator("magic_3"), "expected an indicator of"),
        (lambda flow: flow.trades().moving_average("3s", "100us"), "whole milliseconds"),
        (lambda flow: flow.book(0), "depth from 1 to 5000"),
        (two_means, "same window and slide"),
        (lambda flow: flow.trades().candles(*(f"{n}s" for n in range(1, 34))) and flow.build(), "at most 32 intervals"),
        (lambda flow: means(flow.trades(), 17) and flow.build(), "at most 16 moving averages of trades, got 17"),
        (lambda flow: indicators(flow.trades(), 257) and flow.build(), "at most 256 indicators on one interval"),
        (lambda flow: flow.trades().fold(MeanFold(), window="1s", channel="candles"), "channel of your own"),
        (lambda flow: flow.trades().fold(MeanFold(), window="1s", channel="../up"), "channel of your own"),
        (lambda flow: twice(flow.trades()), "two different nodes"),
    ],
)  # fmt: skip
def test_what_is_refused(build: Callable[[Builder], object], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        build(Builder("x"))


def test_the_same_again_is_no_fault() -> None:
    flow = Builder("x")
    flow.trades().candles("60s").indicator("rsi_14")
    flow.trades().candles("1m").indicator("rsi_14")
    assert [node.id for node in flow.build().nodes] == ["trades", "candles:1m", "candles:1m/rsi_14"]


def test_no_lateness_in_any_unit() -> None:
    for text in ("0", "0s", "0ms", "0h"):
        flow = Builder("x", lateness=text)
        flow.trades()
        assert flow.build().lateness_us == 0


def test_a_node_before_its_input_is_refused() -> None:
    with pytest.raises(SettingsError, match="not before it"):
        nodes.Flow("x", (nodes.LatestQuote("a", "quotes", "quotes.latest"),))
    with pytest.raises(SettingsError, match="no source"):
        nodes.Flow("x", (nodes.Source("a", "weather", "weather"),))


def test_every_node_explains_itself() -> None:
    text = default().explain()
    assert all(node.id in text for node in default().nodes)


def test_the_compiled_reader_reads_only_its_own_venue() -> None:
    """Another venue's frames can look the same: they go to that venue's codec."""

    class Other(type(venues.create("binance"))):  # type: ignore[misc]
        name = "other"
        has_compiled_reader = False

        def receive(self, frame: bytes, at: int | None = None, request: str | None = None) -> list[object]:
            return []

    frame = b'{"e":"trade","E":1700000000000,"s":"X","t":1,"p":"1.0","q":"1.0","T":1700000000000,"m":true,"M":true}'
    sink = Results(default(), "other", ("trades",), price_scale=8, size_scale=8)
    engine = Engine(default(), Other(), sink)
    engine.feed(Frames.of([(None, frame)]))
    engine.finish()
    assert engine.symbols == []


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_kernel)])
@pytest.mark.parametrize("intervals", [("1h", "1m"), ("1m", "3m", "1s"), ("7m", "5m"), ("1w", "1d", "3d")])
def test_intervals_may_be_named_in_any_order(intervals: tuple[str, ...], compiled: bool) -> None:
    """And one after the other: which of them are merged from which does not depend on it."""
    made, sorted_ = Builder("any"), Builder("any")
    for name in intervals:
        made.trades().candles(name).indicator("sma_2")
    sorted_.trades().candles(*intervals).indicator("sma_2")
    chance, ms, messages = random.Random(1), 1_700_000_000_000, []
    for id in range(1, 1500):
        ms += chance.randrange(60_000 if "1w" not in intervals else 3_000_000)
        at = ms - (chance.randrange(600_000) if chance.random() < 0.1 else 0)
        row = {"e": "trade", "E": at, "s": "A", "t": id, "p": f"{chance.randrange(90, 110)}", "q": "1", "T": at}
        messages.append((None, json.dumps(row | {"m": False, "M": True}).encode()))
    found, wanted = (run(messages, flow=one.build(), compiled=compiled) for one in (made, sorted_))
    assert {row["interval"] for row in wanted["candles"]} == set(intervals)
    for channel in ("candles", "indicators"):
        assert found[channel] == wanted[channel]


def test_whole_weeks_begin_on_monday_for_folds_of_ones_own_too() -> None:
    flow = Builder("weeks")
    trades = flow.trades()
    trades.candles("1w")
    trades.fold(MeanFold(), window="7d", channel="weekly").fold(MeanFold(), window="14d", channel="fortnights")
    windows = [node.window for node in flow.build().of(nodes.CustomFold)]
    assert [one.origin_us for one in windows] == [MONDAY, MONDAY]
    assert "over 1w from Monday" in flow.build().explain()
