"""What a server has answered so far."""

from __future__ import annotations


class Counts:
    """Requests that came, those refused (4xx) and those that failed (5xx)."""

    __slots__ = ("failed", "refused", "requests")

    def __init__(self) -> None:
        self.requests = self.refused = self.failed = 0

    def answered(self, status: int) -> None:
        """A request was answered with this status."""
        self.requests += 1
        self.refused += 400 <= status < 500
        self.failed += status >= 500
