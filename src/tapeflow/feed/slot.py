"""A slot keeps one share of the streams connected: reconnects, replaces before the venue cuts, notices silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tapeflow.feed.backoff import Backoff
from tapeflow.feed.clock import monotonic_us
from tapeflow.feed.connection import Connection
from tapeflow.feed.recorder import Say

#: How often silence is looked for.
LOOK_S = 0.5
#: Old and new connection are both open so long after the new one's first frame, so that nothing falls between them.
OVERLAP_S = 2.0
#: A new connection that brings nothing for so long is no replacement for one that does.
PATIENCE_S = 10.0
#: A connection that lived so long was a good one: the next attempt is made at once.
GOOD_S = 20.0

#: Told the streams that were not followed for a while.
Missed = Callable[[list[str]], None]

#: Opens a connection under a name, within the venue's limit of attempts.
Open = Callable[[str], Awaitable[Connection]]


class Slot:
    """One share of the streams. ``streams`` may change while it runs: `change`."""

    def __init__(self, name: str, streams: list[str], open: Open, missed: Missed, say: Say, *, most_s: float) -> None:
        self.name = name
        self.streams = list(streams)
        self.current: Connection | None = None
        self.reconnects = 0
        self.problem = ""
        self._open = open
        self._missed = missed
        self._say = say
        self._most_us = int(most_s * 1_000_000)
        self._number = 0
        self._next: Connection | None = None  # the one that is to take over
        self._heard = 0  # when the connection that was lost brought something last
        self._renewal: asyncio.Task[None] | None = None
        self._renew_after = 0
        self._backoff = Backoff()

    async def run(self) -> None:
        """Keep the share connected until cancelled."""
        try:
            while True:
                connection = self.current
                if connection is None:
                    connection = self.current = await self._connect()
                    self._missed(self.streams)
                await self._watch(connection)
                if self.current is connection:  # it ended before another took over
                    await self._lost(connection)
        finally:
            await self._end()

    async def _end(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        for connection in (self.current, self._next):
            if connection is not None:
                connection.end("not followed any more")

    async def _lost(self, connection: Connection) -> None:
        why = connection.closed.result() if connection.closed.done() else "it was dead"
        self._say(f"{connection.name}: {why}")
        if self._renewal is not None:
            await asyncio.gather(self._renewal, return_exceptions=True)
            self._renewal = None
        if self.current is connection:
            self._heard = connection.rhythms.whole.heard
            self.current = None
            self.reconnects += 1
            if monotonic_us() - connection.opened > GOOD_S * 1_000_000:
                self._backoff.reset()

    async def _connect(self) -> Connection:
        """A connection with all streams asked for, however long it takes."""
        while True:
            try:
                connection = await self._fresh()
            except Exception as error:  # noqa: BLE001 - whatever went wrong with one attempt, there is a next
                self.problem = f"{type(error).__name__}: {error}"
                wait = self._backoff.next_s()
                self._say(f"{self.name}: cannot connect ({self.problem}); again in {wait:.1f} s")
                await asyncio.sleep(wait)
            else:
                self.problem = ""
                return connection

    async def _fresh(self) -> Connection:
        self._number += 1
        connection = self._next = await self._open(f"{self.name}-{self._number}")
        await self._bring_up(connection)
        if self.current is not None:
            connection.rhythms.adopt(self.current.rhythms, monotonic_us())
        elif self._heard:
            connection.rhythms.whole.heard = self._heard
        return connection

    async def _watch(self, connection: Connection) -> None:
        """Return when another connection has taken over, or this one has ended."""
        while self.current is connection:
            done, _ = await asyncio.wait([connection.closed], timeout=LOOK_S)
            if done:
                return
            connection.resume()
            at = monotonic_us()
            if connection.is_dead(at):
                connection.end("not even a ping for more than a minute")
                return
            silent = connection.silent(at)
            if silent:
                what = "all streams are" if silent == ["*"] else f"{', '.join(silent[:5])} is"
                self.renew(f"{what} silent against the rhythm known")
            elif at - connection.opened > self._most_us:
                self.renew("the venue cuts connections of this age")
            if connection.frames and at - connection.opened > GOOD_S * 1_000_000:
                self._backoff.reset()

    def renew(self, why: str) -> None:
        """Open another connection, and close this one when that one brings frames."""
        if self._renewal is None or self._renewal.done():
            self._say(f"{self.name}: {why}: opening another connection")
            self._renewal = asyncio.create_task(self._take_over())

    async def _take_over(self) -> None:
        old = self.current
        try:
            connection = await self._fresh()
        except Exception as error:  # noqa: BLE001 - the connection there is goes on
            self.problem = f"{type(error).__name__}: {error}"
            self._say(f"{self.name}: cannot open another connection ({self.problem})")
            await asyncio.sleep(self._backoff.next_s())
            return
        had = 0 if old is None else old.frames
        either: list[asyncio.Future[Any]] = [connection.first_frame, connection.closed]
        await asyncio.wait(either, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not connection.first_frame.done() and old is not None and old.frames > had:
            self._say(f"{connection.name}: it brings nothing, and {old.name} does, which stays")
            connection.end("it brought nothing")
            return
        if not connection.closed.done():
            await asyncio.sleep(OVERLAP_S)
            await self._bring_up(connection)
        if connection.closed.done():
            self._say(f"{connection.name}: {connection.closed.result()}")
            return
        if self.current is old or self.current is None:
            self.current = connection
            self.reconnects += 1
            self.problem = ""
            self._missed(self.streams)  # the old one may have been silent for a while
        if old is not None:
            old.end("replaced")

    async def change(self, streams: list[str]) -> None:
        """Follow these streams from now on."""
        self.streams = list(streams)
        if self.current is not None:
            await self._bring_up(self.current)

    async def _bring_up(self, connection: Connection) -> None:
        """Have a connection follow what is wanted now: that may have changed while it was made."""
        while connection.streams != self.streams:
            had, connection.streams = connection.streams, list(self.streams)
            fewer = [name for name in had if name not in connection.streams]
            more = [name for name in connection.streams if name not in had]
            if fewer:
                await connection.unsubscribe(fewer)
                connection.rhythms.forget(fewer)
            if more:
                connection.rhythms.expect(more)
                await connection.subscribe(more)
