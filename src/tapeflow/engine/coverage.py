"""Coverage: what was seen of a stream, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tapeflow.domain.events import Gap
from tapeflow.engine.columns import Rows


def trade_gaps(symbol: str, ranges: Rows) -> list[Gap]:
    """The holes between the runs of trade ids seen, from `RANGE` columns."""
    runs = ranges.tolist()
    return [
        Gap("trades", symbol, hi + 1, lo - 1, ts_hi, ts_lo, "missing_ids")
        for (_, hi, _, ts_hi), (lo, _, ts_lo, _) in pairwise(runs)
    ]


def coverage_rows(symbol: str, ranges: Rows, given_up: Callable[[Gap], str | None]) -> list[dict[str, Any]]:
    """Runs of trade ids seen, and the holes between them, from `RANGE` columns; why a hole was ``given_up``."""
    runs = [
        _row("trades", symbol, ts_lo, ts_hi, lo, hi) | {"state": "complete", "reason": None}
        for lo, hi, ts_lo, ts_hi in ranges.tolist()
    ]
    gaps = [gap_row(gap) | {"reason": given_up(gap) or gap.reason} for gap in trade_gaps(symbol, ranges)]
    return runs + gaps


def late_row(symbol: str, ts_start: int, ts_end: int, first_id: int, last_id: int) -> dict[str, Any]:
    """Trades that came beyond the horizon: no hole in the ids, yet their windows lack them, so ``unknown``."""
    row = _row("trades", symbol, ts_start, ts_end, first_id, last_id)
    return row | {"state": "unknown", "reason": "late"}


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
