"""Random numbers by position: the ``index``-th output of SplitMix64 without those before it, one at a time or many.

Integers only, so they are the same on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tapeflow.sim.chance import Chance

Bits = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def key(seed: int, *names: str | int) -> int:
    """The state from which all draws of this name come; other names give other states."""
    return Chance(seed, "\0".join(map(str, names))).bits()


def draw(state: int, index: int) -> int:
    """64 random bits at this position (any integer)."""
    z = (state + (index + 1) * _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * _FIRST) & _MASK
    z = ((z ^ (z >> 27)) * _SECOND) & _MASK
    return z ^ (z >> 31)


def draws(state: int, index: Ints) -> Bits:
    """`draw` at each of these positions."""
    z = index.astype(np.uint64)
    z *= np.uint64(_GAMMA)
    z += np.uint64((state + _GAMMA) & _MASK)
    z ^= z >> np.uint64(30)
    z *= np.uint64(_FIRST)
    z ^= z >> np.uint64(27)
    z *= np.uint64(_SECOND)
    z ^= z >> np.uint64(31)
    return z


def field(bits: Bits, shift: int, width: int) -> Ints:
    """``width`` of the bits as integers; fields that do not overlap are independent."""
    return ((bits >> np.uint64(shift)) & np.uint64((1 << width) - 1)).astype(np.int64)
