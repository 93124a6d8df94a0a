"""The one way to print for people."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console


def console(file: TextIO) -> Console:
    """A console that never breaks a row: wide where nobody looks, as wide as the terminal where someone does."""
    return Console(file=file, width=None if file.isatty() else 120, highlight=False)
