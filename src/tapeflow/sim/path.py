"""The fair price: a random walk that stays within bounds and can be asked for at any time.

At the edges of blocks it is the sum of straight lines between random points, at distances of 1, 2, 4, ... usual blocks
of the market's own time (which runs faster when there are more trades), each octave as much wider as a random walk
would be. Inside a block it is a bridge between the edges whose steps follow the activity.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tapeflow.domain.time import DAY, MINUTE
from tapeflow.sim import mix
from tapeflow.sim.calendar import Calendar
from tapeflow.sim.mix import Ints
from tapeflow.sim.spec import Spec

Floats = npt.NDArray[np.float64]

_LONGEST = 180 * DAY
_HALF = 1 << 63
#: A little less than the root of 2, at which the price would have no home.
_GROWTH = 1.38
#: Four times sixteen random bits: their mean, and the inverse of their deviation.
_MEAN = 2.0 * 65_535
_UNIT = 1.0 / 37_837.0


class Path:
    """The fair price of one market in ticks."""

    def __init__(self, spec: Spec, seed: int, calendar: Calendar) -> None:
        self._spec = spec
        self._calendar = calendar
        self._key = mix.key(seed, spec.symbol, "path")
        self._steps = mix.key(seed, spec.symbol, "steps")
        #: The usual move in a usual block, as a part of the price.
        self._usual = spec.volatility / 1e6 * float(np.sqrt(spec.block_us / (5 * MINUTE)))
        self._octaves = max(1, (_LONGEST // spec.block_us).bit_length())

    def edge(self, block: int) -> float:
        """The fair price when a block begins."""
        return self._spec.price * _grown(self._noise(self._calendar.groups_before(block) / self._calendar.usual))

    def inside(self, block: int, slots: Ints, activity: Ints) -> Floats:
        """The fair price at the beginning of each slot of a block: most slots do not move it."""
        first, last = self.edge(block), self.edge(block + 1)
        bits = mix.draws(self._steps, slots)
        noise = mix.field(bits, 0, 14) + mix.field(bits, 14, 14) + mix.field(bits, 28, 14) + mix.field(bits, 42, 14)
        moves = np.where(mix.field(bits, 56, 2) == 0, activity, activity >> 6).astype(np.float64)
        moves *= np.sqrt(moves)
        steps = (noise.astype(np.float64) * 4.0 - _MEAN) * _UNIT * np.sqrt(moves)
        walk, clock = np.cumsum(steps), np.cumsum(moves)
        groups = self._calendar.groups_before(block + 1) - self._calendar.groups_before(block)
        wide = self._usual * float(np.sqrt(groups / self._calendar.usual)) * first
        part = clock / clock[-1]
        bridge = (walk - walk[-1] * part) * (wide / float(np.sqrt(clock[-1])))
        fair: Floats = first + (last - first) * part + bridge
        return fair

    def _noise(self, at: float) -> float:
        total, width, length = 0.0, self._usual, 1.0
        for octave in range(self._octaves):
            place = at / length
            cell = int(place // 1.0)
            rest = place - cell
            low, high = self._point(octave, cell), self._point(octave, cell + 1)
            total += width * (low + (high - low) * rest)
            width *= _GROWTH
            length *= 2.0
        return total

    def _point(self, octave: int, cell: int) -> float:
        return (mix.draw(self._key, (cell << 6) + octave) - _HALF) / _HALF


def _grown(by: float) -> float:
    """The first terms of the exponential function: positive, and mirrored for losses."""
    if by >= 0.0:
        return 1.0 + by + by * by / 2.0
    return 1.0 / (1.0 - by + by * by / 2.0)
