"""commands.md: what every command says of itself."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from typer.main import get_command
from typer.testing import CliRunner

from pages.markdown import Meanings, code, table
from tapeflow.app.replay import Summary
from tapeflow.cli.main import app

SUMMARY = {
    "frames": "Messages read. Notes of a `.cryptofeed` file and REST answers are none.",
    "events": "New events in them. Repeats and ignored aggregates are not counted.",
    "quarantined": "Frames in `quarantine`.",
    "gaps": "Rows of `coverage` with state `gap`.",
    "rows": "Rows written, by channel. Empty in Python, where `Replay.write` returns them.",
    "seconds": "Time taken, without writing.",
    "answers": "REST answers in `.cryptofeed` files. They are no frames; rows of public dumps are.",
    "duplicates": "Trades that had been seen.",
    "ignored_aggregates": "Aggregates of symbols that have single trades.",
    "late": "Trades (and kline pushes of a mean) beyond the horizon.",
    "unknown_fields": "Fields that the venue's documentation does not have.",
    "symbols": "How many symbols were met.",
    "damaged": "Files that were damaged or cut short, and how; what could be read of them was.",
}


def commands() -> str:
    """commands.md."""
    parts = [
        "# Commands\n",
        "Progress and complaints go to standard error. Exit status: 0 done, 1 failed, 2 wrong usage or "
        "configuration.\n",
        f"## tapeflow\n\n```text\n{help_of()}```\n",
        *(f"## tapeflow {' '.join(name)}\n\n```text\n{help_of(*name)}```\n" for name in named(get_command(app))),
        "## The last line of `tapeflow replay`\n",
        "One JSON object:\n",
        fields_of(Summary, Meanings("SUMMARY", SUMMARY)),
    ]
    return "\n".join(parts)


def named(command: Any, *before: str) -> list[tuple[str, ...]]:
    """The commands below one, each by its words; a group before its own."""
    found: list[tuple[str, ...]] = []
    for name, each in getattr(command, "commands", {}).items():
        found += [(*before, name), *named(each, *before, name)]
    return found


def fields_of(struct: type[msgspec.Struct], meanings: Meanings) -> str:
    """The fields of a struct with their meanings."""
    found = table(("key", "meaning"), ((code(name), meanings.of(name)) for name in struct.__struct_fields__))
    meanings.done()
    return found


def help_of(*command: str) -> str:
    """What ``tapeflow COMMAND --help`` prints in 80 columns."""
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"})
    result = runner.invoke(app, [*command, "--help"], prog_name="tapeflow")
    if result.exit_code:
        sys.exit(f"docs/generate.py: tapeflow {' '.join(command)} --help ended with {result.exit_code}")
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines()) + "\n"
