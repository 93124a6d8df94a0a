"""What all pages are made of: tables, docstrings as Markdown, and meanings of which each must be used."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from typing import Any


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def code(text: object) -> str:
    """Inline code."""
    return f"`{text}`"


def plain(text: str) -> str:
    """A docstring's paragraphs as Markdown: two backticks become one, examples fenced."""
    parts = []
    for part in re.split(r"\n\n+", inspect.cleandoc(text)):
        if part.startswith(">>>"):
            parts.append(f"```pycon\n{part}\n```")
        else:
            parts.append(part.replace("``", "`"))
    return "\n\n".join(parts)


def first(thing: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(plain(thing.__doc__ or "").split("\n\n")[0].split())


class Meanings:
    """A dictionary of meanings of which every entry must be used."""

    def __init__(self, name: str, meanings: dict[str, str]) -> None:
        self._name = name
        self._meanings = meanings
        self._unused = set(meanings)

    def of(self, *keys: str) -> str:
        """The first meaning there is."""
        for key in keys:
            if key in self._meanings:
                self._unused.discard(key)
                return self._meanings[key]
        sys.exit(f"docs/generate.py: {self._name} has no meaning of {keys[0]}: add it")

    def done(self) -> None:
        """Complain about what is no longer in the source."""
        if self._unused:
            sys.exit(f"docs/generate.py: {self._name} has more than the source: {', '.join(sorted(self._unused))}")
