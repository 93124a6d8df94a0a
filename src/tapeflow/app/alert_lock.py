"""Who keeps the alerts of a data folder: one process, else each would tell everything."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tapeflow.tape.lock import Lock

KEEPING = "alerts.lock"


def hold(data: str) -> Lock:
    """The right to keep the alerts of a data folder; raises `TapeError` while another process has it."""
    folder = Path(data)
    with contextlib.suppress(OSError):  # told as that nothing can be written there
        folder.mkdir(parents=True, exist_ok=True)
    return Lock(folder, KEEPING, "keep the alerts of")
