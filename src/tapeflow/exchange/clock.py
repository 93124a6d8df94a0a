"""The venue's clock."""

from __future__ import annotations

import time

from tapeflow.domain.time import SECOND


class Clock:
    """Microseconds since 1970; it never goes back, and runs ``speed`` times as fast as ours from its making on."""

    def __init__(self, speed: float = 1.0, start_us: int | None = None) -> None:
        self.speed = speed
        self._start = time.time_ns() // 1000 if start_us is None else start_us
        self._since = time.monotonic()

    def now(self) -> int:
        return self._start + int((time.monotonic() - self._since) * self.speed * SECOND)


def seconds() -> float:
    """Our own time, for what a client's patience is measured in: pings, limits, delays."""
    return time.monotonic()


def epoch() -> float:
    """What makes `seconds` those since 1970."""
    return time.time() - time.monotonic()
