"""Windows of event time, ``[start, end)`` in microseconds.

Every window is made of *panes*: equal pieces that do not overlap. A tumbling window is one pane; a sliding window
is a run of them. Windows begin at multiples since 1970 UTC, whole weeks on Monday; a sliding window ends at
multiples of its slide.
"""

from __future__ import annotations

import math

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import MONDAY, WEEK, parse_span, span_text

INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")


class Window(msgspec.Struct, frozen=True, order=True):
    """A family of windows: ``size_us`` long, one every ``slide_us``, moved by ``origin_us`` from 1970."""

    size_us: int
    slide_us: int
    origin_us: int = 0

    @property
    def is_tumbling(self) -> bool:
        return self.size_us == self.slide_us

    @property
    def pane_us(self) -> int:
        """Length of the longest pane of which every window of the family is a whole number."""
        return math.gcd(self.size_us, self.slide_us)

    def pane(self, ts: int) -> int:
        """Number of the pane that holds ``ts``; pane ``n`` is ``[origin + n * pane_us, ...)``."""
        return (ts - self.origin_us) // self.pane_us

    def first_end(self, ts: int) -> int:
        """The end of the earliest window that holds ``ts``."""
        return self.origin_us + ((ts - self.origin_us) // self.slide_us + 1) * self.slide_us

    def ends(self, ts: int) -> range:
        """The ends of all windows that hold ``ts``, ascending.

        >>> list(sliding("3s", "1s").ends(5_500_000))
        [6000000, 7000000, 8000000]
        """
        return range(self.first_end(ts), ts + self.size_us + 1, self.slide_us)


def tumbling(interval: str) -> Window:
    """The windows of a candle interval: any whole ``s``, ``m``, ``h``, ``d`` up to ``1w``; raises `SettingsError`."""
    size = parse_span(interval)
    if size > WEEK or size % 1_000_000:
        raise SettingsError(f"expected an interval of whole seconds from 1s to 1w, got {interval!r}")
    return touching(size)


def touching(size_us: int) -> Window:
    """Windows that follow one another, of whole weeks those from Monday on."""
    return Window(size_us, size_us, MONDAY if size_us % WEEK == 0 else 0)


def interval_name(text: str) -> str:
    """The one spelling of an interval (``60s`` is ``1m``, ``7d`` is ``1w``); raises `SettingsError`."""
    return span_text(tumbling(text).size_us)


def sliding(size: str | int, slide: str | int) -> Window:
    """The windows of a sliding aggregate, ``size`` and ``slide`` as spans or microseconds; raises `SettingsError`."""
    size_us = parse_span(size) if isinstance(size, str) else size
    slide_us = parse_span(slide) if isinstance(slide, str) else slide
    if size_us <= 0 or slide_us <= 0 or size_us % 1_000 or slide_us % 1_000:
        raise SettingsError(f"expected a size and a slide of whole milliseconds, got {size!r} and {slide!r}")
    return Window(size_us, slide_us)
