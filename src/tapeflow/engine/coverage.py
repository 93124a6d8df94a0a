"""Coverage: what was seen of a stream, and what is missing."""

from __future__ import annotations

from typing import Any

from tapeflow.domain.events import Gap
from tapeflow.engine.columns import Rows


def coverage_rows(symbol: str, ranges: Rows) -> list[dict[str, Any]]:
    """Runs of trade ids seen, and the holes between them, from `RANGE` columns."""
    rows: list[dict[str, Any]] = []
    before: tuple[int, int] | None = None
    for lo, hi, ts_lo, ts_hi in ranges.tolist():
        if before is not None:
            hole = Gap("trades", symbol, before[0] + 1, lo - 1, before[1], ts_lo, "missing_ids")
            rows.append(gap_row(hole))
        rows.append(_row("trades", symbol, ts_lo, ts_hi, lo, hi) | {"state": "complete", "reason": None})
        before = (hi, ts_hi)
    return rows


def gap_row(gap: Gap) -> dict[str, Any]:
    """The coverage row of a gap."""
    row = _row(gap.stream, gap.symbol, gap.ts_start, gap.ts_end, gap.first_id, gap.last_id)
    return row | {"state": "gap", "reason": gap.reason}


def _row(
    stream: str, symbol: str, ts_start: int | None, ts_end: int | None, first_id: int | None, last_id: int | None
) -> dict[str, Any]:
    ids = {"first_id": first_id, "last_id": last_id}
    return {
        "symbol": symbol,
        "stream": stream,
        "ts_start": ts_start,
        "ts_end": ts_end,
        **ids,
        "guarantee": "sequence",
    }
