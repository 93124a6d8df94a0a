"""The clock of a feed: UTC microseconds that never step, however the machine's clock is set."""

from __future__ import annotations

import time

#: A difference from the machine's clock that is told.
STEP_US = 500_000

#: Goes on while the machine sleeps, where there is such a clock (Linux).
_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """UTC at the start, moved on by a clock that nobody can set.

    A step of the machine's clock moves no receive time, so it can close no window early and make no trade late.
    `step_us` tells how far the two have come apart since the last question.
    """

    def __init__(self) -> None:
        self._offset_us = time.time_ns() // 1000 - monotonic_us()
        self._apart_us = 0

    def now(self) -> tuple[int, int]:
        """(UTC, monotonic), both in microseconds."""
        mono = monotonic_us()
        return mono + self._offset_us, mono

    def step_us(self) -> int:
        """By how much the machine's clock was set since the last call; 0 if by less than half a second."""
        apart = time.time_ns() // 1000 - monotonic_us() - self._offset_us
        step = apart - self._apart_us
        if abs(step) < STEP_US:
            return 0
        self._apart_us = apart
        return step


def monotonic_us() -> int:
    """Microseconds of a clock that only goes forward."""
    return time.clock_gettime_ns(_MONOTONIC) // 1000
