"""Exponential moving average."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tapeflow.indicators._parameters import FADE, Period, check, name

#: Bars seen, at most ``n``; then the sum of the closes while it is less, the average afterwards.
State = tuple[int, float]


class Ema(msgspec.Struct, frozen=True):
    """The exponential average with ``alpha = 2 / (n + 1)``, seeded as TA-Lib does and bit for bit equal to it.

    Definition: the mean of the first ``n`` closes, then ``ema += alpha * (x - ema)``. (pandas and TradingView
    seed with the first close: their numbers differ until the seed has faded.) First value at index ``n - 1``. The value
    depends on the whole history, so one that begins at another bar is another number. Source: TA-Lib EMA.

    >>> from tapeflow.indicators.ema import Ema
    >>> ema = Ema(3)
    >>> state = ema.zero()
    >>> for close in (1.0, 2.0, 6.0, 7.0):
    ...     state, values = ema.on_event(state, close)
    ...     print(values)
    None
    None
    {'ema': 3.0}
    {'ema': 5.0}
    """

    kind: ClassVar[str] = "ema"
    fields: ClassVar[tuple[str, ...]] = ("ema",)
    prices: ClassVar[tuple[str, ...]] = ("ema",)

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
        return self.lookback + FADE * (self.n + 1) // 2

    def zero(self) -> State:
        return 0, 0.0

    def on_event(self, state: State, close: float) -> tuple[State, dict[str, float] | None]:
        count, value = state
        n = self.n
        if count == n:
            value += (close - value) * (2.0 / (n + 1))
            return (n, value), {"ema": value}
        return self._seed(count + 1, value + close)

    def _seed(self, count: int, total: float) -> tuple[State, dict[str, float] | None]:
        if count < self.n:
            return (count, total), None
        mean = total / count
        return (count, mean), {"ema": mean}

    def on_time(self, state: State, ts_watermark: int) -> tuple[State, None]:
        return state, None
