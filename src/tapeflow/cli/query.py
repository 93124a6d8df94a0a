"""``tapeflow query``: SQL over the results of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tapeflow.cli.options import Key

Sql = Annotated[str, Argument(help="One statement that reads, such as SELECT ... FROM candles.", metavar="SQL")]
Data = Annotated[Path, Option("--data", help="The data folder of a run.", metavar="DIR")]
Out = Annotated[Path | None, Option("--out", help="Write all rows to this .parquet or .csv file.", metavar="FILE")]
Json = Annotated[bool, Option("--json", help="One JSON object a row instead of a table.")]


def query(sql: Sql, data: Data = Path("data"), out: Out = None, json: Json = False, key: Key = None) -> None:
    """Ask the store of a data folder; its tables are the channels: candles, trades, indicators, coverage ...

    A run that uses the folder answers, else its file is opened. It only reads, and sees no other file. Of many rows
    the first 100,000 are given.

    Example: tapeflow query "SELECT * FROM candles WHERE interval = '1m' ORDER BY ts_start" --out candles.parquet
    """
    from tapeflow.app.query import select, table, write
    from tapeflow.cli.console import console
    from tapeflow.stores.render import json_lines

    found = select(data, sql, key)
    rows = found.rows
    if out is not None:
        write(rows, out)
        sys.stdout.write(f"{rows.num_rows} rows in {out}\n")
    elif json:
        sys.stdout.writelines(line.decode() + "\n" for line in json_lines(rows))
    else:
        console(sys.stdout).print(table(rows))
    if found.is_truncated:
        sys.stderr.write("there are more rows; ask for less at once, as with WHERE or LIMIT\n")
