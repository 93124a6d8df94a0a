"""A block of records as columns, as a reader gets it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tapeflow.tape.records import TEXT, Record

Column = npt.NDArray[Any]


class Block:
    """Records ``first .. first + len - 1`` of a tape, as columns.

    ``kinds`` (u1), ``ts_recv`` and ``mono`` (i8), ``connections`` (u2, into ``names``) and ``lines`` (`LINE`: where
    in ``buffer`` the body is, and the receive time) have an element per record.
    """

    __slots__ = ("_heads", "buffer", "connections", "first", "kinds", "lines", "mono", "names", "ts_recv")

    def __init__(
        self,
        first: int,
        names: list[str],
        buffer: bytes,
        kinds: Column,
        connections: Column,
        mono: Column,
        lines: Column,
        heads: Column | None,
    ) -> None:
        self.first = first
        self.names = names
        self.buffer = buffer
        self.kinds = kinds
        self.connections = connections
        self.mono = mono
        self.lines = lines
        self.ts_recv: Column = lines["ts_recv"]
        self._heads = heads

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def next(self) -> int:
        """The position after the last record."""
        return self.first + len(self.kinds)

    def head(self, i: int) -> str:
        if self._heads is None:
            return ""
        start, end = self._heads[i].tolist()
        return self.buffer[start:end].decode(*TEXT)

    def body(self, i: int) -> bytes:
        line = self.lines[i]
        return self.buffer[line["start"] : line["end"]]

    def record(self, i: int) -> Record:
        """Record ``i`` as it was appended."""
        name = self.names[self.connections[i]]
        return int(self.kinds[i]), name, int(self.ts_recv[i]), int(self.mono[i]), self.head(i), self.body(i)

    @property
    def head_sizes(self) -> Column:
        return np.zeros(len(self), np.int64) if self._heads is None else self._heads[:, 1] - self._heads[:, 0]

    @property
    def all_heads(self) -> memoryview:
        """The heads, one after the other."""
        return (
            memoryview(self.buffer)[0:0]
            if self._heads is None
            else self._between(self._heads[0, 0], self._heads[-1, 1])
        )

    @property
    def all_bodies(self) -> memoryview:
        """The bodies, one after the other."""
        return self._between(self.lines["start"][0], self.lines["end"][-1])

    def _between(self, start: int, end: int) -> memoryview:
        return memoryview(self.buffer)[start:end]

    def cut(self, start: int, stop: int) -> Block:
        """The records ``start .. stop - 1`` of it; nothing is copied."""
        at = slice(start, stop)
        return Block(
            self.first + start,
            self.names,
            self.buffer,
            self.kinds[at],
            self.connections[at],
            self.mono[at],
            self.lines[at],
            None if self._heads is None else self._heads[at],
        )
