"""Files with secrets: there whole or not at all, and readable by nobody else, not even for an instant."""

from __future__ import annotations

import os
from pathlib import Path

from tapeflow import files
from tapeflow.domain.errors import SettingsError


def read(path: Path) -> bytes | None:
    """The content, None where there is no such file; raises `SettingsError` if others can read it, or we cannot."""
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; run as the user that made it") from error
    if os.name == "posix" and mode & 0o077:
        raise SettingsError(
            f"{path} has secrets and can be read by others (mode {mode & 0o777:03o}): chmod 600 {path}, "
            "and make new ones if others may have read it"
        )
    return content


def write(path: Path, content: bytes) -> None:
    """Put a new file in place of the old one, also after a power failure; raises `OSError`. One writer at a time."""
    files.replace(path, content, mode=0o600)
