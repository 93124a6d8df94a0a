"""The alerts of a run: its desk, and what the desk asks of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from tapeflow.api.alerts.desk import Bounds, Desk
from tapeflow.api.alerts.journal import Journal
from tapeflow.api.alerts.rulebook import Rulebook
from tapeflow.api.hub import Hub
from tapeflow.api.topics import Topic, Topics
from tapeflow.app.pipeline import Pipeline

if TYPE_CHECKING:
    from tapeflow.app.run import Run


class RunPresent:
    """A `tapeflow.api.alerts.desk.Present` over the pipeline of a run."""

    def __init__(self, pipeline: Pipeline, topics: Topics, known: Callable[[], Collection[str]]) -> None:
        self._pipeline = pipeline
        self._topics = topics
        self._known = known

    def is_live(self) -> bool:
        return self._pipeline.progress.is_live

    def find(self, asked: dict[str, Any]) -> list[Topic]:
        return self._topics.find(asked, self._known())

    def topic(self, asked: dict[str, Any]) -> Topic:
        return self._topics.find(asked, [asked["symbol"]])[0]

    def newest(self, symbol: str, stream: str) -> int | None:
        progress = self._pipeline.progress
        if stream == "any":
            return progress.watermarks.get(symbol)
        edge = progress.edges.get(symbol)
        return None if edge is None else edge[1]


def open_desk(run: Run, hub: Hub, topics: Topics, known: Callable[[], Collection[str]]) -> Desk:
    """The desk of a run's data folder; raises `SettingsError` where its files cannot be read."""
    settings, root = run.settings.alerts, run.folder.root
    bounds = Bounds(settings.allow_private, settings.apprise, settings.limit)
    return Desk(Rulebook(root), Journal(root), hub, RunPresent(run.pipeline, topics, known), bounds)
