"""Snapshots: all state of an engine as one value, with what it must agree with.

A snapshot is a list of pieces: a head of all that is small, then what is large and seldom changes, each kept by who
made it until it does. So a live engine gives one in a few milliseconds; whoever stores it puts the pieces together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tapeflow.domain.errors import SnapshotError

#: The form of the state; a snapshot of another one is refused, and the tape replayed instead.
VERSION = 6
#: Bytes that are worth a piece of their own.
LARGE = 4096
#: What stands where bytes were lifted from; a state has no maps of its own.
_LIFTED: dict[str, int] = {}


_WIDE = 1  # our code for an integer beyond 64 bits


def pack_state(value: Any) -> bytes:
    """Numbers of any size, texts, bytes, sequences, maps and structs of them, as bytes."""
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:  # a number beyond 64 bits
        return msgspec.msgpack.encode(_narrow(msgspec.to_builtins(value, builtin_types=(bytes,))))


def unpack_state(packed: bytes) -> Any:
    """What `pack_state` packed, sequences as lists and structs as maps."""
    return msgspec.msgpack.decode(packed, ext_hook=_widen)


def _narrow(value: Any) -> Any:
    if isinstance(value, int):
        size = value.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(_WIDE, value.to_bytes(size, "little", signed=True)) if size > 8 else value
    if isinstance(value, (list, tuple)):
        return [_narrow(item) for item in value]
    if isinstance(value, dict):
        return {key: _narrow(item) for key, item in value.items()}
    return value


def _widen(code: int, data: memoryview) -> int:
    if code != _WIDE:
        raise SnapshotError(f"expected code {_WIDE} of a wide integer, got {code}")
    return int.from_bytes(data, "little", signed=True)


def join(pieces: Iterable[bytes]) -> bytes:
    """Pieces as one, each behind its length."""
    return b"".join(framed(pieces))


def framed(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """The same without copying them."""
    for piece in pieces:
        yield len(piece).to_bytes(8, "little")
        yield piece


def split(packed: bytes) -> list[memoryview]:
    """The pieces that were joined; raises `SnapshotError`."""
    whole, pieces, at = memoryview(packed), [], 0
    while at < len(whole):
        end = at + 8 + int.from_bytes(whole[at : at + 8], "little")
        if end > len(whole):
            raise SnapshotError(f"expected a snapshot of {end} bytes or more, got {len(whole)}")
        pieces.append(whole[at + 8 : end])
        at = end
    return pieces


def lifted(value: Any, pieces: list[bytes]) -> Any:
    """A value without its large bytes, which are added to ``pieces``: so they are copied once less."""
    if isinstance(value, bytes) and len(value) > LARGE:
        pieces.append(value)
        return _LIFTED
    if isinstance(value, (list, tuple)):
        return [lifted(item, pieces) for item in value]
    return value


def lowered(value: Any, pieces: Iterator[memoryview]) -> Any:
    """The value that was `lifted`, its sequences as tuples."""
    if value == _LIFTED:
        return bytes(next(pieces))
    return tuple([lowered(item, pieces) for item in value]) if isinstance(value, list) else value


def write_snapshot(fingerprint: str, parts: dict[str, Any]) -> bytes:
    """``parts`` as the head of a snapshot, under the fingerprint of the flow and venue they belong to."""
    return msgspec.msgpack.encode({"version": VERSION, "fingerprint": fingerprint, "parts": parts})


def read_snapshot(fingerprint: str, packed: bytes | memoryview) -> dict[str, Any]:
    """The parts of a snapshot; raises `SnapshotError` if it is none, or of another version, flow or venue."""
    try:
        state = msgspec.msgpack.decode(packed)
        version, found, parts = state["version"], state["fingerprint"], state["parts"]
    except (msgspec.DecodeError, TypeError, KeyError) as error:
        raise SnapshotError(f"expected the snapshot of an engine, got other bytes ({error})") from error
    if version != VERSION or found != fingerprint:
        raise SnapshotError(
            f"expected a snapshot of version {VERSION} of\n{fingerprint}\ngot version {version} of\n{found}\n"
            "replay the tape from its beginning instead"
        )
    return dict(parts)


def tuples(value: Any) -> Any:
    """Lists to tuples, all the way down: msgpack knows one kind of sequence, the kernel wants the other."""
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value
