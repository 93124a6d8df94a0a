"""The laws of a Fold, as a function for any fold and any events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapeflow.domain.fold import Fold


def check_fold(fold: Fold[Any, Any], events: Sequence[Any]) -> None:
    """Assert that ``merge`` is associative and commutative with ``zero`` as unit, and agrees with ``add``.

    States are compared by what `finish` makes of them and by themselves.
    """
    one = [fold.add(fold.zero(), event) for event in events]
    whole = fold.zero()
    for event in events:
        whole = fold.add(whole, event)
    merged = fold.zero()
    for state in reversed(one):
        merged = fold.merge(state, merged)
    assert whole == merged, f"{fold.name}: adding in order and merging backwards differ"
    assert fold.finish(whole) == fold.finish(merged)
    assert fold.merge(whole, fold.zero()) == whole, f"{fold.name}: zero is no unit on the right"
    assert fold.merge(fold.zero(), whole) == whole, f"{fold.name}: zero is no unit on the left"
    for a, b, c in zip(one, one[1:], one[2:], strict=False):
        assert fold.merge(a, b) == fold.merge(b, a), f"{fold.name}: merge is not commutative"
        left, right = fold.merge(fold.merge(a, b), c), fold.merge(a, fold.merge(b, c))
        assert left == right, f"{fold.name}: merge is not associative"
