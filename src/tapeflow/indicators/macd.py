"""Moving average convergence/divergence."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.indicators._parameters import FADE, Period, Period2, check, name

#: Bars seen, at most ``slow + signal - 1``; then for the fast average, the slow one and the signal the sum
#: while it is being seeded, the average afterwards.
State = tuple[int, float, float, float]
Values = dict[str, float]


class Macd(msgspec.Struct, frozen=True):
    """The fast less the slow exponential average, its own average as signal, and their difference; as TA-Lib's.

    Definition: ``macd = ema(fast) - ema(slow)``, ``signal = ema(signal) of macd``, ``hist = macd - signal``. Both
    averages begin together at index ``slow - 1``: the slow one with the mean of the first ``slow`` closes, the fast one
    with the mean of the last ``fast`` of these (so it is not the `Ema` that has run since its own first value); the
    signal begins with the mean of the first ``signal`` macd values. First value, of all three, at index
    ``slow + signal - 2``. Source: G. Appel; TA-Lib MACD. Where TA-Lib swaps ``fast`` and ``slow`` silently, we refuse.

    >>> from tapeflow.indicators.macd import Macd
    >>> macd = Macd(2, 3, 2)
    >>> state = macd.zero()
    >>> for close in (1.0, 2.0, 3.0, 4.0, 5.0):
    ...     state, values = macd.on_event(state, close)
    ...     print(values)
    None
    None
    None
    {'macd': 0.5, 'signal': 0.5, 'hist': 0.0}
    {'macd': 0.5, 'signal': 0.5, 'hist': 0.0}
    """

    kind: ClassVar[str] = "macd"
    fields: ClassVar[tuple[str, ...]] = ("macd", "signal", "hist")
    prices: ClassVar[tuple[str, ...]] = ()

    fast: Period2 = 12
    slow: Period2 = 26
    signal: Period = 9

    def __post_init__(self) -> None:
        check(self)
        if self.fast >= self.slow:
            raise SettingsError(
                f"expected fast of macd to be less than slow, got {self.fast} and {self.slow}: "
                "give the shorter one first"
            )

    @property
    def name(self) -> str:
        return name(self.kind, self.fast, self.slow, self.signal)

    @property
    def lookback(self) -> int:
        return self.slow + self.signal - 2

    @property
    def settles(self) -> int:
        return self.lookback + FADE * (self.slow + self.signal + 2) // 2

    def zero(self) -> State:
        return 0, 0.0, 0.0, 0.0

    def on_event(self, state: State, close: float) -> tuple[State, Values | None]:
        count, fast, slow, signal = state
        if count < self.slow:
            return self._seed_averages(state, close)
        fast += (close - fast) * (2.0 / (self.fast + 1))
        slow += (close - slow) * (2.0 / (self.slow + 1))
        macd = fast - slow
        if count < self.slow + self.signal - 1:
            return self._seed_signal((count, fast, slow, signal), macd)
        signal += (macd - signal) * (2.0 / (self.signal + 1))
        return (count, fast, slow, signal), {"macd": macd, "signal": signal, "hist": macd - signal}

    def _seed_averages(self, state: State, close: float) -> tuple[State, Values | None]:
        count, fast, slow, signal = state
        if count >= self.slow - self.fast:
            fast += close
        slow += close
        if count < self.slow - 1:
            return (count + 1, fast, slow, signal), None
        fast /= self.fast
        slow /= self.slow
        return self._seed_signal((count, fast, slow, signal), fast - slow)

    def _seed_signal(self, state: State, macd: float) -> tuple[State, Values | None]:
        count, fast, slow, total = state
        total += macd
        if count < self.lookback:
            return (count + 1, fast, slow, total), None
        signal = total / self.signal
        return (count + 1, fast, slow, signal), {"macd": macd, "signal": signal, "hist": macd - signal}

    def on_time(self, state: State, ts_watermark: int) -> tuple[State, None]:
        return state, None
