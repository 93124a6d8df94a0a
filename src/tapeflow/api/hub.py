"""The hub: rows as they are made, to all who follow them. It lives in the event loop of the server.

Each row of a lossless channel has a number within its series; a cursor is that number. So a client that was away is
given the rows after its cursor, from memory or from the store, and joins the living ones where these end: there is no
queue of a client that could overflow, and no part that could be lost between past and present.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from tapeflow.api.ring import Batch, Ring
from tapeflow.api.topics import FORMING, Topic
from tapeflow.stores.numbers import Code

#: Rows in one message.
PAGE = 1000
#: Batches that wait for a loop that is held up; beyond it clients have to resume.
WAITING = 20_000
#: How long rows that are not in memory any more may take to be in the store.
STORED_S = 5.0

#: As we write it: a number of any other form is none of ours, however it would be read.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_encode = msgspec.json.Encoder().encode


class Member(Protocol):
    """A client's side of a topic. ``push`` and ``show`` must not wait."""

    def push(self, topic: Topic, message: bytes, cursor: str) -> None:
        """A message that must not be left out."""
        ...

    def show(self, topic: Topic, message: bytes) -> None:
        """The newest value, which replaces the one before."""
        ...

    async def ready(self) -> None:
        """Return when the client has taken most of what it was given; raises if it is gone."""
        ...

    def dismiss(self, reason: str) -> None:
        """The hub ends, or cannot go on with this client."""
        ...


class Past(Protocol):
    """Rows that are not in memory, and numbers of series without any."""

    def epoch(self, topic: Topic) -> str:
        """What the topic's numbers are good for: wherever it is the same they mean the same rows."""
        ...

    async def ready(self) -> None:
        """Return when all that was known before a restart is known again."""
        ...

    async def since(self, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
        """(number, row as JSON) of a topic from a number on, from the store."""
        ...

    async def number(self, topic: Topic) -> int:
        """How many rows the topic has had so far."""
        ...

    async def forming_rows(self, topic: Topic) -> list[bytes]:
        """The newest value of a topic, or its rows of windows that have not closed, as JSON."""
        ...


class Line:
    """A topic that somebody follows."""

    __slots__ = ("code", "cursor", "head", "joining", "last", "members", "newest", "number", "topic")

    def __init__(self, topic: Topic, venue: str) -> None:
        self.topic = topic
        self.members: dict[Member, None] = {}
        self.code: Code | None = None
        self.joining = 0
        self.number = 0
        self.cursor = "l.0"  # of newest values; lossless topics have the numbers of their rows
        self.last: bytes | None = None
        #: (newest number, rows asked for, message) of the last snapshot: what many ask for at once is made once.
        self.newest: tuple[int, int, bytes] | None = None
        fields = {"channel": topic.channel, "venue": venue, "symbol": topic.symbol, **dict(topic.params)}
        self.head = _encode(fields)[1:-1]

    def message(self, kind: bytes, rows: Iterable[bytes], cursor: str, prev: str | None) -> bytes:
        before = b"" if prev is None else b',"prev":"' + prev.encode() + b'"'
        return b"".join(
            (b'{"type":"', kind, b'",', self.head, before, b',"cursor":"', cursor.encode(), b'","data":[')
            + (b",".join(rows), b"]}")
        )


class Hub:
    """See the module. `offer` may be called from any thread, everything else in the loop."""

    def __init__(self, venue: str, past: Past, watch: Callable[[frozenset[Topic]], None]) -> None:
        self._venue = venue
        self._past = past
        self._watch = watch
        self._ring = Ring()
        self._lines: dict[Topic, Line] = {}
        self._by_code: dict[str, dict[Code, Line]] = {}
        self._unnumbered: list[Line] = []
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._waiting: deque[tuple[Batch, bool]] = deque()
        self._is_called = self._is_over = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._coverage: dict[str, tuple[str, bytes]] = {}  # cursor and rows of each symbol
        self._early: dict[str, list[dict[str, Any]]] = {}  # coverage that came before there was a loop
        self.published = 0
        self.resets = 0
        self.sent = 0
        self.too_slow = 0

    @property
    def names(self) -> list[str]:
        """The symbols that have had rows."""
        return self._names

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on batches are taken in this loop."""
        self._loop, self._is_over = loop, False
        early, self._early = self._early, {}
        self.cover([row for rows in early.values() for row in rows])
        self._call()

    # -- rows in -------------------------------------------------------------------------------------------

    def offer(self, results: Batch, is_forming: bool) -> None:  # noqa: FBT001 - the pipeline's way of calling
        """Rows of a batch, in the order of their making; from the pipeline's thread."""
        if self._is_over:
            return  # rows that nobody will take would only fill the memory
        self._waiting.append((results, is_forming))
        if self._loop is None and len(self._waiting) > WAITING:
            self._waiting.popleft()  # the server is not up yet: who comes then has these from the store
        self._call()

    def _call(self) -> None:
        if not self._is_called and self._loop is not None:
            self._is_called = True
            try:
                self._loop.call_soon_threadsafe(self._take_all)
            except RuntimeError:  # the loop is closed: nobody listens any more
                self._loop, self._is_over = None, True
                self._waiting.clear()

    def _take_all(self) -> None:
        self._is_called = False
        if len(self._waiting) > WAITING:
            self._reset()
        while self._waiting:
            results, is_forming = self._waiting.popleft()
            self._number(results.names)
            if is_forming:
                self._forming(results)
            else:
                self._take(results)

    def _reset(self) -> None:
        """So much waits that it is quicker for clients to come again."""
        self.resets += 1
        for member in {member for line in self._lines.values() for member in line.members}:
            member.dismiss("overload")

    def _number(self, names: list[str]) -> None:
        if len(names) > len(self._names):
            self._numbers |= {name: number for number, name in enumerate(names)}
            self._names = names
            waiting, self._unnumbered = self._unnumbered, []
            for line in waiting:
                self._file(line)

    def _file(self, line: Line) -> None:
        number = self._numbers.get(line.topic.symbol)
        if number is None:
            self._unnumbered.append(line)
        else:
            line.code = line.topic.code(number)
            self._by_code.setdefault(line.topic.channel, {})[line.code] = line

    def _take(self, results: Batch) -> None:
        self._ring.add(results)
        for channel, lines in self._by_code.items():
            if channel in ("quotes", "book", "tickers"):
                self._newest(channel, lines, results)
            elif not channel.endswith(FORMING):
                self._rows(channel, lines, results)

    def _rows(self, channel: str, lines: dict[Code, Line], results: Batch) -> None:
        given = results.in_order(channel, lines.keys()) if lines else None
        if given is None:
            return
        of_line: dict[Code, list[tuple[int, bytes]]] = {}
        for code, number, row in zip(given.codes, given.numbers, given.table.json_lines(), strict=True):
            of_line.setdefault(code, []).append((number, row))
        for code, rows in of_line.items():
            self._update(lines[code], rows)

    def _update(self, line: Line, rows: list[tuple[int, bytes]]) -> None:
        for at in range(0, len(rows), PAGE):
            page = rows[at : at + PAGE]
            message, cursor = self._page(line, page)
            line.number, line.cursor, line.newest = page[-1][0], cursor, None
            self._push(line, message, cursor)

    def _page(self, line: Line, page: list[tuple[int, bytes]]) -> tuple[bytes, str]:
        cursor, prev = self.cursor(line.topic, page[-1][0]), self.cursor(line.topic, page[0][0] - 1)
        return line.message(b"update", [row for _, row in page], cursor, prev), cursor

    def _push(self, line: Line, message: bytes, cursor: str) -> None:
        self.published += 1
        self.sent += len(line.members)
        for member in list(line.members):
            member.push(line.topic, message, cursor)

    def _newest(self, channel: str, lines: dict[Code, Line], results: Batch) -> None:
        given = results.in_order(channel, lines.keys(), newest=True) if lines else None
        if given is not None:
            for code, row in zip(given.codes, given.table.json_lines(), strict=True):
                self._show(lines[code], [row])

    def _forming(self, results: Batch) -> None:
        for channel, lines in self._by_code.items():
            if channel.endswith(FORMING):
                given = results.in_order(channel.removesuffix(FORMING), lines.keys())
                of_line: dict[Code, list[bytes]] = {}
                if given is not None:
                    for code, row in zip(given.codes, given.table.json_lines(), strict=True):
                        of_line.setdefault(code, []).append(row)
                for code, rows in of_line.items():
                    self._show(lines[code], rows)

    def _show(self, line: Line, rows: list[bytes]) -> None:
        line.number += 1
        cursor = f"l.{line.number}"
        line.last = line.message(b"update", rows, cursor, line.cursor)
        line.cursor = cursor
        self.published += 1
        self.sent += len(line.members)
        for member in list(line.members):
            member.show(line.topic, line.last)

    def offer_coverage(self, rows: list[dict[str, Any]]) -> None:
        """All coverage of these symbols as it stands; from the pipeline's thread."""
        loop = self._loop
        if loop is None:
            self._early |= _of_symbols(rows)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self.cover, rows)

    def cover(self, rows: list[dict[str, Any]]) -> None:
        """Coverage as it stands; those who follow a symbol are told of what has changed but for the passing of time."""
        for symbol, found in _of_symbols(rows).items():
            whole = b",".join(_encode({"venue": self._venue, **row, **_ids(row)}) for row in found[-PAGE:])
            cursor, prev = self._mark(symbol, found), self._coverage.get(symbol, ("", b""))[0]
            self._coverage[symbol] = (cursor, whole)
            line = self._lines.get(Topic("coverage", symbol))
            if line is not None and cursor != prev:
                self._push(line, line.message(b"update", [whole], cursor, prev), cursor)

    def _mark(self, symbol: str, rows: list[dict[str, Any]]) -> str:
        """What stays the same while nothing but the end of the newest spans moves on."""
        fixed = [(row["stream"], row["ts_start"], row["state"], row["reason"], row["first_id"]) for row in rows]
        gaps = [(row["ts_end"], row["last_id"]) for row in rows if row["state"] != "complete"]
        epoch = self._past.epoch(Topic("coverage", symbol))
        return f"{epoch}.c{hashlib.blake2b(repr((fixed, gaps)).encode(), digest_size=6).hexdigest()}"

    # -- members -------------------------------------------------------------------------------------------

    def cursor(self, topic: Topic, number: int) -> str:
        """The cursor of a client that has the rows of a topic up to this number."""
        return f"{self._past.epoch(topic)}.{number}"

    def number_of(self, topic: Topic, cursor: str) -> int | None:
        """The number that a cursor of ours stands for; None for one of another time or kind."""
        epoch, _, number = cursor.partition(".")
        return int(number) if epoch == self._past.epoch(topic) and _NUMBER.fullmatch(number) else None

    async def can_resume(self, topic: Topic, cursor: str) -> bool:
        """True if a client with this cursor can be given all it has missed, or has missed nothing."""
        await self._past.ready()  # until then clients may know more than we do
        if topic.channel == "coverage":
            return cursor == self._coverage.get(topic.symbol, ("", b""))[0] != ""
        at = self.number_of(topic, cursor) if topic.is_lossless else None
        if at is None:
            return False
        newest = await self._newest_number(topic)
        if at >= newest or self._in_memory(topic, at + 1, 1):
            return at <= newest
        patience = time.monotonic() + STORED_S
        while not (found := await self._past.since(topic, at + 1, 1)) and time.monotonic() < patience:
            await asyncio.sleep(0.05)  # it is on its way to the store
        return bool(found) and found[0][0] == at + 1

    async def join(self, topic: Topic, member: Member, *, cursor: str | None = None, rows: int = 100) -> None:
        """Have a member follow a topic: from a ``cursor`` that it can resume from, or from a snapshot of ``rows``."""
        line = self._line(topic)
        line.joining += 1
        try:
            if topic.channel == "coverage":
                self._join_coverage(line, member, is_new=cursor is None)
            elif not topic.is_lossless:
                await self._join_latest(line, member)
            elif cursor is None:
                await self._snapshot(line, member, rows)
            else:
                await self._catch_up(line, member, self.number_of(topic, cursor) or 0)
        finally:
            line.joining -= 1
            self._tidy(line)

    def leave(self, topic: Topic, member: Member) -> None:
        line = self._lines.get(topic)
        if line is not None:
            line.members.pop(member, None)
            self._tidy(line)

    def _line(self, topic: Topic) -> Line:
        line = self._lines.get(topic)
        if line is None:
            line = self._lines[topic] = Line(topic, self._venue)
            if topic.channel != "coverage":
                self._file(line)
        return line

    def _tidy(self, line: Line) -> None:
        """Forget a topic that nobody follows, and watch the forming rows of those that somebody does."""
        if not line.members and not line.joining and self._lines.get(line.topic) is line:
            del self._lines[line.topic]
            if line.code is not None:
                self._by_code.get(line.topic.channel, {}).pop(line.code, None)
            elif line in self._unnumbered:
                self._unnumbered.remove(line)
        if line.topic.channel.endswith(FORMING):
            self._watch(frozenset(topic for topic in self._lines if topic.channel.endswith(FORMING)))

    def _join_coverage(self, line: Line, member: Member, *, is_new: bool) -> None:
        line.members[member] = None
        if is_new:
            now, whole = self._coverage.get(line.topic.symbol, ("", b""))
            member.push(line.topic, line.message(b"snapshot", [whole] if whole else [], now, None), now)

    async def _join_latest(self, line: Line, member: Member) -> None:
        if line.topic.channel.endswith(FORMING):
            line.members[member] = None  # before the question, so that it is watched from now on
            rows = await self._past.forming_rows(line.topic)
            member.show(line.topic, line.message(b"snapshot", rows, line.cursor, None))
            return
        if line.last is None:
            rows = await self._past.forming_rows(line.topic)
            message = line.message(b"snapshot", rows, line.cursor, None)
        else:
            message = line.last.replace(b'"update"', b'"snapshot"', 1)
        member.show(line.topic, message)
        line.members[member] = None

    def _code(self, topic: Topic) -> Code | None:
        number = self._numbers.get(topic.symbol)
        return None if number is None else topic.code(number)

    async def _newest_number(self, topic: Topic) -> int:
        """How many rows the topic has had. After the wait those that were made meanwhile are in memory."""
        newest = self._newest_in_memory(topic)
        if newest is not None:
            return newest
        number = await self._past.number(topic)
        newest = self._newest_in_memory(topic)
        return number if newest is None else newest

    def _newest_in_memory(self, topic: Topic) -> int | None:
        code = self._code(topic)
        return None if code is None else self._ring.newest(topic.channel, code)

    def _in_memory(self, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
        """Rows from a number on, if that very one is in memory."""
        code = self._code(topic)
        found = [] if code is None else self._ring.since(topic.channel, code, first, limit)
        return found if found and found[0][0] == first else []

    async def _catch_up(self, line: Line, member: Member, at: int) -> None:
        """Give the rows after ``at``, page by page, until there are no more: then the member has joined."""
        patience = time.monotonic() + STORED_S
        while True:
            page = self._in_memory(line.topic, at + 1, PAGE)
            if not page and at >= await self._newest_number(line.topic):
                line.members[member] = None
                return
            if not page:
                page = await self._past.since(line.topic, at + 1, PAGE)
                page = page if page and page[0][0] == at + 1 else []
            if page:
                message, cursor = self._page(line, page)
                member.push(line.topic, message, cursor)
                at, patience = page[-1][0], time.monotonic() + STORED_S
                await member.ready()
            elif time.monotonic() > patience:
                member.dismiss("rows between the store and memory are missing")
                return
            else:
                await asyncio.sleep(0.05)  # they are on their way to the store

    async def _snapshot(self, line: Line, member: Member, count: int) -> None:
        """The newest rows, then what came while they were looked up."""
        topic, newest = line.topic, await self._newest_number(line.topic)
        if line.newest is not None and line.newest[:2] == (newest, count):
            member.push(topic, line.newest[2], self.cursor(topic, newest))
            await self._catch_up(line, member, newest)
            return
        found: list[tuple[int, bytes]] = []
        if count:
            first, code = max(1, newest - count + 1), self._code(topic)
            found = self._in_memory(topic, first, count)
            if not found and topic.channel != "trades":  # a table of trades is too long to be looked through for this
                found = await self._stored(topic, first, count, newest)
            if not found and code is not None:
                found = self._ring.last(topic.channel, code, count)
        at = max(newest, found[-1][0]) if found else newest
        cursor = self.cursor(topic, at)
        message = line.message(b"snapshot", [row for _, row in found], cursor, None)
        if found and found[-1][0] == at:  # else rows are still on their way
            line.newest = (at, count, message)
        member.push(topic, message, cursor)
        await self._catch_up(line, member, at)

    async def _stored(self, topic: Topic, first: int, count: int, newest: int) -> list[tuple[int, bytes]]:
        """Rows of the store up to the newest, whose last ones may be in memory yet; none where memory is better.

        The store is waited for where neither reaches; what it has not then is not to be had.
        """
        patience, code = time.monotonic() + STORED_S, self._code(topic)
        while True:
            found = [row for row in await self._past.since(topic, first, count) if row[0] <= newest]
            if found:
                found += self._in_memory(topic, found[-1][0] + 1, count)
            if not found or found[-1][0] >= newest or time.monotonic() > patience:
                return found
            if code is not None and self._ring.newest(topic.channel, code) is not None:
                return []  # fewer rows, but without a hole
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """Tell everybody that this is the end."""
        for member in {member for line in self._lines.values() for member in line.members}:
            member.dismiss("shutdown")
        self._loop = None

    def status(self) -> dict[str, int]:
        """What an operator wants to see."""
        return {
            "topics": len(self._lines),
            "published": self.published,
            "sent": self.sent,
            "batches_waiting": len(self._waiting),
            "resets": self.resets,
            "too_slow": self.too_slow,
        }


def _of_symbols(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["symbol"], []).append(row)
    return found


def _ids(row: dict[str, Any]) -> dict[str, str | None]:
    """The ids of a coverage row as texts."""
    return {name: None if row[name] is None else str(row[name]) for name in ("first_id", "last_id")}
