"""Time is an integer: microseconds since 1970-01-01 UTC. Nothing here reads a clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tapeflow.domain.errors import SettingsError

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

#: 1970-01-05 was the first Monday: windows of whole weeks begin there.
MONDAY = 4 * DAY

#: No event of any venue is later; a time beyond it is damage and would run a watermark into the far future.
LATEST = 4_102_444_800 * SECOND

_UNITS = {"us": 1, "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_SPAN = re.compile(r"([0-9]{1,12})(us|ms|s|m|h|d|w)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_span(text: str) -> int:
    """Microseconds of a span such as ``500ms``, ``3s``, ``1m``, ``1w``; raises `SettingsError`."""
    match = _SPAN.fullmatch(text.strip())
    value = int(match.group(1)) * _UNITS[match.group(2)] if match else 0
    if value <= 0:
        raise SettingsError(
            f"expected a span of time such as 500ms, 3s, 1m, 4h, 1d or 1w, got {text!r}: "
            "write a positive whole number and one of us, ms, s, m, h, d, w"
        )
    return value


def span_text(span_us: int) -> str:
    """The shortest name of a span: the largest unit that divides it.

    >>> span_text(60_000_000), span_text(500_000), span_text(90_000_000), span_text(WEEK)
    ('1m', '500ms', '90s', '1w')
    """
    for name in ("w", "d", "h", "m", "s", "ms"):
        if span_us % _UNITS[name] == 0:
            return f"{span_us // _UNITS[name]}{name}"
    return f"{span_us}us"


def parse_time(text: str | int) -> int:
    """Microseconds of an integer or an RFC 3339 text; raises `SettingsError`."""
    if isinstance(text, int):
        return text
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SettingsError(
            f"expected microseconds since 1970 or RFC 3339 with a zone such as 2024-08-09T00:00:00Z, got {text!r}"
        )
    return (moment - _EPOCH) // timedelta(microseconds=1)


def time_text(ts: int) -> str:
    """RFC 3339 in UTC, with as many fractional digits as the value needs (none, three or six)."""
    moment = _EPOCH + timedelta(microseconds=ts)
    if ts % SECOND == 0:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    digits = f"{ts % SECOND:06d}"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + (digits[:3] if ts % MILLISECOND == 0 else digits) + "Z"
