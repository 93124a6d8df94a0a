"""Misbehaviour asked for: what is wrong with the venue at the moment, and for how long."""

from __future__ import annotations

from itertools import count

import msgspec

from tapeflow.sim.chance import Chance

#: Faults of single data frames.
FRAMES = ("drop", "delay", "duplicate", "reorder", "silent", "malformed")
#: Faults of connections.
CONNECTIONS = ("freeze", "half_close", "cut", "close", "refuse", "expire", "shutdown", "huge")
#: Faults of REST.
REQUESTS = ("rate_limit", "ban", "error_5xx", "html_403", "slow_rest", "stale_depth")
#: What changes the market itself, and so the truth.
MARKET = ("skip_ids", "maintenance", "list", "delist")

KINDS = FRAMES + CONNECTIONS + REQUESTS + MARKET


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault as it is asked for; which fields matter depends on the kind. ``streams`` empty: all of them."""

    kind: str
    seconds: float = 10.0
    permille: int = 1000
    streams: tuple[str, ...] = ()
    symbol: str = ""
    ms: int = 500
    code: int = 1001
    status: int = 503
    count: int = 3
    bytes: int = 20_000_000
    retry_after: int = 0

    def fits(self, stream: str) -> bool:
        """True if it concerns this stream."""
        if self.symbol and not stream.startswith(f"{self.symbol.lower()}@"):
            return False
        return not self.streams or stream in self.streams


class Faults:
    """The faults in force; times are our own, in seconds."""

    def __init__(self, seed: int) -> None:
        self.chance = Chance(seed, "faults")
        self._numbers = count(1)
        self._active: dict[int, tuple[Fault, float]] = {}

    def add(self, fault: Fault, now: float) -> int:
        """Begin it; its number."""
        number = next(self._numbers)
        # The seconds of this one are the age that connections reach: it stays until it is ended.
        self._active[number] = (fault, float("inf") if fault.kind == "expire" else now + fault.seconds)
        return number

    def clear(self) -> list[Fault]:
        """End all; those that were in force."""
        ended = [fault for fault, _ in self._active.values()]
        self._active.clear()
        return ended

    def of(self, kind: str, now: float) -> Fault | None:
        """The latest fault of the kind in force that chance lets happen now; None if there is none."""
        for fault, until in reversed(list(self._active.values())):
            if fault.kind == kind and now < until and self.chance.hits(fault.permille):
                return fault
        return None

    def on_frames(self) -> list[Fault]:
        """The faults of data frames in force."""
        return [fault for fault, _ in self._active.values() if fault.kind in FRAMES]

    def expire(self, now: float) -> bool:
        """Forget what is over; True if something was."""
        over = [number for number, (_, until) in self._active.items() if now >= until]
        for number in over:
            del self._active[number]
        return bool(over)

    def rows(self, now: float) -> list[dict[str, object]]:
        """What is in force, and for how much longer."""
        return [
            {"id": number, "left": round(until - now, 3), **msgspec.structs.asdict(fault)}
            for number, (fault, until) in self._active.items()
        ]


class Planned(msgspec.Struct, frozen=True):
    """A fault of a schedule, so many seconds after its beginning."""

    at: float
    fault: Fault


#: Kinds that a schedule draws from, and how often: nothing that changes the truth for good.
_DRAWN = (
    *(("drop", 4), ("delay", 4), ("duplicate", 3), ("reorder", 2), ("silent", 3), ("malformed", 3), ("freeze", 1)),
    *(("half_close", 1), ("cut", 3), ("close", 2), ("refuse", 1), ("shutdown", 1), ("rate_limit", 2)),
    *(("error_5xx", 2), ("html_403", 1), ("slow_rest", 2), ("stale_depth", 2), ("huge", 1)),
)


def schedule(seed: int, seconds: float) -> list[Planned]:
    """Random faults over so many seconds: the same for the same seed."""
    chance = Chance(seed, "schedule")
    total = sum(weight for _, weight in _DRAWN)
    planned = []
    at = chance.exponential(4_000) / 1000
    while at < seconds:
        left = chance.below(total)
        kind = next(kind for kind, weight in _DRAWN if (left := left - weight) < 0)
        permille = 1000 if kind in CONNECTIONS else 20 + chance.below(480)
        length = 1 + chance.exponential(4_000) / 1000
        fault = Fault(kind, seconds=length, permille=permille, ms=50 + chance.below(2_000), code=1000 + chance.below(2))
        planned.append(Planned(at, fault))
        at += 0.5 + chance.exponential(6_000) / 1000
    return planned
