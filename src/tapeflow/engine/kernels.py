"""Which kernel runs: the compiled one where it was built, else its portable twins; both have the same interface."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

from tapeflow.engine import intake, windows

#: The portable twins.
PORTABLE: Any = SimpleNamespace(Intake=intake.Intake, Windows=windows.Windows)


def _load() -> Any:
    try:
        return importlib.import_module("tapeflow.engine._kernel")
    except ImportError:  # the package was built where nothing compiles
        return None


#: The compiled kernel, or None.
COMPILED: Any = _load()


def choose(*, compiled: bool | None = None) -> Any:
    """The compiled kernel unless there is none or ``compiled`` is False."""
    return PORTABLE if COMPILED is None or compiled is False else COMPILED
