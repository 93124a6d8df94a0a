"""What a tape holds: records, and the damage that was found on it."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from tapeflow.engine.columns import NONE_TIME

#: (kind, connection, receive time us UTC, monotonic us, head, body), as it waits to be written.
Record = tuple[int, str, int, int, str, bytes]

#: How names and heads are bytes: any Python text goes there and back.
TEXT = ("utf-8", "surrogatepass")

#: What a waiting record costs in memory beside its texts.
OVERHEAD = 200

#: No record is longer: whoever reads a tape may trust the lengths in it.
LONGEST = 256 << 20


class Kind(IntEnum):
    """What a record tells. The numbers are on disk and never change."""

    FRAME = 1
    """A message as received."""
    ANSWER = 2
    """The raw answer to a request; the head is ``STATUS path?query``."""
    SEND = 3
    """A message that we sent."""
    REQUEST = 4
    """A request that we made; the head is ``GET path?query``."""
    CONNECT = 5
    """A connection was made; the head is its URL."""
    DISCONNECT = 6
    """A connection ended; the head is the reason."""
    TICK = 7
    """Time went on; nothing else."""
    NOTE = 8
    """Something decided outside, such as a hole given up; the head is JSON."""


class Damage(msgspec.Struct, frozen=True):
    """Bytes of a segment that cannot be read, and which positions they cost.

    ``first`` and ``last`` are the positions lost; ``first`` is None where none is (garbage between blocks), ``last``
    where it cannot be known (the torn end of a tape). The times are those of the neighbours where the block does
    not say its own.
    """

    segment: str
    offset: int
    size: int
    what: str
    first: int | None = None
    last: int | None = None
    ts_first: int | None = None
    ts_last: int | None = None

    @property
    def lost(self) -> int:
        """How many positions are known to be lost."""
        return 0 if self.first is None or self.last is None else self.last - self.first + 1


def known(ts: int) -> int | None:
    """A time, or None for the value that stands for a missing one."""
    return None if ts == NONE_TIME else ts
