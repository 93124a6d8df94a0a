"""The alerts of a run or a gateway: its desk, and what the desk asks of the present."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from tapeflow.api.alerts.desk import Bounds, Desk, Present
from tapeflow.api.alerts.journal import Journal
from tapeflow.api.alerts.rulebook import Rulebook
from tapeflow.api.hub import Hub
from tapeflow.api.topics import Topic, Topics
from tapeflow.app.pipeline import Pipeline
from tapeflow.settings import RunSettings

if TYPE_CHECKING:
    from tapeflow.app.gateway import Gateway


class _Topics:
    """The topics that rules are judged by, of symbols that are ``known``."""

    def __init__(self, topics: Topics, known: Callable[[], Collection[str]]) -> None:
        self._topics = topics
        self._known = known

    def find(self, asked: dict[str, Any]) -> list[Topic]:
        return self._topics.find(asked, self._known())

    def topic(self, asked: dict[str, Any]) -> Topic:
        return self._topics.find(asked, [asked["symbol"]])[0]


class RunPresent(_Topics):
    """A `tapeflow.api.alerts.desk.Present` over the pipeline of a run."""

    def __init__(self, pipeline: Pipeline, topics: Topics, known: Callable[[], Collection[str]]) -> None:
        super().__init__(topics, known)
        self._pipeline = pipeline

    def is_live(self) -> bool:
        return self._pipeline.progress.is_live

    def newest(self, symbol: str, stream: str) -> int | None:
        progress = self._pipeline.progress
        if stream == "any":
            return progress.watermarks.get(symbol)
        edge = progress.edges.get(symbol)
        return None if edge is None else edge[1]


class GatewayPresent(_Topics):
    """A `tapeflow.api.alerts.desk.Present` over the topics that a gateway follows."""

    def __init__(self, gateway: Gateway, known: Callable[[], Collection[str]]) -> None:
        super().__init__(gateway.topics, known)
        self._gateway = gateway

    def is_live(self) -> bool:
        return self._gateway.is_live.is_set()

    def newest(self, symbol: str, stream: str) -> int | None:
        present = self._gateway.present
        if stream != "any":
            return present.traded.get(symbol)
        return max((found[symbol] for found in (present.watermarks, present.heard) if symbol in found), default=None)


def open_desk(settings: RunSettings, hub: Hub, present: Present) -> Desk:
    """The desk of a data folder; raises `SettingsError` where its files cannot be read."""
    alerts = settings.alerts
    bounds = Bounds(alerts.allow_private, alerts.apprise, alerts.limit)
    return Desk(Rulebook(settings.data), Journal(settings.data), hub, present, bounds)
