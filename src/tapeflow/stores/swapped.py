"""A sink whose rows are taken away with each commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapeflow.engine.columns import BookRows, Rows
from tapeflow.engine.results import StepRow
from tapeflow.stores.results import Results


class SwappedResults:
    """Passes an engine's results on to a `Results` that is taken away, row by row, with each commit."""

    def __init__(self, new: Callable[[], Results]) -> None:
        self._new = new
        self._results: Results | None = None

    @property
    def has_rows(self) -> bool:
        return self._results is not None

    def take(self, names: Sequence[str] = ()) -> Results:
        """What came since the last time; ``names`` are those of the symbols in it."""
        results, self._results = self._results or self._new(), None
        results.names = list(names)
        return results

    def _now(self) -> Results:
        if self._results is None:
            self._results = self._new()
        return self._results

    def columns(self, channel: str, rows: Rows) -> None:
        self._now().columns(channel, rows)

    def books(self, rows: BookRows) -> None:
        self._now().books(rows)

    def steps(self, rows: list[StepRow]) -> None:
        self._now().steps(rows)

    def rows(self, channel: str, rows: list[dict[str, Any]]) -> None:
        self._now().rows(channel, rows)

    def retract(self, symbol: str) -> None:
        self._now().retract(symbol)
