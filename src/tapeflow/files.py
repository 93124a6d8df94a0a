"""A file in place of another: there whole or not at all, and if asked for, also after a power failure."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, content: bytes, *, sync: bool = True, mode: int = 0o666) -> None:
    """Put a new file in place of the old one; raises `OSError`, and then the old one is there. One writer at a time.

    ``sync`` returns when it is on the disk. ``mode`` are the permissions of the new one, less what the umask takes: it
    never has others, not even for an instant.
    """
    staging = path.with_name(f".{path.name}.new")
    try:
        staging.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(staging, flags, mode), "wb") as out:
            out.write(content)
            if sync:
                out.flush()
                os.fsync(out.fileno())
        staging.replace(path)
        if sync:
            sync_folder(path.parent)
    finally:
        staging.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make new, renamed and removed names of a folder outlive a power failure, where the system can."""
    if os.name == "nt":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
