"""The newest rows of each series, in memory: what a client that was away for a moment has missed."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection
from typing import Protocol, Self

from tapeflow.stores.channels import NUMBERED
from tapeflow.stores.encoded import Told
from tapeflow.stores.numbers import Code
from tapeflow.stores.results import Given

#: Rows kept in all; the oldest batches go first.
KEPT = 300_000


class Batch(Protocol):
    """Rows that were made together; ``names`` are those of the symbols that their codes number."""

    names: list[str]

    @property
    def size(self) -> int: ...

    def only(self, channels: Collection[str]) -> Self: ...

    def series(self, channel: str) -> set[Code]: ...

    def in_order(self, channel: str, wanted: Collection[Code], *, newest: bool = False) -> Given | Told | None: ...


class Ring:
    """Batches of rows, found again by their series."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._rows = 0
        self._batches: deque[tuple[Batch, list[tuple[str, Code]]]] = deque()
        self._of: dict[tuple[str, Code], deque[Batch]] = {}

    def add(self, batch: Batch) -> None:
        """Keep a batch, and drop old ones beyond the bound."""
        keys = [(channel, code) for channel in NUMBERED for code in batch.series(channel)]
        if not keys:
            return
        batch = batch.only(NUMBERED)  # quotes and books are asked for here by nobody, and may be far larger
        self._batches.append((batch, keys))
        self._rows += batch.size
        for key in keys:
            self._of.setdefault(key, deque()).append(batch)
        while self._rows > self._kept and len(self._batches) > 1:
            old, old_keys = self._batches.popleft()
            self._rows -= old.size
            for key in old_keys:
                held = self._of[key]
                held.popleft()
                if not held:
                    del self._of[key]

    def newest(self, channel: str, code: Code) -> int | None:
        """The number of the newest row of a series, None if none is here."""
        held = self._of.get((channel, code))
        return self._last(held[-1], channel, code) if held else None

    @staticmethod
    def _last(batch: Batch, channel: str, code: Code) -> int:
        """The number of the last row of a series in a batch that has some."""
        given = batch.in_order(channel, {code})
        return 0 if given is None else given.numbers[-1]

    def since(self, channel: str, code: Code, first: int, limit: int) -> list[tuple[int, bytes]]:
        """(number, row as JSON) of a series from number ``first`` on, as far as they are here."""
        held = list(self._of.get((channel, code), ()))
        found: list[tuple[int, bytes]] = []
        for batch in held[bisect_left(held, first, key=lambda batch: self._last(batch, channel, code)) :]:
            given = batch.in_order(channel, {code})
            if given is not None:
                rows = zip(given.numbers, given.table.json_lines(), strict=True)
                found += [row for row in rows if row[0] >= first]
            if len(found) >= limit:
                break
        return found[:limit]

    def last(self, channel: str, code: Code, count: int) -> list[tuple[int, bytes]]:
        """The newest ``count`` rows of a series, as far as they are here."""
        newest = self.newest(channel, code)
        return [] if newest is None or count < 1 else self.since(channel, code, newest - count + 1, count)
