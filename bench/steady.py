"""A market that is as busy as was asked for: the simulated one, like a real one, is not, from minute to minute."""

from __future__ import annotations

import time
from itertools import pairwise

from tapeflow.domain.time import SECOND
from tapeflow.sim.spec import specs
from tapeflow.sim.spot import SpotMarket

#: Seeds that are looked at.
SEEDS = 24


def seed_of(rate: float, symbols: int, seconds: float = 60) -> int:
    """The seed whose market trades most evenly, nearest to ``rate`` trades a second, in the time from now on."""
    now = time.time_ns() // 1000
    edges = [now + at * SECOND for at in range(0, int(seconds) + 1, 2)]
    return min(range(SEEDS), key=lambda seed: _unevenness(seed, rate, symbols, edges))


def _unevenness(seed: int, rate: float, symbols: int, edges: list[int]) -> float:
    """How far the busiest and the quietest two seconds are from what was asked for."""
    totals = [0] * len(edges)
    for one in specs(seed, rate, symbols):
        market = SpotMarket(one, seed)
        totals = [total + market.trade_at(edge) for total, edge in zip(totals, edges, strict=True)]
    parts = [(b - a) / (2 * rate) for a, b in pairwise(totals)]
    return max(abs(part - 1) for part in parts) + abs(sum(parts) / len(parts) - 1)
