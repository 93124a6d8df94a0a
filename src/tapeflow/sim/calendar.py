"""How many trades there are in each hour, day and block: known in closed form for all of time, so ids are too."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

import numpy as np

from tapeflow.domain.time import HOUR, MINUTE, SECOND
from tapeflow.sim import mix
from tapeflow.sim.spec import GROUP_TRADES, Spec

#: 2020-01-06T00:00:00Z, a Monday: ids count from here.
ORIGIN = 1_578_268_800 * SECOND

#: The pattern of busy and quiet hours repeats after sixteen weeks.
_CYCLE = 16 * 7 * 24
#: UTC hours: Asia's evening and America's morning are busiest.
_HOURS = (80, 86, 84, 76, 70, 66, 68, 78, 88, 92, 90, 92, 108, 134, 158, 162, 146, 128, 116, 108, 104, 96, 88, 82)
_DAYS = (106, 108, 108, 106, 110, 78, 84)
_PERCENT = 100.0
#: Within an hour, blocks in the same cell of these lengths are busy or quiet together.
_CELLS = (20 * MINUTE, 10 * MINUTE, 5 * MINUTE, MINUTE)


class Calendar:
    """The number of groups of trades before any block of one market, counted from `ORIGIN`."""

    def __init__(self, spec: Spec, seed: int) -> None:
        self.block_us = spec.block_us
        self.blocks_an_hour = HOUR // spec.block_us
        #: Groups in a usual block: the unit of the market's own time.
        self.usual = spec.rate * (spec.block_us / SECOND) / GROUP_TRADES
        self._cells = [length for length in _CELLS if length >= spec.block_us]
        self._parts = [mix.key(seed, spec.symbol, "parts", length) for length in self._cells]
        self._before = _prefix(spec, seed)
        self._within = lru_cache(4096)(self._split)

    def block_at(self, ts: int) -> int:
        """The number of the block that this time lies in."""
        return (ts - ORIGIN) // self.block_us

    def start(self, block: int) -> int:
        """The time at which a block begins."""
        return ORIGIN + block * self.block_us

    def groups_before(self, block: int) -> int:
        """Groups of trades from `ORIGIN` until the block begins."""
        hour, part = divmod(block, self.blocks_an_hour)
        return self._hour(hour) + self._within(hour)[part]

    def block_of_group(self, group: int) -> int:
        """The block that holds this group."""
        cycle, rest = divmod(group, self._before[-1])
        hour = bisect_right(self._before, rest) - 1
        absolute = cycle * _CYCLE + hour
        part = bisect_right(self._within(absolute), rest - self._before[hour]) - 1
        return absolute * self.blocks_an_hour + part

    def _hour(self, hour: int) -> int:
        cycle, rest = divmod(hour, _CYCLE)
        return cycle * self._before[-1] + self._before[rest]

    def _split(self, hour: int) -> list[int]:
        """Groups before each block of an hour: its blocks are busy and quiet too."""
        total = self._hour(hour + 1) - self._hour(hour)
        sums = [0]
        for part in range(self.blocks_an_hour):
            sums.append(sums[-1] + self._weight(hour * self.blocks_an_hour + part))
        return [total * weight // sums[-1] for weight in sums]

    def _weight(self, block: int) -> int:
        """How busy a block is within its hour: it shares its mood with its neighbours."""
        weight = 1
        for length, state in zip(self._cells, self._parts, strict=True):
            bits = mix.draw(state, block * self.block_us // length)
            weight *= 20 + bits % 30 + (bits >> 8) % 50 * (bits >> 16 & 1)
        return weight


def _prefix(spec: Spec, seed: int) -> list[int]:
    """Groups before each hour of the cycle."""
    hours = np.arange(_CYCLE, dtype=np.int64)
    days = hours // 24
    share = np.array(_HOURS)[hours % 24] / _PERCENT * (np.array(_DAYS)[days % 7] / _PERCENT)
    day_bits = mix.draws(mix.key(seed, spec.symbol, "days"), days)
    part_bits = mix.draws(mix.key(seed, spec.symbol, "parts of days"), hours // 4)
    hour_bits = mix.draws(mix.key(seed, spec.symbol, "hours"), hours)
    share *= (60 + mix.field(day_bits, 0, 32) % 81) / _PERCENT * ((50 + mix.field(part_bits, 0, 32) % 101) / _PERCENT)
    share *= (30 + mix.field(hour_bits, 0, 16) % 71 + mix.field(hour_bits, 16, 16) % 71) / _PERCENT
    groups = (spec.rate * 3600 / GROUP_TRADES * share + 0.5).astype(np.int64)
    return [0, *np.cumsum(np.maximum(groups, 1)).tolist()]
