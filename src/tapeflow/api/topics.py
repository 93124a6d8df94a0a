"""Topics, which can be followed: each is one series of a channel, such as a symbol's candles of one interval."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from tapeflow.flow.nodes import Candles, Flow, Indicator, Mean
from tapeflow.stores.numbers import Code, code_of, codes_of_values

FORMING = ".forming"

#: Every row reaches a client once and in order, or the client is told that it does not.
LOSSLESS = ("trades", "candles", "moving_average", "indicators", "signals", "anomalies", "coverage")
#: Only the newest value matters; what a slow client cannot take is left out, and counted.
LATEST = ("quotes", "book", "tickers", "candles.forming", "moving_average.forming", "indicators.forming")


class Refusal(Exception):
    """A request of a client that cannot be met; ``code`` is for programs, the text says what to do."""

    def __init__(self, code: str, message: str, nearest: Collection[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.nearest = list(nearest)


class Topic(msgspec.Struct, frozen=True):
    """One series. ``params`` are the key fields beside venue and symbol; fold and step its place in the flow."""

    channel: str
    symbol: str
    params: tuple[tuple[str, str | int], ...] = ()
    fold: int = 0
    step: int = 0
    by_text: bool = False

    @property
    def base(self) -> str:
        """The channel whose rows these are: without ``.forming``."""
        return self.channel.removesuffix(FORMING)

    @property
    def part(self) -> str:
        """What tells it from others of its channel and symbol, as ``resume`` names it: a name, or ``3000/500``."""
        return "/".join(str(value) for name, value in self.params if name != "interval")

    @property
    def is_lossless(self) -> bool:
        return self.channel in LOSSLESS

    def code(self, number: int) -> Code:
        """The series among the rows of a batch in which the symbol has this number."""
        if self.by_text or self.base == "tickers":
            return codes_of_values([{"symbol": self.symbol, **dict(self.params)}])[0]
        return code_of(number, self.fold, self.step)


class Topics:
    """The topics of a flow."""

    def __init__(self, flow: Flow, venue: str) -> None:
        self.venue = venue
        candles: list[Candles] = list(flow.of(Candles))
        self.channels = tuple(name for name in (*LOSSLESS, *LATEST) if _is_made(name, flow))
        self._folds = {node.interval: fold for fold, node in enumerate(candles)}
        self._steps = {
            node.interval: [step.step.name for step in flow.of(Indicator) if step.input == node.id] for node in candles
        }
        self._means: dict[tuple[int, int], tuple[int, bool]] = {}
        for source, by_text in (("trades", False), ("klines", True)):
            for fold, mean in enumerate(node for node in flow.of(Mean) if node.input == source):
                size = (mean.window.size_us // 1000, mean.window.slide_us // 1000)
                self._means.setdefault(size, (fold, by_text))

    @property
    def intervals(self) -> tuple[str, ...]:
        """The intervals of candles."""
        return tuple(self._folds)

    def code_of_row(self, channel: str, row: Mapping[str, Any], number: int) -> Code | None:
        """The series of a row as objects have it, where its symbol has this number; None if no topic has such rows."""
        match channel:
            case "candles":
                fold = self._folds.get(row["interval"])
                return None if fold is None else code_of(number, fold)
            case "indicators":
                fold, names = self._folds.get(row["interval"]), self._steps.get(row["interval"], [])
                return (
                    None
                    if fold is None or row["name"] not in names
                    else code_of(number, fold, names.index(row["name"]))
                )
            case "moving_average":
                mean, by_text = self._means.get((row["window_ms"], row["slide_ms"]), (None, False))
                if mean is None:
                    return None
                return codes_of_values([dict(row)])[0] if by_text else code_of(number, mean)
            case "tickers":
                return codes_of_values([dict(row)])[0]
            case _:
                return code_of(number)

    def find(self, asked: dict[str, Any], known: Collection[str]) -> list[Topic]:
        """The topics that the params of a request mean, of symbols that are ``known``; raises `Refusal`."""
        channel = asked.get("channel")
        if channel not in self.channels:
            nearest = difflib.get_close_matches(str(channel), self.channels, 3, 0.4)
            raise Refusal("unknown_channel", f"no channel {channel!r}; there are {', '.join(self.channels)}", nearest)
        if asked.get("venue", self.venue) != self.venue:
            raise Refusal("unknown_venue", f"no venue {asked['venue']!r} here; there is {self.venue}", [self.venue])
        symbols = _symbols(asked, known)
        extra = set(asked) - {"channel", "venue", "symbol", "symbols", *_FIELDS.get(channel.removesuffix(FORMING), ())}
        if extra:
            raise Refusal("bad_request", f"params of {channel} are not {', '.join(sorted(extra))}")
        shapes = list(self._shapes(channel, asked))
        return [
            Topic(channel, symbol, params, fold, step, by_text)
            for symbol in symbols
            for params, fold, step, by_text in shapes
        ]

    def _shapes(
        self, channel: str, asked: dict[str, Any]
    ) -> Iterable[tuple[tuple[tuple[str, str | int], ...], int, int, bool]]:
        match channel.removesuffix(FORMING):
            case "candles":
                for interval in self._intervals(asked):
                    yield (("interval", interval),), self._folds[interval], 0, False
            case "indicators":
                for interval in self._intervals(asked):
                    for name in self._names(interval, asked):
                        params = (("interval", interval), ("name", name))
                        yield params, self._folds[interval], self._steps[interval].index(name), False
            case "moving_average":
                for size in self._sizes(asked):
                    fold, by_text = self._means[size]
                    yield (("window_ms", size[0]), ("slide_ms", size[1])), fold, 0, by_text
            case _:
                yield (), 0, 0, False

    def _intervals(self, asked: dict[str, Any]) -> list[str]:
        interval = asked.get("interval")
        if interval is None:
            raise Refusal("bad_request", f"give an interval: one of {', '.join(self._folds)}", list(self._folds))
        if not isinstance(interval, str) or interval not in self._folds:
            nearest = difflib.get_close_matches(str(interval), self._folds, 3, 0.3)
            raise Refusal("unknown_interval", f"no interval {interval!r}; there are {', '.join(self._folds)}", nearest)
        return [interval]

    def _names(self, interval: str, asked: dict[str, Any]) -> list[str]:
        names, name = self._steps[interval], asked.get("name")
        if name is not None and name not in names:
            nearest = difflib.get_close_matches(str(name), names, 3, 0.3)
            raise Refusal("unknown_indicator", f"no indicator {name!r}; there are {', '.join(names)}", nearest)
        return names if name is None else [name]

    def _sizes(self, asked: dict[str, Any]) -> list[tuple[int, int]]:
        found = [
            size
            for size in self._means
            if asked.get("window_ms", size[0]) == size[0] and asked.get("slide_ms", size[1]) == size[1]
        ]
        if not found:
            there = ", ".join(f"{window}/{slide}" for window, slide in self._means)
            raise Refusal("unknown_window", f"no such moving average; there are (window_ms/slide_ms) {there}")
        return found


_FIELDS = {
    "candles": ("interval",),
    "indicators": ("interval", "name"),
    "moving_average": ("window_ms", "slide_ms"),
}


def _is_made(channel: str, flow: Flow) -> bool:
    return channel.removesuffix(FORMING) in {*flow.channels, "coverage"}


def _symbols(asked: dict[str, Any], known: Collection[str]) -> list[str]:
    names = asked.get("symbols", [asked["symbol"]] if "symbol" in asked else None)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise Refusal("bad_request", 'give symbols as a list of names, such as ["BTCUSDT"], or ["*"] for all')
    if names == ["*"]:
        return sorted(known)
    by_upper = {name.upper(): name for name in known}
    for name in names:
        if name.upper() not in by_upper:
            nearest = difflib.get_close_matches(name.upper(), by_upper, 3, 0.5)
            raise Refusal("unknown_symbol", f"{name!r} is not followed; see /v1/symbols", nearest)
    return list(dict.fromkeys(by_upper[name.upper()] for name in names))
