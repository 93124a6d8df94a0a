"""What is kept of a run beside its rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tapeflow.domain.errors import SnapshotError
from tapeflow.domain.events import Fetch


class Own(msgspec.Struct, array_like=True):
    """State at a tape position: questions without an answer, the candles that were asked for, how many rows each
    series has had, and the ends of windows that wait for the watermark.
    """

    position: int
    pending: list[Fetch]
    warmed: list[str]
    numbers: dict[str, dict[int | str, int]]
    closings: list[tuple[int, list[int]]] = []
    pushes: tuple[list[tuple[int, list[int]]], list[tuple[int, list[tuple[int, str]]]]] = ([], [])


class Carried(msgspec.Struct):
    """All of it: ``engine`` are the pieces of the engine's snapshot."""

    own: Own
    engine: Sequence[bytes | memoryview] = ()

    def pieces(self) -> list[bytes]:
        """This as a list of pieces; those of the engine as they are."""
        return [msgspec.msgpack.encode(self.own), *map(bytes, self.engine)]


def carried(pieces: Sequence[bytes | memoryview]) -> Carried:
    """What gave these pieces; raises `SnapshotError`."""
    try:
        own = msgspec.msgpack.decode(pieces[0], type=Own)
    except (msgspec.DecodeError, IndexError) as error:
        raise SnapshotError(f"expected the state of a run, got other bytes ({error})") from error
    return Carried(own, pieces[1:])
