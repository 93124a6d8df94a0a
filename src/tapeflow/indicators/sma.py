"""Simple moving average."""

from __future__ import annotations

from math import fsum
from typing import ClassVar

import msgspec

from tapeflow.indicators._parameters import Period, check, name

State = tuple[float, ...]


class Sma(msgspec.Struct, frozen=True):
    """The mean of the last ``n`` closes, each time summed afresh and correctly rounded, so it never drifts.

    Definition: ``(x[t-n+1] + ... + x[t]) / n``. Equal to TA-Lib SMA, whose running sum may differ in the last digits.
    First value at index ``n - 1``. State: the last ``n`` closes.

    >>> from tapeflow.indicators.sma import Sma
    >>> sma = Sma(3)
    >>> state = sma.zero()
    >>> for close in (1.0, 2.0, 6.0, 7.0):
    ...     state, values = sma.on_event(state, close)
    ...     print(values)
    None
    None
    {'sma': 3.0}
    {'sma': 5.0}
    """

    kind: ClassVar[str] = "sma"
    fields: ClassVar[tuple[str, ...]] = ("sma",)
    prices: ClassVar[tuple[str, ...]] = ("sma",)

    n: Period = 20

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
        return window, {"sma": fsum(window) / n} if len(window) == n else None

    def on_time(self, state: State, ts_watermark: int) -> tuple[State, None]:
        return state, None
