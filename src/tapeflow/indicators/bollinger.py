"""Bollinger bands."""

from __future__ import annotations

from math import fsum, sqrt
from typing import ClassVar

import msgspec

from tapeflow.indicators._parameters import Factor, Period2, check, name

State = tuple[float, ...]


class Bollinger(msgspec.Struct, frozen=True):
    """The mean of the last ``n`` closes and the bands ``k`` population standard deviations from it, equal to TA-Lib.

    Definition: ``middle = mean``, ``upper`` and ``lower`` = ``middle ± k * sqrt(sum((x - middle)²) / n)``. The
    deviations are summed afresh from the window, never as ``E[x²] - E[x]²``, so bands of very small and very large
    prices are as good as any and nothing drifts. A constant window gives three equal values, to the last digit of the
    price. First value at index ``n - 1``. Source: J. Bollinger's rules (20 and 2); TA-Lib BBANDS from 0.8.

    >>> from tapeflow.indicators.bollinger import Bollinger
    >>> bands = Bollinger(2, 2)
    >>> state = bands.zero()
    >>> for close in (1.0, 3.0, 3.0):
    ...     state, values = bands.on_event(state, close)
    ...     print(values)
    None
    {'upper': 4.0, 'middle': 2.0, 'lower': 0.0}
    {'upper': 3.0, 'middle': 3.0, 'lower': 3.0}
    """

    kind: ClassVar[str] = "bollinger"
    fields: ClassVar[tuple[str, ...]] = ("upper", "middle", "lower")
    prices: ClassVar[tuple[str, ...]] = ("upper", "middle", "lower")

    n: Period2 = 20
    k: Factor = 2.0

    def __post_init__(self) -> None:
        check(self)

    @property
    def name(self) -> str:
        return name(self.kind, self.n, self.k)

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
        if len(window) < n:
            return window, None
        middle = fsum(window) / n
        width = self.k * sqrt(fsum([(x - middle) * (x - middle) for x in window]) / n)
        return window, {"upper": middle + width, "middle": middle, "lower": middle - width}

    def on_time(self, state: State, ts_watermark: int) -> tuple[State, None]:
        return state, None
