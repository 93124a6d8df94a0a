"""``tapeflow submit``: a flow on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tapeflow.cli.stack import _CACHE, Cache

Config = Annotated[Path, Argument(help="The file of a run, with a table [bus].", metavar="CONFIG.toml")]
Engine = Annotated[str, Option("--engine", help="The engine of the cluster: flink.")]
Address = Annotated[
    str | None,
    Option("--address", help="HOST:PORT of its REST instead of the one in the settings or in TAPEFLOW_FLINK."),
]
From = Annotated[str | None, Option("--from", help="The savepoint or checkpoint to go on from.", metavar="URI")]
Anew = Annotated[bool, Option("--anew", help="Begin at the start of the topic, whatever state there is.")]


def submit(
    config: Config,
    engine: Engine = "flink",
    address: Address = None,
    savepoint: From = None,
    anew: Anew = False,
    cache: Cache = _CACHE,
) -> None:
    """Run the flow of a file on a cluster: from the topic of trades that collectors fill, to topics of results.

    Prints the id of the job. A running job of the same name is upgraded: stopped with a savepoint, and gone on with
    where its state fits the new flow. Where it was lost or stopped, it goes on from what it left.

    Example: tapeflow submit run.toml --engine flink
    """
    from tapeflow.app.jobs import submit as submitted
    from tapeflow.cli.progress import bar
    from tapeflow.domain.errors import SettingsError
    from tapeflow.settings import load_run

    if engine != "flink":
        raise SettingsError(f"no engine {engine!r}; there is flink")
    settings = load_run(config)
    server = address or settings.flink.server
    job = submitted(settings, server, cache.expanduser(), _say, bar, savepoint=savepoint or "", anew=anew)
    sys.stdout.write(job + "\n")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
