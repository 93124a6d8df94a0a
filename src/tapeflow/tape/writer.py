"""The one writer of a tape."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import zstandard

from tapeflow.domain.errors import TapeError
from tapeflow.files import sync_folder
from tapeflow.tape import index
from tapeflow.tape.encoding import MOST_RECORDS, encode
from tapeflow.tape.lock import WRITING, Lock
from tapeflow.tape.records import LONGEST, OVERHEAD, Damage, Record
from tapeflow.tape.segments import SegmentFile, first_position, segment_name, segments

SEGMENT_BYTES = 256 << 20
#: On recorded frames level 1 packs as well as 3 and takes two thirds of the time; compaction takes the effort later.
LEVEL = 1
#: Heads and bodies of a block at most, if it has more than one record. Large, because each block costs a thread that
#: shares its interpreter several waits for it.
BLOCK_BYTES = 8 << 20

_APPEND = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)

_ADVICE = {
    errno.ENOSPC: "free some space or lower what is kept",
    errno.EDQUOT: "raise the quota or lower what is kept",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f) or write smaller segments",
    errno.EROFS: "mount it for writing, or choose another folder",
    errno.EACCES: "make the folder writable, or choose another",
    errno.EIO: "the disk is failing: look at the system's log, and move the tape to another",
}


class TapeWriter:
    """What `commit` returned is in the file; what was `sync`\\ ed outlives a power failure. Positions never change.

    Opening cuts off a torn end of the last segment and reports it as ``recovered``. One thread may append and
    commit, another sync. A commit that fails leaves the file with whole blocks only and keeps what waits: commit
    again when there is room. Raises `TapeError`.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, level: int = LEVEL) -> None:
        self.folder = folder
        self.segment_bytes = segment_bytes
        self.recovered: Damage | None = None
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self._files = threading.Lock()
        self._unsynced: list[int] = []
        self._is_new = False
        self._cut_to: int | None = None
        self._file: int | None = None
        self._size = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        self._lock = Lock(folder, WRITING, "write to the tape")
        try:
            self._open()
        except OSError as error:
            self._lock.release()
            raise self._refused(error) from error
        except BaseException:
            self._lock.release()
            raise
        self._synced = self._position

    @property
    def position(self) -> int:
        """The position of the next record: how many were committed since the tape began."""
        return self._position

    @property
    def synced(self) -> int:
        """What is before this position outlives a power failure."""
        return self._synced

    @property
    def waiting(self) -> int:
        """Bytes of memory that uncommitted records take, about."""
        return self._waiting_bytes + OVERHEAD * len(self._waiting)

    def append(self, kind: int, connection: str, body: bytes, *, at: int, mono: int, head: str = "") -> None:
        """Let a record wait for the next commit."""
        self.extend([(kind, connection, at, mono, head, body)])

    def extend(self, records: Sequence[Record], size: int | None = None) -> None:
        """Let records wait for the next commit: all of them, or none if one is too long.

        Who knows the bytes of their heads and bodies, and that none is too long, gives them as ``size``.
        """
        if size is None:
            sizes = [len(record[4]) + len(record[5]) for record in records]
            size = sum(sizes)
            if size > LONGEST and max(sizes) > LONGEST:
                raise too_long(max(sizes))
        self._waiting.extend(records)
        self._waiting_bytes += size

    def commit(self) -> int:
        """Write all that waits; the position after it."""
        if self._file is None:
            raise TapeError(f"the tape {self.folder} is closed; open it again")
        while self._waiting:
            count, size = self._next_block()
            block = encode(self._position, self._waiting[:count], self._compressor)
            try:
                self._write(block)
            except OSError as error:
                raise self._refused(error) from error
            self._entry.add(block)
            self._position += count
            self._waiting_bytes -= size
            del self._waiting[:count]
        return self._position

    def sync(self) -> None:
        """Make what is committed outlive a power failure."""
        with self._files:
            upto, sealed, is_new = self._position, self._unsynced, self._is_new
            current = None if self._file is None else os.dup(self._file)
            self._unsynced, self._is_new = [], False
        try:
            self._sync_all([*sealed, *([] if current is None else [current])], is_new=is_new)
            self._synced = upto
        except OSError as error:
            with self._files:
                self._unsynced, self._is_new = sealed + self._unsynced, self._is_new or is_new
            sealed = []
            raise self._refused(error) from error
        finally:
            for file in [*sealed, *([] if current is None else [current])]:
                os.close(file)

    def close(self) -> None:
        """Commit, sync and let the tape go, even if that fails."""
        if self._file is None:
            return
        try:
            self.commit()
            self.sync()
        finally:
            os.close(self._file)
            for file in self._unsynced:
                os.close(file)
            self._file = None
            self._lock.release()

    def __enter__(self) -> TapeWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        found = segments(self.folder)
        if not found:
            self._position = 0
            self._begin_segment()
            return
        path = found[-1]
        self._file = os.open(path, _APPEND)
        self._entry = index.Entry(path.name)
        self._position = first_position(path.name)
        file = SegmentFile(path)
        try:
            for piece in file.pieces(payload=False):
                if piece.is_torn:
                    self._cut_off(path, piece.offset, piece.size, piece.what)
                    break
                if piece.header is not None:
                    self._entry.count(piece.header)
                    self._position = max(self._position, piece.header.next)
            self._size = os.fstat(self._file).st_size
        finally:
            file.close()

    def _cut_off(self, path: Path, offset: int, size: int, what: str) -> None:
        assert self._file is not None
        self.recovered = Damage(path.name, offset, size, what, self._position)
        os.ftruncate(self._file, offset)
        os.fsync(self._file)

    def _begin_segment(self) -> None:
        """Go on in a new file; the old one is synced with the next `sync`."""
        path = self.folder / segment_name(self._position)
        file = os.open(path, _APPEND | os.O_CREAT, 0o644)
        with self._files:
            if self._file is not None:
                self._unsynced.append(self._file)
            self._file, self._is_new, self._size = file, True, 0
        self._entry = index.Entry(path.name)

    def _next_block(self) -> tuple[int, int]:
        """How many of the waiting records make the next block, and the bytes of their heads and bodies."""
        if self._waiting_bytes <= BLOCK_BYTES and len(self._waiting) <= MOST_RECORDS:
            return len(self._waiting), self._waiting_bytes
        count = size = 0
        for record in self._waiting[:MOST_RECORDS]:
            more = len(record[4]) + len(record[5])
            if count and size + more > BLOCK_BYTES:
                break
            count, size = count + 1, size + more
        return count, size

    def _write(self, block: bytes) -> None:
        """Write a block whole, or leave the file as it was."""
        assert self._file is not None
        if self._cut_to is not None:
            os.ftruncate(self._file, self._cut_to)
            self._cut_to = None
        if self._size and self._size + len(block) > self.segment_bytes:
            sealed = self._entry
            self._begin_segment()
            index.add(self.folder, sealed)
        view = memoryview(block)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            self._cut_to = self._size
            os.ftruncate(self._file, self._size)
            self._cut_to = None
            raise
        self._size += len(block)

    def _sync_all(self, files: list[int], *, is_new: bool) -> None:
        for file in files:
            os.fsync(file)
        if is_new:
            sync_folder(self.folder)

    def _refused(self, error: OSError) -> TapeError:
        advice = _ADVICE.get(error.errno or 0, "look at the disk, or choose another folder")
        return TapeError(f"cannot write to the tape {self.folder}: {error.strerror}; {advice}")


def too_long(size: int) -> TapeError:
    """What to say of a record of this size."""
    return TapeError(f"expected records of at most {LONGEST} bytes, got one of {size}; split it")
