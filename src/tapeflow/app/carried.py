"""What is kept of a run beside its rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tapeflow.domain.errors import SnapshotError
from tapeflow.domain.events import Fetch


class Carried(msgspec.Struct):
    """State at a tape position: questions without an answer, the candles that were asked for, and how many rows each
    series has had. ``engine`` is the rest of it, the pieces of its snapshot.
    """

    position: int
    pending: list[Fetch]
    warmed: list[str]
    numbers: dict[str, dict[int | str, int]]
    engine: Sequence[bytes | memoryview] = ()

    def pieces(self) -> list[bytes]:
        """This as a list of pieces; those of the engine as they are."""
        own = (self.position, self.pending, self.warmed, self.numbers)
        return [msgspec.msgpack.encode(own), *map(bytes, self.engine)]


def carried(pieces: Sequence[bytes | memoryview]) -> Carried:
    """What gave these pieces; raises `SnapshotError`."""
    try:
        own = msgspec.msgpack.decode(
            pieces[0], type=tuple[int, list[Fetch], list[str], dict[str, dict[int | str, int]]]
        )
    except (msgspec.DecodeError, IndexError) as error:
        raise SnapshotError(f"expected the state of a run, got other bytes ({error})") from error
    return Carried(*own, pieces[1:])
