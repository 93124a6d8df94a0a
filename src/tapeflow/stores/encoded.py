"""Rows that are JSON already, in the form in which a hub takes a batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol

from tapeflow.stores.numbers import Code


class Lines(Protocol):
    """Rows that can be given as JSON."""

    def json_lines(self) -> Iterator[bytes]:
        """One object a row."""
        ...


class Told(NamedTuple):
    """Rows as they came, and for each its series and its number in it (0 where rows have none)."""

    table: Lines
    codes: list[Code]
    numbers: list[int]


class _Rows(list[bytes]):
    def json_lines(self) -> Iterator[bytes]:
        return iter(self)


class Encoded:
    """Rows of several channels, in the order of their coming. ``names`` are those of the symbols that codes number."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._rows: dict[str, list[tuple[Code, int, bytes]]] = defaultdict(list)

    def add(self, channel: str, code: Code, number: int, row: bytes) -> None:
        """One more row."""
        self._rows[channel].append((code, number, row))

    def only(self, channels: Collection[str]) -> Encoded:
        """The rows of some channels."""
        made = Encoded(self.names)
        made._rows = defaultdict(list, {name: self._rows[name] for name in channels if name in self._rows})
        return made

    @property
    def size(self) -> int:
        """How many rows there are."""
        return sum(map(len, self._rows.values()))

    def series(self, channel: str) -> set[Code]:
        """The series that have rows here."""
        return {code for code, _, _ in self._rows.get(channel, ())}

    def in_order(self, channel: str, wanted: Collection[Code], *, newest: bool = False) -> Told | None:
        """The rows of some series, or the ``newest`` of each; None if there are none."""
        found = [row for row in self._rows.get(channel, ()) if row[0] in wanted]
        if newest:
            found = list({row[0]: row for row in found}.values())
        if not found:
            return None
        codes, numbers, rows = zip(*found, strict=True)
        return Told(_Rows(rows), list(codes), list(numbers))
