"""``tapeflow recipe``: a whole reference system from one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from tapeflow.cli.stack import _CACHE, Cache

recipe = Typer(
    name="recipe",
    help="Reference systems, each from one file: with Kafka, an engine, a store, API and page.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, Argument(help="A recipe, as `tapeflow recipe list` shows.", metavar="NAME")]
Source = Annotated[str, Option("--source", help="simulated (needs no network), or the venue itself: binance.")]
Data = Annotated[
    Path | None, Option("--data", help="Its folder; a start goes on where the last one ended.", metavar="DIR")
]
Port = Annotated[
    int | None, Option("--port", help="The port of the page. 8600, or the next free one, unless given.", max=65_535)
]
NoBrowser = Annotated[bool, Option("--no-browser", help="Do not open the page in a browser.")]


@recipe.command("list")
def ls() -> None:
    """List the recipes.

    Example: tapeflow recipe list
    """
    from tapeflow.app.recipe import load, names

    for name in names():
        sys.stdout.write(f"{name}  {load(name).title}\n")


@recipe.command("show")
def show(name: Name) -> None:
    """Print the file of a recipe: copy it, change it, run the parts of it yourself.

    Example: tapeflow recipe show r1
    """
    from tapeflow.app.recipe import text

    sys.stdout.write(text(name))


@recipe.command("run")
def run(
    name: Name,
    source: Source = "simulated",
    data: Data = None,
    port: Port = None,
    no_browser: NoBrowser = False,
    cache: Cache = _CACHE,
) -> None:
    """Run a recipe until Ctrl-C: servers, venue, job, collector, sink, gateway; prints the page's address.

    Servers that TAPEFLOW_KAFKA, TAPEFLOW_FLINK and TAPEFLOW_POSTGRES name are used as they are; the others are started
    here, and stopped at the end. What they need is fetched once. A later run goes on where this one ends.

    Example: tapeflow recipe run r1
    """
    from tapeflow.app.log import say, setup
    from tapeflow.app.roles import check_installed

    check_installed()  # before what imports them
    from tapeflow.app.recipe import Asked, load
    from tapeflow.app.recipe import run as work
    from tapeflow.cli.demo import _open
    from tapeflow.cli.progress import bar

    def serving(address: str) -> None:
        sys.stdout.write(f"{address}/\n")
        sys.stdout.flush()
        if not no_browser:
            _open(f"{address}/")

    setup()
    # What two sources have told is never mixed.
    folder = data or Path(f"tapeflow-{name}" if source == "simulated" else f"tapeflow-{name}-{source}")
    say(f"recipe {name}: data in {folder}; Ctrl-C stops")
    work(load(name), Asked(folder, cache.expanduser(), source, port), say, bar, serving)
    more = ("" if source == "simulated" else f" --source {source}") + ("" if data is None else f" --data {data}")
    say(f"stopped; `tapeflow recipe run {name}{more}` goes on from here")
