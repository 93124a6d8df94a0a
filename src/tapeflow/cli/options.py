"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

Data = Annotated[Path, Option("--data", help="The data folder of the run.", metavar="DIR")]
Json = Annotated[bool, Option("--json", help="One JSON object a line instead of a table.")]
Key = Annotated[
    str | None, Option("--key", envvar="TAPEFLOW_API_KEY", help="For a run that asks for a key.", show_envvar=True)
]
