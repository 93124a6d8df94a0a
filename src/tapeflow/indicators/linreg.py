"""Least-squares line over the last closes."""

from __future__ import annotations

from math import fsum
from operator import mul
from typing import ClassVar

import msgspec

from tapeflow.indicators._parameters import Period2, check, name

State = tuple[float, ...]


class Linreg(msgspec.Struct, frozen=True):
    """The least-squares line through the last ``n`` closes, equal to TA-Lib LINEARREG, its SLOPE and INTERCEPT and TSF.

    Definition: ``y = intercept + slope * x`` with ``x = 0 ... n-1``, the oldest bar at 0; ``line`` is its value at the
    last bar (``x = n - 1``), ``forecast`` one bar ahead (``x = n``). Sums are of differences from the oldest close and
    made afresh, so a flat window has slope 0 exactly and nothing drifts. First value at index ``n - 1``. It extends the
    line and promises no more: the naive forecast is hard to beat. Source: TA-Lib LINEARREG family.

    >>> from tapeflow.indicators.linreg import Linreg
    >>> linreg = Linreg(3)
    >>> state = linreg.zero()
    >>> for close in (1.0, 3.0, 5.0):
    ...     state, values = linreg.on_event(state, close)
    ...     print(values)
    None
    None
    {'line': 5.0, 'slope': 2.0, 'intercept': 1.0, 'forecast': 7.0}
    """

    kind: ClassVar[str] = "linreg"
    fields: ClassVar[tuple[str, ...]] = ("line", "slope", "intercept", "forecast")
    prices: ClassVar[tuple[str, ...]] = ("line", "forecast")

    n: Period2 = 14

    def __post_init__(self) -> None:
        check(self)

    @property
    def name(self) -> str:
        return name(self.kind, self.n)

    @property
    def lookback(self) -> int:
        return self.n - 1

    @property
    def settles(self) -> int:
        return self.lookback

    def zero(self) -> State:
        return ()

    def on_event(self, state: State, close: float) -> tuple[State, dict[str, float] | None]:
        n = self.n
        window = (*state[1:], close) if len(state) == n else (*state, close)
        return window, _fit(window) if len(window) == n else None

    def on_time(self, state: State, ts_watermark: int) -> tuple[State, None]:
        return state, None


def _fit(window: tuple[float, ...]) -> dict[str, float]:
    n = len(window)
    oldest = window[0]
    offsets = [y - oldest for y in window]
    mean = oldest + fsum(offsets) / n
    # With x counted from the middle of the window in half steps, -(n-1), -(n-3) ... n-1, slope and mean part.
    slope = 6.0 * fsum(map(mul, range(1 - n, n, 2), offsets)) / (n * (n * n - 1))
    half = slope * (n - 1) / 2.0
    return {"line": mean + half, "slope": slope, "intercept": mean - half, "forecast": mean + half + slope}
