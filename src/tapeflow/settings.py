"""Settings: the only place that reads configuration files and the environment. Frozen values, unknown keys refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.flow.builder import Builder
from tapeflow.flow.catalogue import INDICATORS, INTERVALS
from tapeflow.flow.nodes import Flow


class MovingAverageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[moving_average]]``: a sliding mean."""

    window: str = "3s"
    slide: str = "500ms"
    source: Literal["trades", "klines"] = "trades"


class CandlesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[candles]``: intervals, and the indicators on each of them."""

    intervals: tuple[str, ...] = INTERVALS
    indicators: tuple[str, ...] = INDICATORS


class BookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[book]``: how many levels of each side a row has."""

    depth: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 20


class FlowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flow file. A part that is left out is not computed; ``[candles]`` alone has the contract's defaults."""

    name: str = "flow"
    lateness: str = "2s"
    horizon: str = "1h"
    candles: CandlesSettings | None = None
    moving_average: tuple[MovingAverageSettings, ...] = ()
    book: BookSettings | None = None
    trades: bool = True
    quotes: bool = False
    latest_quotes: bool = False
    klines: bool = False
    tickers: bool = False

    def flow(self) -> Flow:
        """The flow, validated; raises `SettingsError`."""
        flow = Builder(self.name, lateness=self.lateness, horizon=self.horizon)
        if self.trades:
            flow.trades()
        if self.candles is not None:
            candles = flow.trades().candles(*self.candles.intervals)
            for indicator in self.candles.indicators:
                candles.indicator(indicator)
        for mean in self.moving_average:
            (flow.klines() if mean.source == "klines" else flow.trades()).moving_average(mean.window, mean.slide)
        if self.quotes:
            flow.quotes()
        if self.latest_quotes:
            flow.quotes().latest()
        if self.book is not None:
            flow.book(self.book.depth)
        if self.klines:
            flow.klines()
        if self.tickers:
            flow.tickers()
        return flow.build()


def load_flow(path: Path) -> Flow:
    """The flow of a TOML file; raises `SettingsError` that says where and what is wrong."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; give the path of a flow file") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: expected UTF-8 text: {error}") from error
    try:
        return msgspec.convert(tomllib.loads(text), FlowSettings).flow()
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}; docs/reference/flow-file.md has every key") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
