"""Relative strength index."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tapeflow.indicators._parameters import FADE, Period2, check, name

#: Closes seen, at most ``n + 1``; the last close; then the sums of gains and losses while changes are fewer than ``n``,
#: their smoothed means afterwards.
State = tuple[int, float, float, float]


class Rsi(msgspec.Struct, frozen=True):
    """Wilder's index from 0 to 100: ``100 * up / (up + down)``, equal to TA-Lib RSI.

    Definition: ``up`` and ``down`` are the means of the first ``n`` gains and losses of the close, then smoothed by
    ``(mean * (n - 1) + x) / n``. Only gains give 100, only losses 0; a market that never moved gives 0.0 because TA-Lib
    does, although nothing fell (TA-Lib before 0.8 also where ``up + down`` is below 1e-14). First value at index ``n``.
    The value depends on the whole history. Source: J. W. Wilder, New Concepts in Technical Trading Systems, 1978;
    TA-Lib RSI.

    >>> from tapeflow.indicators.rsi import Rsi
    >>> rsi = Rsi(2)
    >>> state = rsi.zero()
    >>> for close in (10.0, 13.0, 12.0, 12.0):
    ...     state, values = rsi.on_event(state, close)
    ...     print(values)
    None
    None
    {'rsi': 75.0}
    {'rsi': 75.0}
    """

    kind: ClassVar[str] = "rsi"
    fields: ClassVar[tuple[str, ...]] = ("rsi",)
    prices: ClassVar[tuple[str, ...]] = ()

    n: Period2 = 14

    def __post_init__(self) -> None:
        check(self)

    @property
    def name(self) -> str:
        return name(self.kind, self.n)

    @property
    def lookback(self) -> int:
        return self.n

    @property
    def settles(self) -> int:
        return self.lookback + FADE * self.n

    def zero(self) -> State:
        return 0, 0.0, 0.0, 0.0

    def on_event(self, state: State, close: float) -> tuple[State, dict[str, float] | None]:
        count, last, up, down = state
        n = self.n
        if count <= n:
            return self._seed(state, close)
        change = close - last
        up *= n - 1
        down *= n - 1
        if change > 0.0:
            up += change
        else:
            down -= change
        up /= n
        down /= n
        return (count, close, up, down), {"rsi": _index(up, down)}

    def _seed(self, state: State, close: float) -> tuple[State, dict[str, float] | None]:
        count, last, up, down = state
        change = close - last if count else 0.0
        up += max(change, 0.0)
        down += max(-change, 0.0)
        if count < self.n:
            return (count + 1, close, up, down), None
        up /= self.n
        down /= self.n
        return (count + 1, close, up, down), {"rsi": _index(up, down)}

    def on_time(self, state: State, ts_watermark: int) -> tuple[State, None]:
        return state, None


def _index(up: float, down: float) -> float:
    total = up + down
    return 100.0 * (up / total) if total else 0.0
