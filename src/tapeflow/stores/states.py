"""Operator state as files, one for each checkpoint: ``state-<tape position>.zst``.

A file appears whole or not at all and carries a checksum, so a torn or damaged one is passed over for the one before.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

from tapeflow import files
from tapeflow.domain.errors import SnapshotError, StoreError
from tapeflow.domain.time import DAY
from tapeflow.engine.snapshot import framed, split

#: Checkpoints kept: the newest, and one to fall back on; and the first of each day, on which a cut can stand.
KEPT = 2

#: Bytes that are compressed at once.
CHUNK = 1 << 18

_NAME = re.compile(r"state-([0-9]{20})\.zst")


class States:
    """The checkpoints of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for torn in folder.glob(".state-*"):
                torn.unlink()
        except OSError as error:
            raise StoreError(f"cannot use {folder}: {error.strerror}; choose another data folder") from error

    def positions(self) -> list[int]:
        """The positions there are checkpoints of, ascending."""
        found = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def save(self, position: int, state: Sequence[bytes], ts: int = 0) -> None:
        """Keep a state as of ``ts``; of the older ones the first of each day stays, so that a tape can be cut there."""
        whole = ts.to_bytes(8, "little") + _compressed(state)
        whole = zlib.crc32(whole).to_bytes(4, "little") + whole
        path = self._path(position)
        try:
            files.replace(path, whole)
            self._thin_out()
        except OSError as error:
            raise StoreError(f"cannot keep the state at {path}: {error.strerror}") from error

    def _thin_out(self) -> None:
        days = set()
        for position in self.positions()[:-KEPT]:
            day = self.time(position) // DAY
            if day in days:
                self._path(position).unlink()
            days.add(day)

    def time(self, position: int) -> int:
        """The time that a checkpoint is of, in microseconds."""
        try:
            with self._path(position).open("rb") as file:
                return int.from_bytes(file.read(12)[4:], "little")
        except OSError:
            return 0

    def cut(self, ts: int) -> int:
        """The position up to which a tape can be cut so that all after ``ts`` can still be computed from it."""
        return max((position for position in self.positions() if self.time(position) <= ts), default=0)

    def forget_after(self, position: int) -> None:
        """Drop the checkpoints of records that a power failure took: their positions are given to others."""
        for lost in self.positions():
            if lost > position:
                self._path(lost).unlink(missing_ok=True)

    def forget_before(self, position: int) -> None:
        """Drop the checkpoints that the tape no longer reaches back to."""
        for old in self.positions():
            if old < position:
                self._path(old).unlink(missing_ok=True)

    def load(self, position: int) -> list[memoryview] | None:
        """The state of a checkpoint in its pieces, None if it is damaged."""
        try:
            whole = self._path(position).read_bytes()
            if zlib.crc32(whole[4:]).to_bytes(4, "little") != whole[:4]:
                return None
            return split(zstandard.ZstdDecompressor().decompress(whole[12:]))
        except (OSError, zstandard.ZstdError, SnapshotError):
            return None

    def drop(self, *, but_oldest: bool = False) -> None:
        """Forget all checkpoints: they are of another flow or version, or out of date."""
        for position in self.positions()[1 if but_oldest else 0 :]:
            self._path(position).unlink(missing_ok=True)

    def _path(self, position: int) -> Path:
        return self._folder / f"state-{position:020d}.zst"


def _compressed(pieces: Sequence[bytes]) -> bytes:
    size = sum(len(piece) + 8 for piece in pieces)
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size)
    return b"".join([*map(compressor.compress, _chunks(pieces)), compressor.flush()])


def _chunks(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """The pieces, put together to what is worth a call: other threads go on while it is compressed."""
    chunk, size = [], 0
    for part in framed(pieces):
        chunk.append(part)
        size += len(part)
        if size >= CHUNK:
            yield b"".join(chunk)
            chunk, size = [], 0
    yield b"".join(chunk)
