"""``tapeflow key``: who may ask a run that others can reach."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from tapeflow.cli.options import Data, Json

key = Typer(
    name="key",
    help="Keys of the API: make, list and revoke them; a running server knows within a second.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, Argument(help="Who it is for: shown in lists, never checked.", metavar="NAME")]
Scopes = Annotated[
    str, Option("--scopes", help="What it allows, of read, sql (/v1/sql) and admin (rules, alerts).", metavar="A,B")
]
Expires = Annotated[str | None, Option("--expires", help="Good for so long. For ever unless given.", metavar="SPAN")]
Prefix = Annotated[str, Argument(help="The eight letters after tf_, as `tapeflow key ls` shows.", metavar="PREFIX")]


@key.command("create")
def create(name: Name, scopes: Scopes = "read", expires: Expires = None, data: Data = Path("data")) -> None:
    """Make a key and print it: this once, it cannot be read from the folder again.

    Send it as `Authorization: Bearer KEY`, or in the first message of a stream; never in an address.

    Example: tapeflow key create laptop --scopes read,sql --expires 90d
    """
    from tapeflow.api.keys import KeyFile
    from tapeflow.domain.time import parse_span

    names = [word.strip() for word in scopes.split(",") if word.strip()]
    token = KeyFile(data).create(name, names, None if expires is None else parse_span(expires))
    sys.stdout.write(token + "\n")
    sys.stderr.write("keep it: only its hash is kept here, and it is not shown again\n")


@key.command("ls")
def ls(data: Data = Path("data"), json: Json = False) -> None:
    """List the keys: prefix, name, scopes, when made, until when good.

    Example: tapeflow key ls --data data
    """
    import msgspec

    from tapeflow.api.keys import KeyFile

    found = KeyFile(data).ls()
    if json:
        for one in found:
            row = msgspec.structs.asdict(one) | {"is_expired": one.is_expired}
            del row["hash"]
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        return
    from rich.table import Table

    from tapeflow.cli.console import console

    table = Table("prefix", "name", "scopes", "made (UTC)", "good until (UTC)", box=None, pad_edge=False)
    for one in found:
        until = "for ever" if one.expires is None else _time(one.expires) + (" (over)" if one.is_expired else "")
        table.add_row(one.prefix, one.name, ",".join(one.scopes), _time(one.created), until)
    console(sys.stdout).print(table)


@key.command("revoke")
def revoke(prefix: Prefix, data: Data = Path("data")) -> None:
    """Remove a key: who has it is refused from then on, by a running server within a second.

    Example: tapeflow key revoke Ab3dE6gH
    """
    from tapeflow.api.keys import KeyFile

    gone = KeyFile(data).revoke(prefix)
    sys.stderr.write(f"revoked {gone.prefix} ({gone.name})\n")


def _time(at: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%d %H:%M:%S}"
