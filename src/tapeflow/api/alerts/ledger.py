"""What the desk has seen, written down: into the journal, behind the disk's back if it must be, never lost quietly."""

from __future__ import annotations

import asyncio
import contextlib

from tapeflow.api.alerts.journal import Entry, Journal, Line, encoded
from tapeflow.api.alerts.watch import State

#: A journal that cannot be written is tried again after so long.
AGAIN_S = 1.0


class Ledger:
    """The journal, and what of it is not written yet; used in the server's loop."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.problem = ""
        self._states: set[str] = set()
        self._cursors: set[str] = set()
        self._writing = asyncio.Lock()

    def state(self, rule: str) -> State | None:
        """How far a rule has seen."""
        return self.journal.states.get(rule)

    def open(self, rule: str) -> State:
        """The state of a rule that is judged for the first time, if it is."""
        return self.journal.states.setdefault(rule, State())

    def saw(self, rule: str) -> None:
        """A rule has seen more: its state is written with what is written next."""
        self._states.add(rule)

    def forget(self, rule: str) -> None:
        """A rule begins anew, or is no more."""
        self.journal.states.pop(rule, None)
        self._states.add(rule)

    def move(self, topic: str, cursor: str | None) -> None:
        """The rows of a topic up to a cursor were judged; None: nobody judges them any more."""
        if cursor is None:
            self.journal.cursors.pop(topic, None)
        else:
            self.journal.cursors[topic] = cursor
        self._cursors.add(topic)

    async def fire(self, fired: tuple[Entry, ...]) -> int:
        """Write down what fired, with how far all have seen; the deliveries lost to make room are counted."""
        line = self._line(fired)
        self.journal.take(Line(fired=fired))
        lost = len(self.journal.trim())
        await self.write(line, sync=True)
        return lost

    async def save(self) -> None:
        """Write how far the rules have seen, of those that have seen more; make the journal anew if it has grown."""
        if self._states or self._cursors:
            await self.write(self._line(), sync=False)
        if self.journal.is_grown:
            async with self._writing:
                try:
                    await asyncio.to_thread(self.journal.renew, self.journal.whole())
                except OSError as error:
                    self.problem = f"the journal cannot be written: {error.strerror}"

    async def write(self, line: Line, *, sync: bool) -> None:
        """Return when the line is there, however long the disk refuses; the loop goes on meanwhile."""
        text = encoded(line)
        while True:
            async with self._writing:
                try:
                    await asyncio.to_thread(self.journal.write, text, sync=sync)
                except OSError as error:
                    self.problem = f"the journal cannot be written: {error.strerror}; free room or mend the disk"
                else:
                    self.problem = ""
                    return
            await asyncio.sleep(AGAIN_S)

    def close(self) -> None:
        """Write what can be written now, and stop."""
        if self._states or self._cursors:
            with contextlib.suppress(OSError):
                self.journal.write(encoded(self._line()), sync=False)
        self.journal.close()

    def _line(self, fired: tuple[Entry, ...] = ()) -> Line:
        states = {id: self.journal.states.get(id) for id in self._states}
        cursors = {name: self.journal.cursors.get(name) for name in self._cursors}
        self._states, self._cursors = set(), set()
        return Line(states=states, cursors=cursors, fired=fired)
