"""The rhythm of streams: how long each may be silent before that is news. No clock: time is an argument.

A stream is judged against itself: a market that trades once a minute may be silent for minutes, one that trades ten
times a second may not be for five seconds. Pings of the server prove nothing about data and are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

SECOND = 1_000_000

#: Silence is never news before this, and always after that.
LEAST_US = 4 * SECOND
MOST_US = 600 * SECOND
#: So many usual intervals of silence are news: with independent arrivals one in half a thousand million.
USUAL = 20
#: The longest silence seen may be exceeded so many times.
LONGEST = 2
#: Frames from which on a rhythm is known.
KNOWN = 5


class Stream(msgspec.Struct, gc=False):
    """One stream: when its last frame came, its usual interval and its longest one (which fades), in microseconds."""

    last: int
    count: int = 0
    usual: float = 0.0
    longest: float = 0.0
    #: Doubled each time the silence was told, until a frame comes: nobody is told the same every second.
    patience: int = 1
    #: When a frame really came last; ``last`` begins anew with each connection, so that each has its chance.
    heard: int = 0

    def __post_init__(self) -> None:
        self.heard = self.heard or self.last

    def frame(self, at: int) -> None:
        """A frame has come."""
        gap = at - self.last
        self.last = self.heard = at
        self.count = count = self.count + 1
        if count == 1:
            return
        self.usual += (gap - self.usual) / (count - 1 if count <= 64 else 64)
        faded = self.longest * 0.999
        self.longest = gap if gap > faded else faded
        self.patience = 1

    def limit(self) -> float:
        """How long this stream may be silent before it is told (again)."""
        return self.usual_limit() * self.patience

    def usual_limit(self) -> float:
        """How long this stream may be silent before that is news."""
        if self.count < KNOWN:
            return float(MOST_US)
        usual = max(LEAST_US, USUAL * self.usual, LONGEST * self.longest)
        return float(min(usual, MOST_US))


class Rhythms:
    """The streams of one connection, by name; ``whole`` is all of them together."""

    def __init__(self, at: int) -> None:
        self.whole = Stream(at)
        self.streams: dict[bytes, Stream] = {}
        self._forgotten: set[bytes] = set()

    def frame(self, name: bytes, at: int) -> None:
        """A frame of a stream has come."""
        self.whole.frame(at)
        stream = self.streams.get(name)
        if stream is None:
            if name in self._forgotten:
                return  # it was on its way when the stream was given up
            stream = self.streams[name] = Stream(at)
        stream.frame(at)

    def forget(self, names: Iterable[str]) -> None:
        """These streams are followed no more: their silence is no news."""
        for name in names:
            self.streams.pop(name.encode(), None)
            self._forgotten.add(name.encode())

    def expect(self, names: Iterable[str]) -> None:
        """These streams are followed again."""
        self._forgotten.difference_update(name.encode() for name in names)

    def adopt(self, other: Rhythms, at: int) -> None:
        """Know the rhythms of the connection before this one: silence from now on is judged by them."""
        for name, known in other.streams.items():
            self.streams[name] = msgspec.structs.replace(known, last=at)
        self.whole = msgspec.structs.replace(other.whole, last=at)

    def silent(self, at: int) -> list[str]:
        """The streams whose silence is news at this moment; ``*`` for the whole connection."""
        found = []
        if _is_silent(self.whole, at):
            return ["*"]
        for name, stream in self.streams.items():
            if _is_silent(stream, at):
                found.append(name.decode("utf-8", "replace"))
        return found

    def overdue(self, at: int) -> float:
        """The longest present silence of a stream, measured in its own limit: above 1 it should have moved."""
        return max(((at - stream.heard) / stream.usual_limit() for stream in self.streams.values()), default=0.0)

    def oldest_us(self, at: int) -> int:
        """The longest present silence of a stream that has been heard, over all connections that it had."""
        return max((int(at - stream.heard) for stream in self.streams.values()), default=0)


def _is_silent(stream: Stream, at: int) -> bool:
    if at - stream.last <= stream.limit():
        return False
    stream.patience *= 2
    return True
