"""What one client may ask: weight a minute, connections in five."""

from __future__ import annotations

from collections import deque

from tapeflow.exchange.params import Refusal

WEIGHT_LIMIT = 6_000
_WINDOW = 60
#: So many requests after the first 429 are forgiven.
_PATIENCE = 20
_FIRST_BAN, _LONGEST_BAN = 120, 3 * 86_400


class Limits:
    """The weight used in this minute of UTC by all clients of this machine; times are our own, in seconds."""

    def __init__(self, weight: int = WEIGHT_LIMIT, connections: int = 300, epoch: float = 0.0) -> None:
        self.weight = weight
        self.connections = connections
        self.used = 0
        #: What makes our seconds those since 1970.
        self._epoch = epoch
        self._minute = -1
        self._refused = 0
        self._ban = _FIRST_BAN
        self._banned_until = 0.0
        self._opened: deque[float] = deque()

    def take(self, weight: int, now: float) -> None:
        """Count a request; raises `Refusal` (429, then 418) beyond the limit."""
        self._turn(now)
        if now < self._banned_until:
            raise self._banned(now)
        self.used += weight
        if self.used <= self.weight:
            return
        self._refused += 1
        if self._refused > _PATIENCE:
            self.ban(self._ban, now)
            self._ban = min(2 * self._ban, _LONGEST_BAN)
            raise self._banned(now)
        raise too_much(self.weight, int(_WINDOW - (now + self._epoch) % _WINDOW) + 1)

    def ban(self, seconds: float, now: float) -> None:
        """Refuse everything with 418 for so long."""
        self._banned_until = now + seconds
        self._refused = 0

    def pardon(self) -> None:
        """No ban any more, and nothing used."""
        self._banned_until, self.used, self._refused = 0.0, 0, 0

    def connect(self, now: float) -> bool:
        """Count an attempt to connect; False if it is one too many in five minutes."""
        while self._opened and now - self._opened[0] >= 300:
            self._opened.popleft()
        if len(self._opened) >= self.connections:
            return False
        self._opened.append(now)
        return True

    def _turn(self, now: float) -> None:
        minute = int((now + self._epoch) // _WINDOW)
        if minute != self._minute:
            self._minute = minute
            self.used = self._refused = 0

    def _banned(self, now: float) -> Refusal:
        until = int((self._banned_until + self._epoch) * 1000)
        text = f"Way too much request weight used; IP banned until {until}. "
        text += "Please use WebSocket Streams for live updates to avoid bans."
        return Refusal(-1003, text, 418, {"Retry-After": str(int(self._banned_until - now) + 1)})


def too_much(limit: int, wait: int) -> Refusal:
    """The answer to a client that asks too much."""
    text = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
    text += "Please use WebSocket Streams for live updates to avoid polling the API."
    return Refusal(-1003, text, 429, {"Retry-After": str(wait)})
