"""``tapeflow config``: the settings of a run, looked at before it is started."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Typer

config = Typer(
    name="config",
    help="The settings of a run: what counts, what is wrong, and an example with every key.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, Argument(help="A run file.", metavar="CONFIG.toml")]


@config.command("show")
def show(file: File) -> None:
    """Print the settings that count, every key with its meaning, defaults included, secrets starred out; as TOML.

    Example: tapeflow config show run.toml
    """
    from tapeflow.app.config import show as text
    from tapeflow.settings import load_run

    sys.stdout.write(text(load_run(file)))


@config.command("check")
def check(file: File) -> None:
    """Say what is wrong with a run file, all of it, with the nearest key there is; 2 if anything is.

    It also needs what a start needs: a key where others can reach the API.

    Example: tapeflow config check run.toml
    """
    from tapeflow.api.keys import open_keys
    from tapeflow.settings import load_run
    from tapeflow.venues.wire import wire

    settings = load_run(file)
    wire(settings.venue)
    if settings.api.enabled:
        open_keys(settings.data, settings.api)
    sys.stderr.write(f"{file} can be used: {len(settings.symbols)} symbols of {settings.venue}\n")


@config.command("example")
def example() -> None:
    """Print a run file with every key, its meaning and its default.

    Example: tapeflow config example > run.toml
    """
    from tapeflow.app.config import example as text

    sys.stdout.write(text())
