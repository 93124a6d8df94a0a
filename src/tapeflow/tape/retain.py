"""Retention: old segments go, whole ones, from the oldest on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tapeflow.domain.errors import TapeError
from tapeflow.files import sync_folder
from tapeflow.tape import index
from tapeflow.tape.lock import KEEPING, Lock


def retain(
    folder: Path, *, max_age_s: float | None, max_bytes: int | None, now_us: int, keep_from: int
) -> list[index.Entry]:
    """Remove sealed segments that are too old or too much, never one that holds a position from ``keep_from`` on.

    Only the oldest go, so what is left has no hole. The last segment stays. Gives what was removed; raises
    `TapeError`, and then what is left still has no hole.
    """
    lock = Lock(folder, KEEPING, "remove segments of the tape")
    try:
        found = index.entries(folder)
        total = sum(entry.size for entry in found)
        removed: list[index.Entry] = []
        for entry, following in pairwise(found):
            is_old = max_age_s is not None and entry.ts_max is not None and entry.ts_max < now_us - max_age_s * 1e6
            is_much = max_bytes is not None and total > max_bytes
            if max(entry.next, following.first) > keep_from or not (is_old or is_much):
                break
            _remove(folder / entry.name)
            total -= entry.size
            removed.append(entry)
        if removed:
            sync_folder(folder)
            index.rebuild(folder)
        return removed
    finally:
        lock.release()


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TapeError(f"cannot remove {path}: {error.strerror}; make the folder writable") from error
