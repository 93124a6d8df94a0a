"""Step: a computation over the rows of one key in their order, such as an indicator over closed candles."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

R_contra = TypeVar("R_contra", contravariant=True)
S = TypeVar("S")


class Step(Protocol, Generic[R_contra, S]):
    """A pure function of the state and the next row. The state is a plain immutable value: what a snapshot holds,
    and what the engine goes back to when an earlier row is revised.
    """

    @property
    def name(self) -> str: ...

    def zero(self) -> S:
        """The state before the first row."""
        ...

    def on_event(self, state: S, row: R_contra) -> tuple[S, dict[str, Any] | None]:
        """The next state, and the values for this row (None while they are not defined yet)."""
        ...

    def on_time(self, state: S, ts_watermark: int) -> tuple[S, dict[str, Any] | None]:
        """The same when only time has moved.

        A step over candles hears of time through them alone: it answers with the state as it is, and the engine does
        not ask.
        """
        ...
