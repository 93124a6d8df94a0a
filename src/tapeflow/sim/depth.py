"""The order book as a function of the slot: its best prices, and behind them one level in every stretch of prices.

The level of a stretch keeps its price and size for a while of its own and then has others.
"""

from __future__ import annotations

import numpy as np

from tapeflow.sim import mix
from tapeflow.sim.mix import Bits, Ints
from tapeflow.sim.spec import Spec

#: Levels on each side.
LEVELS = 200

#: Every slot has so many update ids.
IDS_A_SLOT = 6

BID, ASK = 0, 1


class Depth:
    """Levels of one market; a book of both sides never crosses, for its levels lie strictly behind the best prices."""

    def __init__(self, spec: Spec, seed: int) -> None:
        self._spec = spec
        self._life = mix.key(seed, spec.symbol, "life")
        self._level = mix.key(seed, spec.symbol, "level")
        self._best = mix.key(seed, spec.symbol, "best")
        self._spread = mix.key(seed, spec.symbol, "spread")

    def update_id(self, slot: int) -> int:
        """The id of the last change that is in force in this slot."""
        return self._spec.update_id + slot * IDS_A_SLOT

    def spread(self, slots: Ints) -> Ints:
        """The spread in ticks: mostly the least, sometimes wide, for a few slots at a time."""
        bits = mix.draws(self._spread, slots >> 2)
        wide = 1 + mix.field(bits, 8, 24) % (2 * self._spec.gap)
        return np.where(mix.field(bits, 0, 3) == 0, 1 + wide, 1)

    def best_sizes(self, slots: Ints) -> tuple[Ints, Ints]:
        """Sizes of the best bid and ask; in the next slot both are others."""
        bits = mix.draws(self._best, slots)
        bids, asks = self._sizes(bits, 0), self._sizes(bits, 32)
        return bids - bids % 2 + (slots & 1), asks - asks % 2 + (slots & 1)

    def levels(self, side: int, stretches: Ints, slots: Ints) -> tuple[Ints, Ints]:
        """Price and size of the level in each stretch of ``gap`` ticks, at the slot given with it."""
        life = mix.draws(self._life + side, stretches)
        age = (slots + mix.field(life, 8, 20)) >> (3 + mix.field(life, 0, 3))
        bits = mix.draws(self._level + side, stretches * 0x9E3779B1 + age)
        prices = stretches * self._spec.gap + mix.field(bits, 34, 28) % self._spec.gap
        return prices, self._sizes(bits, 0)

    def behind(self, side: int, best: Ints, slots: Ints) -> Ints:
        """The second best price of a side."""
        stretch, step = best // self._spec.gap, 1 if side == ASK else -1
        here, _ = self.levels(side, stretch, slots)
        there, _ = self.levels(side, stretch + step, slots)
        return np.where(here * step > best * step, here, there)

    def side(self, side: int, best: int, size: int, slot: int) -> dict[int, int]:
        """A whole side of the book, best first: size by price."""
        step = 1 if side == ASK else -1
        stretches = best // self._spec.gap + step * np.arange(LEVELS, dtype=np.int64)
        prices, sizes = self.levels(side, stretches, np.full(LEVELS, slot, np.int64))
        behind = (prices * step > best * step) & (prices > 0)
        return {best: size, **dict(zip(prices[behind].tolist(), sizes[behind].tolist(), strict=True))}

    def _sizes(self, bits: Bits, shift: int) -> Ints:
        """Many small levels and a few walls."""
        low, wall = mix.field(bits, shift, 12), mix.field(bits, shift + 12, 5)
        sizes = 2 + self._spec.level_size * (low + 40) // 4096
        return np.where(wall == 0, sizes * (2 + mix.field(bits, shift + 17, 3)), sizes)
