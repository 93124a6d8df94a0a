"""Looking a tape over: what each segment holds, and whether every block of it can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from tapeflow.domain.errors import TapeError
from tapeflow.tape.encoding import kinds
from tapeflow.tape.index import Entry
from tapeflow.tape.lock import WRITING, is_held
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Damage, Kind
from tapeflow.tape.segments import SegmentFile, segments

#: Told (bytes done, bytes in all) now and then.
Progress = Callable[[int, int], None]


class Report(msgspec.Struct):
    """What `verify` found. ``next`` is the position after the last record."""

    segments: int
    blocks: int
    records: int
    bytes: int
    first: int
    next: int
    is_written: bool
    damage: list[Damage]

    @property
    def is_whole(self) -> bool:
        return not self.damage


class Segment(msgspec.Struct):
    """What a segment holds: positions ``first .. next - 1``, times, records by kind, bytes on disk and unpacked."""

    name: str
    first: int
    next: int
    records: int
    kinds: dict[str, int]
    ts_first: int | None
    ts_last: int | None
    blocks: int
    bytes: int
    raw: int
    is_compacted: bool

    @property
    def ratio(self) -> float:
        return self.raw / self.bytes if self.bytes else 1.0


def verify(folder: Path, progress: Progress | None = None) -> Report:
    """Read every block of a tape, in use or not, and name every damage. Changes nothing."""
    is_written = is_held(folder, WRITING)
    paths = _some_segments(folder)
    sizes = {path.name: path.stat().st_size for path in paths}
    total = sum(sizes.values())
    found = Report(len(paths), 0, 0, total, 0, 0, is_written, [])
    with TapeReader(folder) as reader:
        for block in reader.blocks(1 << 40):
            found.first = block.first if not found.blocks else found.first
            found.blocks += 1
            found.records += len(block)
            if progress is not None and found.blocks % 16 == 0:
                name, offset = reader.place
                progress(sum(size for other, size in sizes.items() if other < name) + offset, total)
        found.next = reader.position
        found.damage = reader.damage
        torn = reader.torn()
    # A writer may have begun or ended meanwhile: what it left unfinished for an instant is no damage.
    if torn is not None and not is_written and not is_held(folder, WRITING):
        found.damage.append(torn)
    return found


def contents(folder: Path) -> list[Segment]:
    """What each segment of a tape holds, by the blocks of it that can be read."""
    return [_contents(path) for path in _some_segments(folder)]


def _contents(path: Path) -> Segment:
    entry = Entry(path.name)
    counts = np.zeros(256, np.int64)
    file = SegmentFile(path)
    try:
        for piece in file.pieces():
            if piece.header is not None and not piece.what:
                entry.count(piece.header)
                counts += np.bincount(kinds(piece.header, piece.payload), minlength=256)
        entry.size = file.size()
    finally:
        file.close()
    return Segment(
        name=path.name,
        first=entry.first,
        next=max(entry.next, entry.first),
        records=entry.records,
        kinds={_kind(i): int(counts[i]) for i in np.flatnonzero(counts).tolist()},
        ts_first=entry.ts_min,
        ts_last=entry.ts_max,
        blocks=entry.blocks,
        bytes=entry.size,
        raw=entry.raw,
        is_compacted=entry.is_compacted,
    )


def _kind(number: int) -> str:
    return Kind(number).name.lower() if number in Kind._value2member_map_ else f"kind {number}"


def _some_segments(folder: Path) -> list[Path]:
    found = segments(folder)
    if not found:
        raise TapeError(f"{folder} holds no tape; expected a folder with files such as tape-00000000000000000000.tape")
    return found
