"""What an engine hands to a sink, channel by channel, in the form that costs least."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from tapeflow.engine.columns import BookRows, Rows

#: Candles of the venue's answers, for whoever computes ours from the trades among which they are given.
VENUE_CANDLES = "candles.venue"


class StepRow(NamedTuple):
    """A row of an indicator; ``fold`` and ``step`` number the flow's candles and the steps on them."""

    symbol: int
    fold: int
    step: int
    ts_start: int
    ts_end: int
    bars: int
    revision: int
    values: dict[str, Any]
    closed: bool = True


class Sink(Protocol):
    """Takes results as they come. Values are int mantissas; the sink renders them.

    ``columns`` are packed rows (`engine.columns`), ``rows`` are values with the fields of the channel; `symbol` is
    a number in ``columns`` and a name in ``rows``. A later row of the same key replaces an earlier one of a lower or
    equal revision.
    """

    def columns(self, channel: str, rows: Rows) -> None: ...

    def books(self, rows: BookRows) -> None: ...

    def steps(self, rows: list[StepRow]) -> None: ...

    def rows(self, channel: str, rows: list[dict[str, Any]]) -> None: ...

    def retract(self, symbol: str) -> None:
        """All that was derived from trades of this symbol is void: its source of trades has changed."""
        ...
