"""Fold: an aggregate over the events of a window that no order of arrival can change."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

E_contra = TypeVar("E_contra", contravariant=True)
S = TypeVar("S")


class Fold(Protocol, Generic[E_contra, S]):
    """``merge`` is associative and commutative with ``zero`` as its unit, and ``add(s, e) == merge(s, add(zero, e))``.

    So partial results of batches, partitions and restarts can be merged in any order and give the same bytes. The
    state ``S`` is a plain value (numbers, texts, tuples or structs of them): it is what a snapshot holds. A fold whose
    `zero` is None names the type of its other states in an attribute ``state_type``. `testing.folds` checks the laws
    for any fold.
    """

    name: str

    def zero(self) -> S:
        """The state of a window without events."""
        ...

    def add(self, state: S, event: E_contra) -> S:
        """The state with one more event."""
        ...

    def merge(self, left: S, right: S) -> S:
        """The state of the events of both."""
        ...

    def finish(self, state: S) -> dict[str, Any]:
        """The fields of the result row."""
        ...
