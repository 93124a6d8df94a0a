"""What a service of the stack is: what it needs, how it is prepared, its commands, how it is known to be ready."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from signal import Signals
from typing import Any, Protocol

import msgspec

#: The one address; nothing else than this machine can connect.
HOST = "127.0.0.1"

#: Told how many bytes of how many are there.
Progress = Callable[[int, int], None]


class Server(msgspec.Struct, frozen=True):
    """One process of a service: its ports by purpose (``client`` is for others) and, while it runs, its process.

    ``began`` is the start time of the process in ticks since boot: with it a pid means one process only.
    """

    name: str
    service: str
    number: int
    ports: dict[str, int]
    pid: int = 0
    began: int = 0


class Place(msgspec.Struct, frozen=True):
    """Where a stack keeps its data, and where what was fetched is kept for all stacks."""

    data: Path
    cache: Path

    def folder(self, name: str) -> Path:
        """What is a server's own; it stays when the server is stopped."""
        return self.data / name

    def scratch(self, name: str) -> Path:
        """An empty folder for what a server needs only while it runs: what one that was killed has left in it goes."""
        folder = self.folder(name).resolve() / "tmp"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def log(self, name: str) -> Path:
        """What a server says."""
        return self.data / "logs" / f"{name}.log"


class Compose(msgspec.Struct, frozen=True):
    """A service as containers: the entries of a Compose file, and the volumes that they keep."""

    services: dict[str, Any]
    volumes: tuple[str, ...]


class Service(Protocol):
    """A kind of server. ``peers`` are all servers of the service, in order, those that run and those that do not."""

    @property
    def name(self) -> str: ...

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many servers it may have; the first unless asked otherwise."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """What its servers are called where they are not alike; empty where they are."""
        ...

    @property
    def ports(self) -> tuple[str, ...]:
        """What its ports are for; ``client`` first."""
        ...

    @property
    def stop(self) -> Signals:
        """The signal that ends it in order."""
        ...

    def memory_mib(self, size: int) -> int:
        """What one of so many servers takes when it works."""
        ...

    def lacks(self, place: Place, peers: Sequence[Server]) -> Iterator[str]:
        """What is missing on this machine, each with what to do."""
        ...

    def missing_bytes(self, place: Place) -> int:
        """How much has to be fetched."""
        ...

    def fetch(self, place: Place, progress: Progress | None) -> None:
        """Have in the cache what it is made of, verified; raises `StackError`."""
        ...

    def prepare(self, place: Place, server: Server, peers: Sequence[Server]) -> None:
        """Write settings and, the first time, make the data folder; raises `StackError`."""
        ...

    def command(self, place: Place, server: Server, peers: Sequence[Server]) -> tuple[str, ...]:
        """What is run; it stays in the foreground."""
        ...

    def waits_for(self, server: Server, peers: Sequence[Server]) -> str:
        """Why it is not ready; empty if it is."""
        ...

    def variables(self, place: Place, peers: Sequence[Server]) -> Mapping[str, str]:
        """How clients find it: environment variables."""
        ...

    def compose(self, size: int) -> Compose:
        """The same as containers."""
        ...
