"""Random integers that are the same on every machine and every version of Python."""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
#: The natural logarithm of 2, times 65536.
_LN2 = 45426


class Chance:
    """A stream of random integers that its seed and its name determine; streams of other names are independent.

    The generator is SplitMix64 (Steele, Lea, Flood 2014). No floats: they could differ in the last digit.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int, name: str = "") -> None:
        self._state = seed & _MASK
        for byte in name.encode():
            self._state = self.bits() ^ byte

    def bits(self) -> int:
        """64 random bits."""
        self._state = (self._state + _GAMMA) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, limit: int) -> int:
        """A whole number from 0 to ``limit - 1``."""
        return (self.bits() * limit) >> 64

    def hits(self, permille: int) -> bool:
        """True in ``permille`` of 1000 cases."""
        return self.below(1000) < permille

    def exponential(self, mean: int) -> int:
        """A waiting time: exponentially distributed, its mean within five percent of ``mean``.

        The logarithm is taken from the position of the highest bit and a straight line between powers of two.
        """
        bits = self.bits() | 1
        length = bits.bit_length()
        fraction = ((bits << (64 - length)) >> 47) & 0xFFFF
        minus_log2 = ((65 - length) << 16) - fraction
        return (mean * minus_log2 * _LN2) >> 32
