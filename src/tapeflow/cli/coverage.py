"""``tapeflow coverage``: what is there, and what is missing, per stream and day."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tapeflow.cli.options import Json, Key

Data = Annotated[Path, Argument(help="The data folder of a run.", metavar="DIR")]
Symbol = Annotated[str | None, Option("--symbol", help="Only this symbol.")]


def coverage(data: Data, symbol: Symbol = None, json: Json = False, key: Key = None) -> None:
    """Show, for each stream, symbol and day (UTC), how much of it is complete and which gaps there are, and why.

    A run that uses the folder answers, else its file is opened.

    Example: tapeflow coverage data --symbol BTCUSDT
    """
    import msgspec

    from tapeflow.app.coverage import days, table
    from tapeflow.cli.console import console

    found = days(data, symbol, key)
    if json:
        sys.stdout.writelines(msgspec.json.encode(day).decode() + "\n" for day in found)
    else:
        console(sys.stdout).print(table(found))
