"""The index of sealed segments: only a cache. What it says of a file is believed while name and size fit."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tapeflow.engine.columns import NONE_TIME
from tapeflow.tape.encoding import COMPACTED, Header, unpack
from tapeflow.tape.segments import SegmentFile, first_position, segments

INDEX = "tape.index"


class Entry(msgspec.Struct):
    """What the headers of a segment say together. Times are None while no record has one."""

    name: str
    size: int = 0
    blocks: int = 0
    records: int = 0
    raw: int = 0
    compacted: int = 0
    next: int = -1
    ts_min: int | None = None
    ts_max: int | None = None

    @property
    def first(self) -> int:
        """The position of its first record."""
        return first_position(self.name)

    @property
    def is_compacted(self) -> bool:
        return self.compacted == self.blocks

    def add(self, block: bytes) -> None:
        """Count a block that was appended."""
        header = unpack(block)
        if isinstance(header, Header):
            self.count(header)

    def count(self, header: Header) -> None:
        """Count a block by its header."""
        self.size += header.size
        self.blocks += 1
        self.compacted += header.codec == COMPACTED
        self.records += header.records
        self.raw += header.raw
        self.next = max(self.next, header.next)
        if header.ts_min != NONE_TIME:
            self.ts_min = header.ts_min if self.ts_min is None else min(self.ts_min, header.ts_min)
            self.ts_max = header.ts_max if self.ts_max is None else max(self.ts_max or header.ts_max, header.ts_max)


def entries(folder: Path) -> list[Entry]:
    """What is known of every segment of a tape, from the index where it is right, else from the headers."""
    cached = _load(folder)
    found = []
    for path in segments(folder):
        with contextlib.suppress(FileNotFoundError):  # removed while we look
            entry = cached.get(path.name)
            found.append(entry if entry is not None and entry.size == path.stat().st_size else scan(path))
    return found


def scan(path: Path) -> Entry:
    """What the headers of a segment say; its size is the file's."""
    entry = Entry(path.name)
    file = SegmentFile(path)
    try:
        for piece in file.pieces(payload=False):
            if piece.header is not None:
                entry.count(piece.header)
        entry.size = file.size()
    finally:
        file.close()
    return entry


def add(folder: Path, entry: Entry) -> None:
    """Remember a segment that was sealed; a failure costs only time later."""
    with contextlib.suppress(OSError):
        present = {path.name for path in segments(folder)}
        known = [old for old in _load(folder).values() if old.name in present and old.name != entry.name]
        save(folder, sorted([*known, entry], key=lambda one: one.name))


def rebuild(folder: Path) -> list[Entry]:
    """Make the index anew where it can be written: the entries of the sealed segments."""
    sealed = entries(folder)[:-1]
    with contextlib.suppress(OSError):
        save(folder, sealed)
    return sealed


def save(folder: Path, known: Sequence[Entry]) -> None:
    """Replace the index whole."""
    text = msgspec.json.encode(known)
    part = folder / f"{INDEX}.{os.getpid()}.part"
    part.write_bytes(b"%08x\n%b" % (zlib.crc32(text), text))
    part.replace(folder / INDEX)


def _load(folder: Path) -> dict[str, Entry]:
    try:
        checksum, _, text = (folder / INDEX).read_bytes().partition(b"\n")
        if int(checksum, 16) != zlib.crc32(text):
            return {}
        return {entry.name: entry for entry in msgspec.json.decode(text, type=list[Entry])}
    except (OSError, ValueError, msgspec.MsgspecError):
        return {}
