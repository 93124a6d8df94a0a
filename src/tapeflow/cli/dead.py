"""``tapeflow dead``: messages that a sink could not use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from tapeflow.cli.options import Json

dead = Typer(
    name="dead",
    help="Dead letters of a cluster: messages that could not be used; look at them, put them back, drop them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Config = Annotated[Path, Argument(help="The settings of the cluster.", metavar="CONFIG.toml")]
Names = Annotated[
    list[str] | None, Argument(help="Which, as `tapeflow dead ls` names them; all unless given.", metavar="NAME")
]
Drop = Annotated[bool, Option("--drop", help="Forget them instead.")]


@dead.command("ls")
def ls(config: Config, json: Json = False) -> None:
    """List them: where each came from, when, why it could not be used, and how it begins.

    Example: tapeflow dead ls run.toml
    """
    import msgspec

    from tapeflow.app.collector import bus, bus_settings
    from tapeflow.app.sink import DEAD
    from tapeflow.bus.dead import in_a_line, letters
    from tapeflow.settings import load_run

    settings = load_run(config)
    found = list(letters(bus(settings), bus_settings(settings).topic(DEAD)))
    if json:
        sys.stdout.writelines(msgspec.json.encode(one).decode() + "\n" for one in found)
        return
    from datetime import UTC, datetime

    for one in found:
        at = datetime.fromtimestamp(one.ts / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        sys.stdout.write(f"{one.name}  {at}  {in_a_line(one.reason)}\n    {one.begins}\n")
    sys.stderr.write(f"{len(found)} dead letters\n")


@dead.command("back")
def back(config: Config, names: Names = None, drop: Drop = False) -> None:
    """Put them at the end of the topics that they came from, for sinks that can use them now; or drop them.

    Example: tapeflow dead back run.toml trades:0:1234
    """
    from tapeflow.app.collector import bus, bus_settings
    from tapeflow.app.sink import DEAD
    from tapeflow.bus.dead import letters, put_back
    from tapeflow.domain.errors import SettingsError
    from tapeflow.settings import load_run

    settings = load_run(config)
    topic = bus_settings(settings).topic(DEAD)
    if missing := sorted(set(names or ()) - {one.name for one in letters(bus(settings), topic)}):
        raise SettingsError(f"no dead letter {', '.join(missing)}: `tapeflow dead ls {config}` lists those there are")
    count = put_back(bus(settings), topic, lambda one: not names or one.name in names, drop=drop)
    sys.stderr.write(f"{count} dead letters were {'dropped' if drop else 'put back'}\n")
