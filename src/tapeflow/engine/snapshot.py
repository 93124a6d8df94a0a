"""Snapshots: all state of an engine as one value, with what it must agree with."""

from __future__ import annotations

from typing import Any

import msgspec

from tapeflow.domain.errors import SnapshotError

#: The form of the state; a snapshot of another one is refused, and the tape replayed instead.
VERSION = 3


_WIDE = 1  # our code for an integer beyond 64 bits


def pack_state(value: Any) -> bytes:
    """Numbers of any size, texts, bytes, sequences, maps and structs of them, as bytes."""
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


def write_snapshot(fingerprint: str, parts: dict[str, Any]) -> bytes:
    """``parts`` as bytes, under the fingerprint of the flow and venue they belong to."""
    return msgspec.msgpack.encode({"version": VERSION, "fingerprint": fingerprint, "parts": parts})


def read_snapshot(fingerprint: str, packed: bytes) -> dict[str, Any]:
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
