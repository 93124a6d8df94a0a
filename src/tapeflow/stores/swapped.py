"""A sink whose rows are numbered, and taken away with each commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapeflow.engine.columns import BookRows, Rows
from tapeflow.engine.results import StepRow
from tapeflow.stores.channels import NUMBERED
from tapeflow.stores.numbers import Numbers, codes_of_steps, codes_of_values
from tapeflow.stores.results import Results


class SwappedResults:
    """Numbers an engine's results and passes them on to a `Results` that is taken away with each commit."""

    def __init__(self, new: Callable[[], Results]) -> None:
        self._new = new
        self.numbers = Numbers()
        self._results: Results | None = None

    @property
    def has_rows(self) -> bool:
        return self._results is not None

    def take(self, names: Sequence[str] = ()) -> Results:
        """What came since the last time; ``names`` are those of the symbols in it."""
        results, self._results = self._now(), None
        results.names = list(names)
        return results

    def _now(self) -> Results:
        if self._results is None:
            self._results = self._new()
        return self._results

    def columns(self, channel: str, rows: Rows) -> None:
        self._now().columns(channel, self.numbers.add(channel, rows) if channel in NUMBERED else rows)

    def books(self, rows: BookRows) -> None:
        self._now().books(rows)

    def steps(self, rows: list[StepRow]) -> None:
        self._now().steps(rows, self.numbers.number("indicators", codes_of_steps(rows)))

    def rows(self, channel: str, rows: list[dict[str, Any]]) -> None:
        if channel in NUMBERED:
            for row, seq in zip(rows, self.numbers.number(channel, codes_of_values(rows)), strict=True):
                row["seq"] = seq
        self._now().rows(channel, rows)

    def retract(self, symbol: str) -> None:
        self._now().retract(symbol)
