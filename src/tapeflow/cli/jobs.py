"""``tapeflow jobs`` and ``tapeflow stop``: what runs on a cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tapeflow.cli.options import Json

if TYPE_CHECKING:
    from tapeflow.runners.flink.rest import Rest

Address = Annotated[
    str | None,
    Option("--address", envvar="TAPEFLOW_FLINK", help="HOST:PORT of Flink's REST.", show_envvar=True),
]
Name = Annotated[str, Argument(help="The id of a job, its beginning, or a name.", metavar="JOB")]
Directory = Annotated[
    str | None, Option("--savepoint", help="Where the savepoint goes; the job's own folder.", metavar="DIR")
]
Cancel = Annotated[
    bool,
    Option("--cancel", help="End it without a savepoint, if it makes none; a submit goes on from its last checkpoint."),
]


def jobs(address: Address = None, json: Json = False) -> None:
    """Show the jobs of a Flink cluster, the newest first.

    Example: tapeflow jobs --json
    """
    import msgspec

    from tapeflow.domain.time import time_text

    found = _rest(address).jobs()
    if json:
        for job in found:
            sys.stdout.write(msgspec.json.encode(job).decode() + "\n")
    elif found:
        from rich.markup import escape
        from rich.table import Table

        from tapeflow.cli.console import console

        table = Table("job", "name", "state", "since (UTC)", "", box=None, pad_edge=False)
        for job in found:
            table.add_row(
                job.id, job.name, job.state, time_text(job.ts_start // 10**6 * 10**6), escape(job.error[:200])
            )
        console(sys.stdout).print(table)
    else:
        sys.stderr.write("no job was ever submitted there: tapeflow submit CONFIG.toml --engine flink\n")


def stop(job: Name, savepoint: Directory = None, cancel: Cancel = False, address: Address = None) -> None:
    """Stop a job with a savepoint, and print where that is; the next submit of its name goes on from it.

    Example: tapeflow stop tapeflow-default
    """
    from tapeflow.runners.flink.submit import cancel as cancelled
    from tapeflow.runners.flink.submit import stop as stopped

    rest = _rest(address)
    found = rest.find(job)
    if not cancel:
        sys.stdout.write(stopped(rest, found, savepoint) + "\n")
    elif place := cancelled(rest, found):
        sys.stdout.write(place + "\n")
    else:
        sys.stderr.write(f"{found.name} had made no checkpoint\n")


def _rest(address: str | None) -> Rest:
    from tapeflow.runners.flink.rest import Rest
    from tapeflow.settings import FlinkSettings

    return Rest(FlinkSettings(address=address or "").server)
