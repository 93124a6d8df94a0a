"""``tapeflow show``: candles of a results folder as a table and a picture, in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Results = Annotated[Path, Argument(help="The --out folder of a replay.", metavar="DIR")]
Symbol = Annotated[str | None, Option("--symbol", help="Which symbol. The first one unless given.")]
Interval = Annotated[str, Option("--interval", help="Which candles.")]
Last = Annotated[int, Option("--last", help="How many candles at most.", min=1, max=500)]
Json = Annotated[bool, Option("--json", help="The candles as JSON, one a line, instead of a table and a picture.")]


def show(
    results: Results, symbol: Symbol = None, interval: Interval = "1m", last: Last = 60, json: Json = False
) -> None:
    """Show candles that a replay wrote, as a table of the last ten and a picture of them all."""
    import msgspec

    from tapeflow.app.show import load_candles, picture, table
    from tapeflow.cli.console import console

    candles = load_candles(results, symbol, interval, last)
    if json:
        sys.stdout.writelines(msgspec.json.encode(candle).decode() + "\n" for candle in candles)
        return
    out = console(sys.stdout)
    out.print(table(candles[-10:]))
    out.print(picture(candles))
