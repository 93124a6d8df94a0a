"""When each stream was followed, by what a tape says of its connections.

Ids tell what is missing of the trades. Other streams have none that follow on each other, so all that can be said of
them is whether a connection that had asked for them was alive: from its first message after the request to its last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

#: Spans kept for one stream of a symbol; older ones are settled, and given away.
KEPT = 16

#: Why a stream was not followed from one time on.
ENDED = ("disconnected", "stopped", "silent", "not_followed")

#: A stream as coverage names it: channel, symbol.
Key = tuple[str, str]

#: (from, to, why it ended)
Span = tuple[int, int, str]


class Connected(msgspec.Struct):
    """A connection that is open: when it was last heard, and since when it brings each stream (None: not yet)."""

    ts_last: int
    streams: dict[str, int | None] = {}


class PresenceState(msgspec.Struct):
    """The state of a `Presence`."""

    open: dict[str, Connected]
    spans: list[tuple[str, str, list[Span]]]
    keys: dict[str, Key]


class Presence:
    """Spans in which streams were followed. Every answer depends on the records told, in their order, alone."""

    def __init__(self) -> None:
        self._open: dict[str, Connected] = {}
        self._spans: dict[Key, list[Span]] = {}
        self._keys: dict[str, Key] = {}

    def connected(self, connection: str, at: int) -> None:
        """A connection was made; one of that name that is open has ended without a word."""
        self.disconnected(connection, "stopped")
        self._open[connection] = Connected(at)

    def started(self) -> None:
        """The program has started: what was open died with the one before."""
        for connection in list(self._open):
            self.disconnected(connection, "stopped")

    def asked(self, connection: str, streams: Iterable[tuple[str, Key]]) -> None:
        """Streams were asked for."""
        opened = self._open.get(connection)
        if opened is not None:
            for name, key in streams:
                self._keys[name] = key
                opened.streams.setdefault(name, None)

    def given_up(self, connection: str, streams: Iterable[str]) -> None:
        """Streams are not wanted any more."""
        opened = self._open.get(connection)
        if opened is not None:
            for name in streams:
                self._end(name, opened.streams.pop(name, None), opened.ts_last, "not_followed")

    def heard(self, connection: str, first: int, last: int) -> None:
        """Messages have come, the first and the last of them at these times."""
        opened = self._open.get(connection)
        if opened is None:
            return
        opened.ts_last = max(opened.ts_last, last)
        for name in [name for name, since in opened.streams.items() if since is None]:
            opened.streams[name] = first

    def disconnected(self, connection: str, why: str = "disconnected") -> None:
        """A connection has ended; nothing is known of its streams since it was last heard."""
        opened = self._open.pop(connection, None)
        if opened is not None:
            for name, since in opened.streams.items():
                self._end(name, since, opened.ts_last, why)

    def _end(self, name: str, since: int | None, until: int, why: str) -> None:
        if since is not None and until > since:
            spans = self._spans.setdefault(self._keys[name], [])
            spans.append((since, until, why))
            spans[:] = _merged(spans)

    # -- what is known ---------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Coverage rows as of now: spans followed, and the gaps between them."""
        now: dict[Key, list[Span]] = {}
        for opened in self._open.values():
            for name, since in opened.streams.items():
                if since is not None and opened.ts_last > since:
                    now.setdefault(self._keys[name], []).append((since, opened.ts_last, "silent"))
        rows: list[dict[str, Any]] = []
        for key in sorted(self._spans.keys() | now.keys()):
            rows += _rows(key, _merged(self._spans.get(key, []) + now.get(key, [])))
        return rows

    def settled(self) -> list[dict[str, Any]]:
        """Rows of spans so old that they are given away now; `rows` does not have them any more."""
        rows: list[dict[str, Any]] = []
        for key, spans in self._spans.items():
            if len(spans) > KEPT:
                old = len(spans) - KEPT
                rows += _rows(key, spans[: old + 1])[:-1]  # with the gap after the last of them
                del spans[:old]
        return rows

    def state(self) -> PresenceState:
        return PresenceState(self._open, [(*key, spans) for key, spans in self._spans.items()], self._keys)

    def restore(self, state: PresenceState) -> None:
        self._open = state.open
        self._spans = {(channel, symbol): spans for channel, symbol, spans in state.spans}
        self._keys = state.keys


def _merged(spans: list[Span]) -> list[Span]:
    """The spans in order, those that touch as one; it ends as the later of them does."""
    merged: list[Span] = []
    for since, until, why in sorted(spans):
        if merged and since <= merged[-1][1]:
            begin, end, reason = merged[-1]
            merged[-1] = (begin, until, why) if until > end else (begin, end, reason)
        else:
            merged.append((since, until, why))
    return merged


def _rows(key: Key, spans: list[Span]) -> list[dict[str, Any]]:
    rows = []
    for i, (since, until, why) in enumerate(spans):
        rows.append(_row(key, since, until, "complete", None))
        if i + 1 < len(spans):
            rows.append(_row(key, until, spans[i + 1][0], "gap", why))
    return rows


def _row(key: Key, since: int, until: int, state: str, reason: str | None) -> dict[str, Any]:
    stream, symbol = key
    return {
        "symbol": symbol,
        "stream": stream,
        "ts_start": since,
        "ts_end": until,
        "first_id": None,
        "last_id": None,
        "guarantee": "none",
        "state": state,
        "reason": reason,
    }
