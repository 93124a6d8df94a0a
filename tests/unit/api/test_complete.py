"""Completeness of a range by coverage rows."""

from __future__ import annotations

from typing import Any

import pytest

from tapeflow.api.complete import judge


def row(start: int, end: int, state: str = "complete", reason: str | None = None) -> dict[str, Any]:
    return {"ts_start": start, "ts_end": end, "state": state, "reason": reason, "guarantee": "sequence"}


GAP = row(20, 30, "gap", "missing_ids")


@pytest.mark.parametrize(
    ("rows", "start", "end", "gaps"),
    [
        ([row(0, 100)], 0, 100, []),
        ([row(0, 100)], 10, 20, []),
        ([row(0, 50)], 0, 60, [(50, 60, "not_seen_yet")]),
        ([row(10, 50)], 0, 40, [(0, 10, "not_captured")]),
        ([], 0, 40, [(0, 40, "not_captured")]),
        ([row(0, 20), GAP, row(30, 90)], 0, 90, [(20, 30, "missing_ids")]),
        ([row(0, 20), GAP, row(30, 90)], 0, 20, []),
        ([row(0, 20), GAP, row(30, 90)], 31, 90, []),
        ([row(0, 20), GAP, row(30, 90)], 30, 90, [(20, 30, "missing_ids")]),
        ([row(0, 20), row(20, 20, "gap", "not_at_venue"), row(20, 90)], 0, 90, [(20, 20, "not_at_venue")]),
        ([row(0, 20), row(30, 90)], 0, 90, [(20, 30, "unknown")]),
        ([row(0, 90), row(40, 50, "unknown", "late")], 0, 90, [(40, 50, "late")]),
    ],
)
def test_ranges(rows: list[dict[str, Any]], start: int, end: int, gaps: list[tuple[int, int, str]]) -> None:
    found = judge(rows, start, end)
    assert [(gap.ts_start, gap.ts_end, gap.reason) for gap in found.gaps] == gaps
    assert found.complete is (not gaps)
    assert judge(list(reversed(rows)), start, end) == found


def test_the_weakest_guarantee_is_told() -> None:
    assert judge([], 0, 1).guarantee == "none"
    assert judge([row(0, 9)], 0, 1).guarantee == "sequence"
    assert judge([row(0, 9), row(0, 9) | {"guarantee": "none"}], 0, 1).guarantee == "none"
    assert judge([row(0, 9)], 5, 5).complete is False
