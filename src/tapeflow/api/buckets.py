"""Rates: a bucket of tokens for each client, so many clients at most."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

#: Clients remembered; the one that has been silent longest is forgotten, with a full bucket.
CLIENTS = 10_000


class Buckets:
    """Each client has ``burst`` tokens, which come back at ``per_s``. One thread; ``now`` gives seconds."""

    def __init__(self, per_s: float, burst: float, now: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._now = now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """0 if the client had a token, else the seconds until it has one."""
        now = self._now()
        left, at = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        is_let = left >= 1
        self._left[client] = (left - 1 if is_let else left, now)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if is_let else (1 - left) / self._per_s
