"""Segments: the files of a tape, and the blocks in one of them, whole or damaged."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tapeflow.domain.errors import TapeError
from tapeflow.tape.encoding import HEADER_SIZE, MAGIC, Header, unpack

_NAME = re.compile(r"tape-([0-9]{20})\.tape", re.ASCII)
_WINDOW = 1 << 20


def segment_name(first: int) -> str:
    """The file name of the segment whose first record has this position."""
    return f"tape-{first:020d}.tape"


def first_position(name: str) -> int:
    """The position that a segment's name tells."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is no name of a segment")
    return int(found.group(1))


def segments(folder: Path) -> list[Path]:
    """The segments of a tape by position; raises `TapeError` where there is no such folder."""
    try:
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise TapeError(f"{folder}: {error.strerror}; expected the folder of a tape") from error


class Piece(NamedTuple):
    """A stretch of a segment: a whole block where ``what`` is empty, else bytes that cannot be read, and why.

    ``is_torn`` tells an end that may yet be completed (or was never) from damage with something good after it. A
    damaged block whose header is good keeps the header.
    """

    offset: int
    size: int
    header: Header | None
    payload: memoryview
    what: str
    is_torn: bool

    @property
    def end(self) -> int:
        return self.offset + self.size


_NOTHING = memoryview(b"")


def _unreadable(path: Path, error: OSError) -> TapeError:
    return TapeError(f"cannot read {path}: {error.strerror}; look at the rights of the file, and at the disk")


def _whole(offset: int, header: Header, payload: memoryview) -> Piece:
    return Piece(offset, header.size, header, payload, "", is_torn=False)


class SegmentFile:
    """The pieces of a segment, in order; one that is being written may be asked again at its end.

    Raises `FileNotFoundError` where it is gone (removed while one looked), else `TapeError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unreadable(path, error) from error
        self._window = b""
        self._start = 0

    def close(self) -> None:
        self._file.close()

    def size(self) -> int:
        """The bytes it has now."""
        return self._file.seek(0, 2)

    def piece(self, offset: int, least: int, *, payload: bool = True) -> Piece | None:
        """What begins at ``offset``; None at the end of the file.

        ``least`` is the position that the next record must have at least: what pretends to be a block of earlier
        ones, inside damaged bytes, is none. Without ``payload`` that part is not given, nor checked without need.
        """
        piece = self._piece(offset, least, payload)
        if piece is not None and piece.what:
            # What was read before may be out of date: a writer cuts off a block that it could not write whole.
            self._window = b""
            piece = self._piece(offset, least, payload)
            self._window = b""
        return piece

    def pieces(self, *, payload: bool = True) -> Iterator[Piece]:
        """All from the start to the present end."""
        offset, least = 0, first_position(self.path.name)
        while (piece := self.piece(offset, least, payload=payload)) is not None:
            yield piece
            offset = piece.end
            least = piece.header.next if piece.header is not None else least

    def _piece(self, offset: int, least: int, payload: bool) -> Piece | None:  # noqa: FBT001
        head = self._bytes(offset, HEADER_SIZE)
        if not head:
            return None
        if len(head) < HEADER_SIZE:
            return Piece(offset, len(head), None, _NOTHING, "the block's header ends early", is_torn=True)
        header = unpack(head)
        if isinstance(header, str):
            return self._bad(offset, header, least)
        if not payload and self._is_followed(offset + header.size):
            return _whole(offset, header, _NOTHING)
        block = self._bytes(offset, header.size)
        if len(block) < header.size:
            return self._short(offset, header)
        if zlib.crc32(block[HEADER_SIZE:]) == header.checksum:
            return _whole(offset, header, block[HEADER_SIZE:])
        # If bytes are missing the next block begins before this one's end.
        end = self._find(offset + HEADER_SIZE, offset + header.size, header.next) or offset + header.size
        return Piece(
            offset, end - offset, header, _NOTHING, "the checksum of the block's payload is wrong", is_torn=False
        )

    def _is_followed(self, end: int) -> bool:
        """Whether a block that is said to end here does: bytes missing in it would lead into the middle of the next."""
        return end <= self.size() and MAGIC.startswith(bytes(self._bytes(end, len(MAGIC))))

    def _bad(self, offset: int, what: str, least: int) -> Piece:
        end = self._find(offset + 1, None, least)
        stop = end or self.size()
        return Piece(offset, stop - offset, None, _NOTHING, what, is_torn=end is None)

    def _short(self, offset: int, header: Header) -> Piece:
        end = self._find(offset + HEADER_SIZE, None, header.next)
        stop = end or self.size()
        return Piece(offset, stop - offset, header, _NOTHING, "the block ends early", is_torn=end is None)

    def _find(self, offset: int, stop: int | None, least: int) -> int | None:
        """The next block with a good header that begins before ``stop``."""
        while stop is None or offset < stop:
            data = bytes(self._bytes(offset, _WINDOW))
            at = data.find(MAGIC)
            while at >= 0 and (stop is None or offset + at < stop):
                head = self._bytes(offset + at, HEADER_SIZE)
                header = unpack(head) if len(head) == HEADER_SIZE else ""
                if isinstance(header, Header) and header.first >= least:
                    return offset + at
                at = data.find(MAGIC, at + 1)
            if len(data) < _WINDOW:
                return None
            offset += len(data) - len(MAGIC) + 1
        return None

    def _bytes(self, offset: int, size: int) -> memoryview:
        """Up to ``size`` bytes from ``offset``, from one read: fewer only at the end of the file."""
        at = offset - self._start
        if at < 0 or at + size > len(self._window):
            try:
                self._file.seek(offset)
                self._window = self._file.read(max(size, _WINDOW))
            except OSError as error:
                raise _unreadable(self.path, error) from error
            self._start, at = offset, 0
        return memoryview(self._window)[at : at + size]
