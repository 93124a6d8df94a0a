"""Compaction: sealed segments are written anew with larger blocks and more effort; the records stay the same."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard

from tapeflow.domain.errors import TapeError
from tapeflow.files import sync_folder
from tapeflow.tape import index
from tapeflow.tape.blocks import Block
from tapeflow.tape.encoding import COMPACTED, MOST_RECORDS, decode, join, pack
from tapeflow.tape.lock import KEEPING, Lock
from tapeflow.tape.segments import SegmentFile, first_position

LEVEL = 12
BLOCK_BYTES = 8 << 20


class Compacted(msgspec.Struct, frozen=True):
    """What became of a segment; ``skipped`` says why it was left as it is, where it was."""

    segment: str
    bytes_before: int
    bytes_after: int
    skipped: str = ""


class _DamagedError(Exception):
    """A segment has damage, which must stay as it is: the bytes may be all that is left to repair it from."""


def compact(
    folder: Path, *, leave: Collection[str] = (), level: int = LEVEL, block_bytes: int = BLOCK_BYTES
) -> list[Compacted]:
    """Compact every sealed segment that is not yet: positions and records stay, a crash leaves one whole version.

    A reader that is in a segment goes on in its old version. A damaged segment is left as it is, and one
    to ``leave`` is not looked at. Raises `TapeError`.
    """
    lock = Lock(folder, KEEPING, "compact the tape")
    try:
        for left in folder.glob("tape-*.tape.part"):
            left.unlink()
        sealed = index.entries(folder)[:-1]
        fresh = [entry.name for entry in sealed if not entry.is_compacted and entry.name not in leave]
        done = [_compact(folder / name, level, block_bytes) for name in fresh]
        if done:
            index.rebuild(folder)
    except OSError as error:
        raise TapeError(
            f"cannot compact the tape {folder}: {error.strerror}; the segments are as they were: "
            "free some space or make the folder writable"
        ) from error
    else:
        return done
    finally:
        lock.release()


def _compact(path: Path, level: int, block_bytes: int) -> Compacted:
    before = path.stat().st_size
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            _write(path, file, zstandard.ZstdCompressor(level=level), block_bytes)
            file.flush()
            os.fsync(file.fileno())
        after = part.stat().st_size
        part.replace(path)
        sync_folder(path.parent)
    except _DamagedError as damage:
        return Compacted(path.name, before, before, str(damage))
    finally:
        part.unlink(missing_ok=True)
    return Compacted(path.name, before, after)


def _write(path: Path, out: BinaryIO, compressor: zstandard.ZstdCompressor, block_bytes: int) -> None:
    waiting: list[Block] = []
    records = size = 0
    for block in _blocks(path):
        if waiting and (size + len(block.buffer) > block_bytes or records + len(block) > MOST_RECORDS):
            out.write(pack(waiting[0].first, join(waiting), compressor, COMPACTED))
            waiting, records, size = [], 0, 0
        waiting.append(block)
        records, size = records + len(block), size + len(block.buffer)
    if waiting:
        out.write(pack(waiting[0].first, join(waiting), compressor, COMPACTED))


def _blocks(path: Path) -> Iterator[Block]:
    """The blocks of a segment without damage."""
    expected = first_position(path.name)
    file = SegmentFile(path)
    try:
        for piece in file.pieces():
            if piece.header is None or piece.what:
                raise _DamagedError(f"damaged at byte {piece.offset}: {piece.what}")
            block = decode(piece.header, piece.payload)
            if isinstance(block, str) or block.first != expected:
                raise _DamagedError(f"damaged at byte {piece.offset}: positions {expected} on are not here")
            expected = block.next
            yield block
    finally:
        file.close()
