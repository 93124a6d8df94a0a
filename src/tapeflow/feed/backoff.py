"""How long to wait before trying again: longer each time, never longer than a cap, and not all at once."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double from ``first_s`` to ``most_s``, each cut to a random part between half and whole."""

    def __init__(self, first_s: float = 0.25, most_s: float = 5.0, chance: random.Random | None = None) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._chance = chance or random.Random()
        self._next_s = first_s

    def next_s(self) -> float:
        """The wait before the next attempt."""
        wait, self._next_s = self._next_s, min(self._next_s * 2, self._most_s)
        return wait * self._chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked."""
        self._next_s = self._first_s
