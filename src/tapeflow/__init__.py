"""Tapeflow: exact live market analytics.

>>> import tapeflow as tf
>>> done = tf.replay(["trades.ndjson.gz"], channels=["candles"], intervals=["1m"])  # doctest: +SKIP
>>> done.polars("candles")  # doctest: +SKIP

Names are imported when they are first used, so that ``import tapeflow`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapeflow._version import version as version
    from tapeflow.app.replay import Replay as Replay
    from tapeflow.app.replay import Summary as Summary
    from tapeflow.app.replay import replay as replay
    from tapeflow.client.channel import Channel as Channel
    from tapeflow.client.channel import MissedRows as MissedRows
    from tapeflow.client.connect import Client as Client
    from tapeflow.client.connect import connect as connect
    from tapeflow.client.history import History as History
    from tapeflow.domain.candle import StampedTrade as StampedTrade
    from tapeflow.domain.errors import InputError as InputError
    from tapeflow.domain.errors import OutputError as OutputError
    from tapeflow.domain.errors import SettingsError as SettingsError
    from tapeflow.domain.errors import SnapshotError as SnapshotError
    from tapeflow.domain.errors import TapeflowError as TapeflowError
    from tapeflow.domain.fold import Fold as Fold
    from tapeflow.domain.step import Step as Step
    from tapeflow.engine.embedded import Engine as Engine
    from tapeflow.engine.frames import Frames as Frames
    from tapeflow.flow.builder import Builder as Builder
    from tapeflow.flow.catalogue import default as default_flow  # noqa: F401
    from tapeflow.flow.nodes import Flow as Flow
    from tapeflow.indicators import create as indicator  # noqa: F401
    from tapeflow.settings import load_flow as load_flow

_HOMES = {
    "version": "_version",
    "connect": "client.connect",
    "Client": "client.connect",
    "Channel": "client.channel",
    "MissedRows": "client.channel",
    "History": "client.history",
    "Replay": "app.replay",
    "Summary": "app.replay",
    "replay": "app.replay",
    "StampedTrade": "domain.candle",
    "InputError": "domain.errors",
    "OutputError": "domain.errors",
    "SettingsError": "domain.errors",
    "SnapshotError": "domain.errors",
    "TapeflowError": "domain.errors",
    "Fold": "domain.fold",
    "Step": "domain.step",
    "Engine": "engine.embedded",
    "Frames": "engine.frames",
    "Builder": "flow.builder",
    "default_flow": "flow.catalogue:default",
    "Flow": "flow.nodes",
    "indicator": "indicators:create",
    "load_flow": "settings",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"tapeflow has no {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = home.partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute or name)


def __dir__() -> list[str]:
    return list(__all__)
