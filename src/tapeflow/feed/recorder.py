"""All that a feed sees, does and decides, put on the tape with its time: the only way in."""

from __future__ import annotations

from collections.abc import Callable

from tapeflow.feed.clock import Clock
from tapeflow.tape.playback import Note, write_note
from tapeflow.tape.records import Kind
from tapeflow.tape.spool import Spool


class Recorder:
    """Puts records on a spool; for one thread, the feed's. ``position`` is that of the next record."""

    def __init__(self, spool: Spool, clock: Clock, position: int) -> None:
        self._spool = spool
        self._clock = clock
        self.position = position
        self._has_ended = False

    @property
    def is_full(self) -> bool:
        """True while the tape cannot take more: whoever reads from a socket must stop."""
        return self._spool.is_full

    def end(self) -> None:
        """What comes from now on belongs to nobody."""
        self._has_ended = True

    def frame(self, connection: str, body: bytes) -> int:
        """A message as received; the time of it, in monotonic microseconds."""
        at, mono = self._clock.now()
        if not self._has_ended:
            self._spool.put(Kind.FRAME, connection, body, at=at, mono=mono)
            self.position += 1
        return mono

    def sent(self, connection: str, body: bytes) -> None:
        self._put(Kind.SEND, connection, body=body)

    def connected(self, connection: str, url: str) -> None:
        self._put(Kind.CONNECT, connection, url)

    def disconnected(self, connection: str, reason: str) -> None:
        self._put(Kind.DISCONNECT, connection, reason)

    def requested(self, request: str) -> None:
        self._put(Kind.REQUEST, "rest", f"GET {request}")

    def answered(self, status: int, request: str, body: bytes) -> int:
        """The answer to a request; its position."""
        self._put(Kind.ANSWER, "rest", f"{status} {request}", body)
        return self.position - 1

    def tick(self) -> None:
        self._put(Kind.TICK, "clock")

    def note(self, note: Note) -> None:
        """Something decided here that a replay must know."""
        self._put(Kind.NOTE, "feed", write_note(note).decode())

    def _put(self, kind: Kind, connection: str, head: str = "", body: bytes = b"") -> None:
        if self._has_ended:
            return
        at, mono = self._clock.now()
        self._spool.put(kind, connection, body, at=at, mono=mono, head=head)
        self.position += 1


#: What to do with something an operator would want to know.
Say = Callable[[str], None]
