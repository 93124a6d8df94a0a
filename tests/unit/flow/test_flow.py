"""What a flow refuses, and what it says."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tapeflow import venues
from tapeflow.domain.candle import MeanFold
from tapeflow.domain.errors import SettingsError
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow import nodes
from tapeflow.flow.builder import Builder, Stream
from tapeflow.flow.catalogue import default
from tapeflow.stores.results import Results


def two_means(flow: Builder) -> None:
    flow.trades().moving_average("3s", "1s")
    flow.klines().moving_average("3s", "1s")
    flow.build()


def twice(trades: Stream) -> None:
    trades.fold(MeanFold(), window="1s", channel="a").fold(MeanFold(), window="1s", channel="a")


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
