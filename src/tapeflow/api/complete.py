"""Whether a range was seen whole, and what of it is missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

#: Of what lies before the first row of coverage, after the last one, and between two that leave room.
BEFORE, AFTER, BETWEEN = "not_captured", "not_seen_yet", "unknown"


class Gap(msgspec.Struct, frozen=True):
    """A span that is not complete, and why."""

    ts_start: int
    ts_end: int
    reason: str


class Coverage(msgspec.Struct, frozen=True):
    """What an answer can be trusted for: ``guarantee`` says by what completeness is known."""

    complete: bool = False
    gaps: tuple[Gap, ...] = ()
    guarantee: str = "none"


def judge(rows: Iterable[dict[str, Any]], start: int, end: int) -> Coverage:
    """The coverage of ``[start, end)`` by coverage rows that touch it.

    Complete is what complete rows cover without a hole in the ids; a hole counts even if it takes no time. What lies
    before the first row is ``not_captured``, after the last one ``not_seen_yet``.
    """
    known = sorted((row for row in rows if row["ts_start"] is not None), key=lambda row: row["ts_start"])
    whole = [(row["ts_start"], row["ts_end"]) for row in known if row["state"] == "complete"]
    holes = [row for row in known if row["state"] != "complete" and row["ts_start"] < end and row["ts_end"] >= start]
    gaps = [Gap(row["ts_start"], row["ts_end"], row["reason"] or BETWEEN) for row in holes]
    spans = sorted(whole + [(gap.ts_start, gap.ts_end) for gap in gaps])
    gaps += _uncovered(spans, start, end)
    guarantees = sorted({str(row["guarantee"]) for row in known if row["guarantee"]})
    guarantee = "none" if "none" in guarantees or not guarantees else guarantees[0]
    complete = bool(whole) and not gaps and start < end
    return Coverage(complete, tuple(sorted(gaps, key=lambda gap: (gap.ts_start, gap.ts_end))), guarantee)


def _uncovered(spans: list[tuple[int, int]], start: int, end: int) -> list[Gap]:
    """The parts of ``[start, end)`` of which nothing is known."""
    gaps, reached, is_first = [], start, True
    for low, high in spans:
        if low > reached and reached < end:
            gaps.append(Gap(reached, min(low, end), BEFORE if is_first else BETWEEN))
        reached, is_first = max(reached, high), False
    if reached < end:
        gaps.append(Gap(reached, end, AFTER if spans else BEFORE))
    return gaps
