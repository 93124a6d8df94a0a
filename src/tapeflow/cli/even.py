"""How the interpreter is set where frames are handed on, so that none waits long for anything but its own work."""

from __future__ import annotations

import gc
import sys


def even() -> None:
    """Small pauses for garbage, and threads that give way to each other at once."""
    gc.set_threshold(2_000, 10, 1_000)  # a look at 20,000 objects takes some milliseconds, at all of them tens of them
    sys.setswitchinterval(0.0002)  # five threads hand each frame on: none may wait long for another
