"""The holes in an engine's trades: which are open, which were given up and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tapeflow.domain.events import Gap
from tapeflow.engine import columns
from tapeflow.engine.columns import Rows
from tapeflow.engine.coverage import trade_gaps

#: First and last id of what was given up, and why.
GivenUp = tuple[int, int, str]


class Holes:
    """Symbols are numbers, as in the ``intake`` whose ranges of ids say what is missing."""

    def __init__(self, intake: Any, name_of: Callable[[int], str]) -> None:
        self._intake = intake
        self._name_of = name_of
        self._given_up: dict[int, list[GivenUp]] = {}

    def ranges(self, number: int) -> Rows:
        """The ranges of ids that were seen."""
        return columns.rows(self._intake.ranges(number), columns.RANGE)

    def open(self, number: int) -> list[Gap]:
        """Those that are neither filled nor given up."""
        return [gap for gap in self._gaps(number) if self.reason(number, gap) is None]

    def give_up(self, number: int, first_id: int, last_id: int, reason: str) -> None:
        """The trades ``first_id..last_id`` cannot be had: what the hole kept is let go."""
        self._intake.give_up(number, first_id, last_id)
        self._given_up.setdefault(number, []).append((first_id, last_id, reason))

    def reason(self, number: int, gap: Gap) -> str | None:
        """Why a hole was given up, None if it was not."""
        if gap.first_id is None or gap.last_id is None:
            return None
        for first_id, last_id, reason in reversed(self._given_up.get(number, [])):
            if first_id <= gap.first_id <= gap.last_id <= last_id:
                return reason
        return None

    def for_ever(self, number: int) -> list[tuple[int, int]]:
        """Start and end of the times whose trades will not come: that of the first trade, then those given up."""
        ranges = self.ranges(number)
        if not len(ranges):
            return []
        first = int(ranges["ts_lo"][0])
        given_up = [gap for gap in self._gaps(number) if self.reason(number, gap) is not None]
        return [(first, first), *((gap.ts_start or first, gap.ts_end or first) for gap in given_up)]

    def _gaps(self, number: int) -> list[Gap]:
        ranges = self.ranges(number)
        return trade_gaps(self._name_of(number), ranges) if len(ranges) > 1 else []

    def forget(self, number: int) -> None:
        """Begin anew with a symbol."""
        self._given_up.pop(number, None)

    def state(self) -> list[tuple[int, list[GivenUp]]]:
        """The state as a value."""
        return list(self._given_up.items())

    def restore(self, state: Iterable[tuple[int, Iterable[GivenUp]]]) -> None:
        self._given_up = {number: [(lo, hi, why) for lo, hi, why in given] for number, given in state}
