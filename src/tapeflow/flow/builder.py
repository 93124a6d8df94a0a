"""Building a flow in Python: `Builder` methods add nodes and give handles to go on from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.fold import Fold
from tapeflow.domain.step import Step
from tapeflow.domain.time import parse_span, span_text
from tapeflow.domain.window import interval_name, sliding, touching, tumbling
from tapeflow.flow import nodes
from tapeflow.indicators import parse as parse_indicator

_ZERO = re.compile(r"0+(us|ms|s|m|h|d|w)?", re.ASCII)
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)

#: Channels with a meaning of their own.
_TAKEN = frozenset(
    ("trades", "quotes", "book", "tickers", "klines", "candles", "moving_average", "indicators")
    + ("signals", "anomalies", "coverage", "late", "quarantine")
)


class Builder:
    """A flow in the making.

    >>> flow = Builder("mine", lateness="1s")
    >>> candles = flow.trades().candles("1m", "1h")
    >>> candles.indicator("rsi_14").indicator("sma_20")  # doctest: +ELLIPSIS
    <tapeflow.flow.builder.Series object at ...>
    >>> print(flow.build().explain())  # doctest: +NORMALIZE_WHITESPACE
    flow mine: lateness 1s, horizon 1h
    └─ source trades: events of kind trades  -> trades
       ├─ fold candles:1m: candles of 1m  -> candles
       │  ├─ step candles:1m/rsi_14: rsi_14 of close  -> indicators
       │  └─ step candles:1m/sma_20: sma_20 of close  -> indicators
       └─ fold candles:1h: candles of 1h  -> candles
          ├─ step candles:1h/rsi_14: rsi_14 of close  -> indicators
          └─ step candles:1h/sma_20: sma_20 of close  -> indicators
    """

    def __init__(self, name: str = "flow", *, lateness: str = "2s", horizon: str = "1h") -> None:
        self._name = name
        self._lateness_us = 0 if _ZERO.fullmatch(lateness.strip()) else parse_span(lateness)
        self._horizon_us = parse_span(horizon)
        self._nodes: dict[str, nodes.Node] = {}

    def trades(self) -> Stream:
        return self._source("trades")

    def quotes(self) -> Stream:
        return self._source("quotes")

    def klines(self) -> Stream:
        return self._source("klines")

    def tickers(self) -> Stream:
        return self._source("tickers")

    def book(self, depth: int = 20) -> Builder:
        """The best ``depth`` levels after each change of the book."""
        if not 1 <= depth <= 5000:
            raise SettingsError(f"expected a depth from 1 to 5000, got {depth}")
        if "book" not in self._nodes:
            self._nodes["book"] = nodes.Source("book", "book", "")
        self.add(nodes.BookTop(f"book:{depth}", "book", "book", depth))
        return self

    def _source(self, kind: str) -> Stream:
        if kind not in self._nodes:
            self._nodes[kind] = nodes.Source(kind, kind, kind)
        return Stream(self, kind)

    def add(self, node: nodes.Node) -> str:
        """Add a node; one that is there already stays as it is."""
        known = self._nodes.setdefault(node.id, node)
        if known != node:
            raise SettingsError(f"flow {self._name}: two different nodes are called {node.id!r}; give one another name")
        return node.id

    def build(self) -> nodes.Flow:
        """The flow, validated; raises `SettingsError`."""
        if not self._nodes:
            raise SettingsError(
                f"flow {self._name} has no nodes; begin with .trades(), .quotes(), .book() or .klines()"
            )
        return nodes.Flow(self._name, tuple(self._nodes.values()), self._lateness_us, self._horizon_us)


class Stream:
    """Events of one kind."""

    def __init__(self, builder: Builder, kind: str) -> None:
        self._builder = builder
        self._kind = kind

    def candles(self, *intervals: str) -> Series:
        """Candles of each interval, whole seconds from ``1s`` to ``1w``; longer ones are merged from shorter."""
        self._only("trades", "candles")
        if not intervals:
            raise SettingsError("expected at least one interval such as 1m")
        names = sorted({interval_name(text) for text in intervals}, key=parse_span)
        for name in names:
            self._builder.add(nodes.Candles(f"candles:{name}", "trades", "candles", name, tumbling(name)))
        return Series(self._builder, [f"candles:{name}" for name in names])

    def moving_average(self, window: str | int = "3s", slide: str | int = "500ms") -> Stream:
        """The mean price (of klines: the mean close of every push) over ``window``, every ``slide``."""
        self._only("trades", "moving_average", also="klines")
        family = sliding(window, slide)
        name = f"moving_average:{span_text(family.size_us)}/{span_text(family.slide_us)}"
        if self._kind == "klines":
            name += ":klines"
        self._builder.add(nodes.Mean(name, self._kind, "moving_average", family))
        return self

    def fold(self, fold: Fold[Any, Any], *, window: str | int, slide: str | int | None = None, channel: str) -> Stream:
        """A fold of your own over `StampedTrade` events; its rows go to ``channel``."""
        self._only("trades", "a fold of your own")
        if not _CHANNEL.fullmatch(channel) or channel.split(".", maxsplit=1)[0] in _TAKEN:
            raise SettingsError(
                f"expected a channel of your own, of small letters, digits and underscores, got {channel!r}; "
                f"taken are {', '.join(sorted(_TAKEN))}"
            )
        family = sliding(window, window if slide is None else slide)
        if family.is_tumbling:
            family = touching(family.size_us)
        name = f"{channel}:{fold.name}:{span_text(family.size_us)}/{span_text(family.slide_us)}"
        self._builder.add(nodes.CustomFold(name, "trades", channel, fold, family))
        return self

    def latest(self) -> Stream:
        """The newest quote of each symbol."""
        self._only("quotes", "latest")
        self._builder.add(nodes.LatestQuote("quotes:latest", "quotes", "quotes.latest"))
        return self

    def _only(self, kind: str, what: str, also: str = "") -> None:
        if self._kind not in (kind, also):
            raise SettingsError(f"{what} needs a stream of {kind}, not of {self._kind}; write flow.{kind}()")


class Series:
    """Candles of some intervals."""

    def __init__(self, builder: Builder, ids: Sequence[str]) -> None:
        self._builder = builder
        self._ids = ids

    def indicator(self, step: str | Step[float, Any]) -> Series:
        """An indicator by name (``rsi_14``, ``macd_12_26_9``), or a Step of your own, on each interval."""
        made = parse_indicator(step) if isinstance(step, str) else step
        for id in self._ids:
            self._builder.add(nodes.Indicator(f"{id}/{made.name}", id, "indicators", made))
        return self
