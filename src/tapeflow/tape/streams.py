"""Compressed files as streams that give all that can be had of a damaged one, and say that it is."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import zstandard

from tapeflow.domain.errors import InputError

CHUNK = 1 << 18

#: A new decompressor: ``decompress(data)``, ``eof`` and ``unused_data``, as zlib and zstandard have them.
Decompressors = Callable[[], Any]


class Stream(Protocol):
    """Bytes of a file; ``damage`` says what is wrong with it, once that is known."""

    damage: str

    def read_into(self, room: memoryview) -> int:
        """Fill ``room`` as far as possible; 0 at the end."""
        ...


class Plain:
    """A file as it is."""

    damage = ""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read_into(self, room: memoryview) -> int:
        block = self._file.read(len(room))
        room[: len(block)] = block
        return len(block)


class Compressed:
    """A file of one or more compressed members."""

    def __init__(self, file: IO[bytes], new: Decompressors) -> None:
        self.damage = ""
        self._file = file
        self._new = new
        self._member = new()
        self._is_fresh = True  # nothing of the member was fed yet
        self._rest = b""  # compressed bytes after the end of a member
        self._ready = b""
        self._at = 0

    def read_into(self, room: memoryview) -> int:
        filled = 0
        while filled < len(room) and (self._at < len(self._ready) or self._more()):
            part = self._ready[self._at : self._at + len(room) - filled]
            room[filled : filled + len(part)] = part
            filled += len(part)
            self._at += len(part)
        return filled

    def _more(self) -> bool:
        """Decompress another chunk; False at the end."""
        while not self.damage:
            data = self._rest or self._file.read(CHUNK)
            self._rest = b""
            if not data:
                if not self._is_fresh:
                    self.damage = "the compressed data ends early"
                return False
            try:
                self._ready, self._at = self._member.decompress(data), 0
            except (zlib.error, zstandard.ZstdError) as error:
                self.damage = f"the compressed data is damaged: {error}"
                return False
            self._is_fresh = False
            if self._member.eof:
                self._rest = self._member.unused_data
                self._member, self._is_fresh = self._new(), True
            if self._ready:
                return True
        return False


def open_stream(file: IO[bytes], path: Path) -> Stream:
    """The stream of a file, plain, gzip, zstandard or zip by its first bytes; raises `InputError`."""
    magic = file.read(4)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return Compressed(file, lambda: zlib.decompressobj(wbits=31))
    if magic == b"\x28\xb5\x2f\xfd":
        return Compressed(file, lambda: zstandard.ZstdDecompressor().decompressobj())
    if magic == b"PK\x03\x04":
        return Plain(_zipped(file, path))
    return Plain(file)


def _zipped(file: IO[bytes], path: Path) -> IO[bytes]:
    try:
        archive = zipfile.ZipFile(file)
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise InputError(f"{path}: expected a zip with one file in it, found {len(names)}; unpack it first")
        return archive.open(names[0])
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: the zip is damaged ({error}); fetch it again") from error
