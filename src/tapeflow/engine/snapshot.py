"""Snapshots: all state of an engine as one value, with what it must agree with."""

from __future__ import annotations

from typing import Any

import msgspec

from tapeflow.domain.errors import SnapshotError

#: The form of the state; a snapshot of another one is refused, and the tape replayed instead.
VERSION = 1


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
