"""The journal of a data folder: events that fired and what became of them, and how far each rule has seen.

A file of JSON lines that is only added to. An event stands in it, on disk, together with the state after it, before
anybody is told: whatever ends the process, it fired once and will be told. A torn last line never counted. The file is
written anew when it has grown; it keeps the newest `KEPT` events.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from tapeflow.api import private
from tapeflow.api.alerts.watch import State
from tapeflow.domain.errors import SettingsError

FILE = "alerts.journal"
#: Events kept.
KEPT = 10_000
#: Bytes added before the file is written anew.
GROWTH = 8 << 20

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What fired. ``id`` is made of the rule, the topic and the row; ``ts`` is the row's, ``ts_fired`` our clock's."""

    id: str
    rule: str
    ts: int
    symbol: str
    value: str | float | None
    level: str | None
    text: str
    name: str = ""
    ts_fired: int = 0
    test: bool = False

    def body(self) -> bytes:
        """What a webhook is sent: the same bytes at every attempt."""
        row: dict[str, Any] = {"id": self.id, "rule": self.rule, "ts": self.ts, "symbol": self.symbol}
        row |= {"value": self.value, "level": self.level, "text": self.text, "name": self.name}
        return _encode(row | ({"test": True} if self.test else {}))


class Delivery(msgspec.Struct, omit_defaults=True):
    """What became of an event at a target."""

    state: Literal["waiting", "delivered", "failed"] = "waiting"
    attempts: int = 0
    last_error: str = ""
    ts: int = 0


class Entry(msgspec.Struct):
    """An event and its deliveries by the names of the targets."""

    event: Event
    deliveries: dict[str, Delivery]


class Line(msgspec.Struct, omit_defaults=True):
    """A line: any of an event that fired, what became of one, and states; null takes one away."""

    fired: tuple[Entry, ...] = ()
    told: tuple[tuple[str, str, Delivery], ...] = ()
    cursors: dict[str, str | None] = {}
    states: dict[str, State | None] = {}


class Journal:
    """See the module. `write` and `renew` take their time, in a thread. Raises `SettingsError` if it is damaged."""

    def __init__(self, data: str | Path) -> None:
        self.path = Path(data) / FILE
        self.entries: dict[str, Entry] = {}
        self.cursors: dict[str, str] = {}
        self.states: dict[str, State] = {}
        self._file: FileIO | None = None
        self._busy = threading.Lock()
        self._size = self._read()
        self.trim()  # what was dropped stands in the file until that is written anew
        self._base = 0  # what earlier lives have added counts too, or a file that is opened often only grows

    def _read(self) -> int:
        """Take in every whole line; how many bytes these are."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror}; run as the user that made it") from error
        decode, size = msgspec.json.Decoder(Line).decode, 0
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            try:
                self.take(decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if content[size + len(line) :].strip():
                    raise SettingsError(f"{self.path}, line {number}: {error}; put it back, or remove it") from error
                break
            size += len(line)
        return size

    def take(self, line: Line) -> None:
        """Let a line count."""
        for entry in line.fired:
            self.entries[entry.event.id] = entry
        for id, target, delivery in line.told:
            if id in self.entries:
                self.entries[id].deliveries[target] = delivery
        _merge(self.cursors, line.cursors)
        _merge(self.states, line.states)

    def trim(self) -> list[tuple[str, str, Delivery]]:
        """Drop the oldest events beyond the bound; what waited of them has failed."""
        lost = []
        while len(self.entries) > KEPT:
            entry = self.entries.pop(next(iter(self.entries)))
            lost += [(entry.event.id, name, one) for name, one in entry.deliveries.items() if one.state == "waiting"]
        return lost

    @property
    def is_grown(self) -> bool:
        return self._size - self._base > GROWTH

    def whole(self) -> bytes:
        """All of it as a new file."""
        lines = [Line(cursors=dict(self.cursors), states=dict(self.states))]
        lines += [Line(fired=(entry,)) for entry in self.entries.values()]
        return b"".join(_encode(line) + b"\n" for line in lines)

    def write(self, line: bytes, *, sync: bool) -> None:
        """Add a line; raises `OSError`, and then it is not there."""
        with self._busy:
            file, added = self._open(), memoryview(line + b"\n")
            try:
                while added:
                    added = added[file.write(added) :]
                if sync:
                    os.fsync(file.fileno())
            except OSError:
                self._file = None
                file.close()  # the next attempt cuts off what was written of it
                raise
            self._size += len(line) + 1

    def renew(self, content: bytes) -> None:
        """Put a new file in place of the old one; raises `OSError`, and then the old one is there."""
        with self._busy:
            self._shut()  # what is added from now on belongs in the new one
            private.write(self.path, content)
            self._size = self._base = len(content)

    def close(self) -> None:
        with self._busy:
            self._shut()

    def _open(self) -> FileIO:
        if self._file is None:
            self._file = FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
            self._file.truncate(self._size)
            self._file.seek(self._size)
        return self._file

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _merge(into: dict[str, T], changed: Mapping[str, T | None]) -> None:
    for name, value in changed.items():
        if value is None:
            into.pop(name, None)
        else:
            into[name] = value


def encoded(line: Line) -> bytes:
    """A line as it is written."""
    return _encode(line)
