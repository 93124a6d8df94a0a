"""A tape played to an engine: live, in replay and after a restart by this one code."""

from __future__ import annotations

import msgspec
import numpy as np

from tapeflow.engine.columns import NONE_TIME
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.tape.blocks import Block
from tapeflow.tape.records import Kind


class GiveUp(msgspec.Struct, frozen=True, tag_field="note", tag="give_up"):
    """A hole in the trades that will not be filled: decided outside, so it must stand on the tape."""

    symbol: str
    first_id: int
    last_id: int
    reason: str


class Said(msgspec.Struct, frozen=True, tag_field="note", tag="said"):
    """Something an operator would want to know; it changes no row."""

    what: str
    detail: str = ""


Note = GiveUp | Said

#: What is said first in each life of the program: no connection outlives it.
STARTED = "started"

_OF_CONNECTIONS = (Kind.CONNECT, Kind.DISCONNECT, Kind.SEND)

#: Up to so many messages a set of their connections is made faster than by numpy.
FEW = 64

_read_note = msgspec.json.Decoder(Note).decode
write_note = msgspec.json.Encoder().encode


def play(block: Block, engine: Engine, start: int = 0, stop: int | None = None, *, is_timeless: bool = False) -> None:
    """Give the engine the records ``start..stop`` of a block, each by its kind.

    Of the answers to requests only those that succeeded; what we sent and asked changes nothing. History
    ``is_timeless``: when it was fetched says nothing about when it happened.
    """
    stop = len(block) if stop is None else stop
    frames = _frames(block, start, stop, is_timeless=is_timeless)
    at = start
    for i in _others(block, frames, start, stop):
        if at < i:
            _messages(block, frames, engine, at, i)
        _control(block, engine, i)
        at = i + 1
    if at < stop:
        _messages(block, frames, engine, at, stop)


def answered(block: Block, start: int, stop: int) -> dict[int, tuple[int, str]]:
    """Status and request of the answers among the records ``start..stop``, by their place."""
    found: dict[int, tuple[int, str]] = {}
    if Kind.ANSWER not in block.kinds[start:stop].tobytes():
        return found
    for i in (np.flatnonzero(block.kinds[start:stop] == Kind.ANSWER) + start).tolist():
        status, _, request = block.head(i).partition(" ")
        found[i] = (int(status) if status.isdigit() else 0, request)
    return found


def _frames(block: Block, start: int, stop: int, *, is_timeless: bool) -> Frames:
    lines = block.lines
    if is_timeless:
        lines = lines.copy()
        lines["ts_recv"] = NONE_TIME
    good = {i: request for i, (status, request) in answered(block, start, stop).items() if status == 200}
    # Rows of a dump have no time at all.
    came = {i: int(block.ts_recv[i]) for i in good if is_timeless and block.ts_recv[i] != NONE_TIME}
    return Frames(block.buffer, lines, requests=good, owners=(block.connections, block.names), came=came)


def _others(block: Block, frames: Frames, start: int, stop: int) -> list[int]:
    """The records that are neither a frame nor the answer to a request that succeeded."""
    kinds = block.kinds[start:stop]
    if kinds.tobytes().count(Kind.FRAME) == stop - start:
        return []
    places = np.flatnonzero(kinds != Kind.FRAME) + start
    return [i for i in places.tolist() if i not in frames.requests]


def _messages(block: Block, frames: Frames, engine: Engine, start: int, stop: int) -> None:
    engine.feed(frames, start, stop)
    numbers, times = block.connections[start:stop], block.ts_recv
    for number in {*numbers.tolist()} if stop - start < FEW else np.unique(numbers).tolist():
        at = np.flatnonzero(numbers == number)
        engine.presence.heard(block.names[number], int(times[start + at[0]]), int(times[start + at[-1]]))


def _control(block: Block, engine: Engine, i: int) -> None:
    kind = int(block.kinds[i])
    if kind == Kind.TICK:
        engine.tick(int(block.ts_recv[i]))
    elif kind == Kind.NOTE:
        _note(_read_note(block.head(i)), engine)
    elif kind in _OF_CONNECTIONS:
        _connection(block, engine, i, kind)


def _note(note: Note, engine: Engine) -> None:
    if isinstance(note, GiveUp):
        engine.give_up(note.symbol, note.first_id, note.last_id, note.reason)
    elif note.what == STARTED:
        engine.started()


def _connection(block: Block, engine: Engine, i: int, kind: int) -> None:
    presence, name = engine.presence, block.names[block.connections[i]]
    if kind == Kind.CONNECT:
        presence.connected(name, int(block.ts_recv[i]))
    elif kind == Kind.DISCONNECT:
        presence.disconnected(name)
    else:
        more, fewer = engine.venue.followed(block.body(i))
        presence.asked(name, [(stream, (channel, symbol)) for stream, channel, symbol in more])
        presence.given_up(name, fewer)
