"""The venue's candle intervals: where each bar begins and ends, in any of its time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tapeflow.domain.time import DAY, HOUR, MINUTE, MONDAY, SECOND, WEEK

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Length of each interval; 0 for a month.
INTERVALS = {
    "1s": SECOND,
    "1m": MINUTE,
    "3m": 3 * MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "2h": 2 * HOUR,
    "4h": 4 * HOUR,
    "6h": 6 * HOUR,
    "8h": 8 * HOUR,
    "12h": 12 * HOUR,
    "1d": DAY,
    "3d": 3 * DAY,
    "1w": WEEK,
    "1M": 0,
}


def bar_start(interval: str, ts: int, zone_us: int = 0) -> int:
    """Where the bar that holds ``ts`` begins; bars are cut at the midnight of a zone so far ahead of UTC."""
    size, local = INTERVALS[interval], ts + zone_us
    if size:
        origin = MONDAY if size == WEEK else 0
        return local - (local - origin) % size - zone_us
    day = _EPOCH + timedelta(days=local // DAY)
    return (day.replace(day=1) - _EPOCH) // timedelta(microseconds=1) - zone_us


def bar_end(interval: str, start: int, zone_us: int = 0) -> int:
    """Where the bar that begins at ``start`` ends and the next one begins."""
    size = INTERVALS[interval]
    return start + size if size else bar_start(interval, start + 32 * DAY, zone_us)
