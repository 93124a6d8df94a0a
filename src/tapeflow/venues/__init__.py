"""Codecs of venues, without I/O: frames in, events and actions out. One folder each, found by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Protocol, cast

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.events import Output


class Venue(Protocol):
    """A codec. It owns no socket and no clock: time is an argument, and all it knows is a value."""

    name: str
    price_scale: int
    size_scale: int
    #: How long after an event its frame usually comes.
    usual_delay_us: int
    #: True if the compiled reader knows this venue's frames: it would read another's as if they were of this one.
    has_compiled_reader: bool

    #: Set by an engine that applies the deltas of live books itself: id and time of the last one, or None.
    position: Callable[[str], tuple[int, int | None] | None]

    @property
    def unknown_fields(self) -> int:
        """Fields not in the venue's documentation, ignored so far."""
        ...

    def receive(self, frame: bytes, at: int | None = None, request: str | None = None) -> list[Output]:
        """What a frame (or the answer to ``request``) gives: events, actions, or a `Quarantine` with the reason."""
        ...

    def on_time(self, at: int) -> list[Output]:
        """What the passing of time gives."""
        ...

    def followed(self, message: bytes) -> tuple[list[tuple[str, str, str]], list[str]]:
        """What a message of ours asks for, as (name of the stream, channel, symbol), and the names it gives up."""
        ...

    def snapshot(self) -> bytes: ...

    def restore(self, snapshot: bytes) -> None: ...


def names() -> list[str]:
    """The venues there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def create(name: str) -> Venue:
    """The codec of a venue; raises `SettingsError`."""
    if name not in names():
        raise SettingsError(f"no venue {name!r}; there are {', '.join(names())}")
    return cast("Venue", importlib.import_module(f"{__name__}.{name}").VENUE())
