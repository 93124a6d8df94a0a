"""A lock on a folder, held by a process while it lives and by nobody after."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tapeflow.domain.errors import TapeError

WRITING = "tape.lock"
KEEPING = "tape.keeping.lock"

#: Whoever only looks whether a lock is held has it for an instant: a writer tries again for so long.
_PATIENCE_S = 0.2


class Lock:
    """Held from the call on until `release`; raises `TapeError` that names the process which has it."""

    def __init__(self, folder: Path, name: str, purpose: str) -> None:
        path = folder / name
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise TapeError(
                f"cannot {purpose} {folder}: {path.name}: {error.strerror}; make the folder writable or choose another"
            ) from error
        until = time.monotonic() + _PATIENCE_S
        while not _try_lock(self._file):
            if time.monotonic() > until:
                owner = os.read(self._file, 32).decode("ascii", "replace").strip()
                os.close(self._file)
                raise TapeError(
                    f"cannot {purpose} {folder}: process {owner or 'unknown'} does so already; "
                    "stop it or choose another folder"
                )
            time.sleep(0.01)
        try:
            os.ftruncate(self._file, 0)
            os.write(self._file, f"{os.getpid()}\n".encode())
        except OSError:
            pass  # a full disk: the lock holds, only the name of its owner is missing

    def release(self) -> None:
        os.close(self._file)


def is_held(folder: Path, name: str) -> bool:
    """Whether a process holds this lock now."""
    try:
        file = os.open(folder / name, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try_lock(file)
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> bool:
        # A locked byte cannot be read there: it is one far beyond the number of the process.
        os.lseek(file, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
