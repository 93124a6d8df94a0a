"""Which tape a folder holds: a random name, given once, that tells it from every other one."""

from __future__ import annotations

import secrets
from pathlib import Path

from tapeflow import files
from tapeflow.domain.errors import TapeError

NAME = "tape.id"


def identity(folder: Path) -> str:
    """The name of a tape, which has one from the first call on; only for who holds its lock. Raises `TapeError`."""
    path = folder / NAME
    try:
        if not path.exists():
            files.replace(path, f"{secrets.token_hex(16)}\n".encode())
        return path.read_text("ascii").strip()
    except OSError as error:
        raise TapeError(f"cannot keep {path}: {error.strerror}; make the folder writable") from error
