"""Cursors: a position in the order of one query, opaque to the client."""

from __future__ import annotations

import base64
import binascii
import hashlib

import msgspec

from tapeflow.api.problem import Problem
from tapeflow.stores.channels import CHANNELS
from tapeflow.stores.pages import Position, is_position

_BAD = "this cursor is not one of this query: pass `next` of the answer before, with the same other parameters, or none"


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    mark: str
    position: list[int | str]


def mark(channel: str, key: dict[str, str | int]) -> str:
    """What tells the queries apart whose cursors do not fit each other."""
    text = msgspec.json.encode([channel, sorted((name, str(value)) for name, value in key.items())])
    return hashlib.sha256(text).hexdigest()[:8]


def encode(channel: str, key: dict[str, str | int], position: Position) -> str:
    """The cursor of a position."""
    packed = msgspec.msgpack.encode(_Cursor(mark(channel, key), list(position)))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(channel: str, key: dict[str, str | int], cursor: str) -> Position:
    """The position of a cursor; raises `Problem`."""
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        read = msgspec.msgpack.decode(packed, type=_Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise Problem(400, "bad_cursor", _BAD) from error
    position = tuple(read.position)
    if read.mark != mark(channel, key) or not is_position(CHANNELS[channel], position):
        raise Problem(400, "bad_cursor", _BAD)
    return position
