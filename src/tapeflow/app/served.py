"""What a run is served by, as far as it is there from the start: the hub, and what it asks of the run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from tapeflow.api.hub import Hub
from tapeflow.api.stream import Streams
from tapeflow.api.topics import Topic, Topics
from tapeflow.app.live import RunLive
from tapeflow.app.pipeline import Pipeline

if TYPE_CHECKING:
    from tapeflow.api.server import Server
    from tapeflow.app.run import Run


class Served:
    """The hub is there before the first row is made, the server comes up beside the feed."""

    def __init__(self, run: Run) -> None:
        settings, pipeline = run.settings, run.pipeline
        self._run = run
        self.topics = Topics(run.flow, settings.venue)
        self.live = RunLive(pipeline, run.store, self.topics)
        self.hub = Hub(settings.venue, self.live, lambda topics: _watch(pipeline, topics))
        #: The clients, once there is a server.
        self.streams: Streams | None = None
        #: How the alerts are doing.
        self.alerts: Callable[[], dict[str, Any]] = dict

    def status(self) -> dict[str, int]:
        """How the stream is doing."""
        return {} if self.streams is None else self.streams.status()

    @staticmethod
    def load() -> Callable[[Run, Served], Server]:
        """What makes a server. To load it is a third of the time of a start, and capture does not wait for it."""
        from tapeflow.app.serve import server  # noqa: PLC0415 - see above

        return server

    def start(self) -> Server:
        """The server, started; raises `SettingsError` where keys are missing or the port is taken."""
        made = self.load()(self._run, self)
        made.start()
        return made


def _watch(pipeline: Pipeline, topics: Collection[Topic]) -> None:
    """Have the forming rows of these topics published; those of steps, of which there are many, only where wanted."""
    with_steps = {topic.symbol for topic in topics if topic.base == "indicators"}
    pipeline.watch({topic.symbol for topic in topics}, with_steps)
