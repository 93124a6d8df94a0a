"""Bytes to JSON values, bounded: the first thing done with a frame or an answer."""

from __future__ import annotations

from typing import Any

import msgspec

from tapeflow.domain.errors import Unreadable

#: Longer than any frame or answer of the venue, and short enough to hold a few of them.
FRAME_LIMIT = 16 << 20


def decode(frame: bytes) -> Any:
    """The JSON value of a frame; raises `Unreadable` with ``too_large`` or ``not_json``.

    Strict: no NaN, no byte that is not UTF-8, nothing after the value, no nesting that exhausts the stack.
    """
    if len(frame) > FRAME_LIMIT:
        raise Unreadable("too_large", f"{len(frame)} bytes, at most {FRAME_LIMIT} are read")
    try:
        return msgspec.json.decode(frame)
    except (ValueError, RecursionError) as error:
        # msgspec's own error and UnicodeDecodeError are both ValueErrors.
        raise Unreadable("not_json", str(error)) from None
