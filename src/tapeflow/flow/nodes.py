"""The nodes of a flow: frozen values. A flow is data; engines compile it, `explain` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.fold import Fold
from tapeflow.domain.step import Step
from tapeflow.domain.time import HOUR, SECOND, span_text
from tapeflow.domain.window import Window

#: Kinds of events a flow can begin with, each a channel of its own.
SOURCES = ("trades", "quotes", "book", "klines", "tickers")


class Node(msgspec.Struct, frozen=True):
    """A node reads the node ``input`` names (a source's kind, or another node's ``id``) and fills ``channel``."""

    op: ClassVar[str] = "node"

    id: str
    input: str
    channel: str

    def describe(self) -> str:
        raise TypeError(f"{type(self).__name__} is no kind of node")


class Source(Node, frozen=True):
    """Events of one kind, as the venue's codec gives them."""

    op: ClassVar[str] = "source"

    def describe(self) -> str:
        return f"events of kind {self.input}"


class Candles(Node, frozen=True):
    """Fold: candles of one interval from trades."""

    op: ClassVar[str] = "fold"

    interval: str
    window: Window

    def describe(self) -> str:
        return f"candles of {self.interval}"


class Mean(Node, frozen=True):
    """Fold: the mean price over a sliding window, of trades or of the close of every kline push."""

    op: ClassVar[str] = "fold"

    window: Window

    def describe(self) -> str:
        of = "close of each push" if self.input.startswith("klines") else "price"
        return f"mean {of} over {span_text(self.window.size_us)} every {span_text(self.window.slide_us)}"


class CustomFold(Node, frozen=True):
    """Fold: one of the user's own, over trades in any windows."""

    op: ClassVar[str] = "fold"

    fold: Fold[Any, Any]
    window: Window

    def describe(self) -> str:
        w = self.window
        every = "" if w.is_tumbling else f" every {span_text(w.slide_us)}"
        since = " from Monday" if w.origin_us else ""
        return f"{self.fold.name} over {span_text(w.size_us)}{since}{every}"


class Indicator(Node, frozen=True):
    """Step: an indicator, or one of the user's own, over the closes of closed candles."""

    op: ClassVar[str] = "step"

    step: Step[float, Any]

    def describe(self) -> str:
        return f"{self.step.name} of close"


class BookTop(Node, frozen=True):
    """Step: the order book kept from snapshots and deltas; its best ``depth`` levels after each change."""

    op: ClassVar[str] = "step"

    depth: int

    def describe(self) -> str:
        return f"best {self.depth} levels of each side"


class LatestQuote(Node, frozen=True):
    """Fold: the newest quote of each symbol, by update id."""

    op: ClassVar[str] = "fold"

    def describe(self) -> str:
        return "newest by id"


#: What of a flow one engine takes: the kernel has room for so many windows, the code of a series for so many steps.
MOST_INTERVALS, MOST_MEANS, MOST_STEPS = 32, 16, 256


class Flow(msgspec.Struct, frozen=True):
    """A validated graph of nodes in topological order, and the rules of time they share.

    ``lateness_us``: how far the watermark stays behind the newest event. ``horizon_us``: how long a late trade still
    corrects its windows. ``range_limit``: ranges of ids kept for a symbol. ``symbol_limit``: symbols taken; a frame of
    one more is quarantined. So the state is bounded: by symbols, by ranges, and by the windows of one horizon.
    """

    name: str
    nodes: tuple[Node, ...]
    lateness_us: int = 2 * SECOND
    horizon_us: int = HOUR
    range_limit: int = 1 << 17
    symbol_limit: int = 1 << 16

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            if isinstance(node, Source):
                if node.input not in SOURCES:
                    raise SettingsError(f"flow {self.name}: no source {node.input!r}; there are {', '.join(SOURCES)}")
            elif node.input not in known:
                raise SettingsError(
                    f"flow {self.name}: {node.id} reads {node.input!r}, which is not before it; add that node first"
                )
            if node.id in known:
                raise SettingsError(f"flow {self.name}: two nodes are called {node.id!r}; a node is defined once")
            known.add(node.id)
        means = [(node.window.size_us, node.window.slide_us) for node in self.of(Mean)]
        if len(set(means)) != len(means):
            raise SettingsError(
                f"flow {self.name}: two moving averages have the same window and slide, and so the same rows; "
                "change one of them, or run two flows"
            )
        self._check_limits()
        if self.lateness_us < 0 or self.horizon_us <= 0:
            raise SettingsError(f"flow {self.name}: lateness must not be negative and the horizon must be positive")

    def _check_limits(self) -> None:
        means = [node for node in self.of(Mean) if node.input == "trades"]
        steps = [node.input for node in self.of(Indicator)]
        most = max((steps.count(one) for one in set(steps)), default=0)
        for what, count, limit in (
            ("intervals of candles", len(list(self.of(Candles))), MOST_INTERVALS),
            ("moving averages of trades", len(means), MOST_MEANS),
            ("indicators on one interval", most, MOST_STEPS),
        ):
            if count > limit:
                raise SettingsError(f"flow {self.name}: at most {limit} {what}, got {count}; run two flows")

    def of(self, kind: type[Node]) -> Iterator[Any]:
        """The nodes of one kind, in order."""
        return (node for node in self.nodes if isinstance(node, kind))

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels the flow fills, in order, each once."""
        return tuple(dict.fromkeys(node.channel for node in self.nodes if node.channel))

    def explain(self) -> str:
        """The flow as a tree, one node a line: what it computes, from what, into which channel."""
        head = [
            f"flow {self.name}: lateness {span_text(self.lateness_us) if self.lateness_us else '0'},"
            f" horizon {span_text(self.horizon_us)}"
        ]
        return "\n".join([*head, *self._branch("", None)])

    def _branch(self, indent: str, parent: str | None) -> Iterator[str]:
        children = [n for n in self.nodes if (isinstance(n, Source) if parent is None else self._reads(n, parent))]
        for i, node in enumerate(children):
            last = i == len(children) - 1
            into = f"  -> {node.channel}" if node.channel else ""
            yield f"{indent}{'└─' if last else '├─'} {node.op} {node.id}: {node.describe()}{into}"
            yield from self._branch(indent + ("   " if last else "│  "), node.id)

    @staticmethod
    def _reads(node: Node, parent: str) -> bool:
        return not isinstance(node, Source) and node.input == parent
