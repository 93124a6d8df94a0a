"""``tapeflow symbols``: what a run follows, seen and changed while it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Typer

from tapeflow.cli.options import Data, Json, Key

symbols = Typer(
    name="symbols",
    help="The symbols of a run: list, add and remove them while it runs; kept over restarts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Symbol = Annotated[str, Argument(help="As the venue writes it, in any case.", metavar="SYMBOL")]


@symbols.command("ls")
def ls(data: Data = Path("data"), json: Json = False, key: Key = None) -> None:
    """List what the run follows, or followed and has rows of.

    Example: tapeflow symbols ls --data tapeflow-demo
    """
    import msgspec

    from tapeflow.app.running import ask

    rows = ask(data, "GET", "/v1/symbols", key=key)["data"]
    if json:
        for row in rows:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        return
    from rich.table import Table

    from tapeflow.cli.console import console

    names = ("venue", "symbol", "status", "tick", "step", "size_unit")
    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(row.get(name) or "") for name in names))
    console(sys.stdout).print(table)


@symbols.command("add")
def add(symbol: Symbol, data: Data = Path("data"), key: Key = None) -> None:
    """Follow a symbol from now on, with its history; one that the venue does not list is refused.

    Example: tapeflow symbols add LINKUSDT --data tapeflow-demo
    """
    from tapeflow.app.running import ask

    ask(data, "POST", "/v1/symbols", {"symbol": symbol}, key)
    sys.stderr.write(f"following {symbol.upper()}\n")


@symbols.command("remove")
def remove(symbol: Symbol, data: Data = Path("data"), key: Key = None) -> None:
    """Follow a symbol no more; what is stored of it stays.

    Example: tapeflow symbols remove LINKUSDT --data tapeflow-demo
    """
    from urllib.parse import quote

    from tapeflow.app.running import ask

    ask(data, "DELETE", f"/v1/symbols/{quote(symbol, safe='')}", key=key)
    sys.stderr.write(f"not following {symbol.upper()} any more\n")
