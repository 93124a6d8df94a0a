"""``tapeflow doctor``: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

Config = Annotated[
    Path | None, Argument(help="A run file. Without it the defaults and the venue itself.", metavar="CONFIG.toml")
]
Json = Annotated[bool, Option("--json", help="One JSON object instead of a table.")]


def doctor(config: Config = None, json: Json = False) -> None:
    """Check this machine, the data folder and the way to the venue; say what is wrong and what to do. 1 if anything is.

    Changes nothing; works beside a running instance, and looks at its status.

    Example: tapeflow doctor run.toml
    """
    import msgspec

    from tapeflow.settings import RunSettings, load_run

    try:
        from tapeflow.app.doctor import examine
    except ImportError as error:  # the one fault with which nothing else can be looked at
        sys.stderr.write(f"tapeflow: {error}; install the package again, with what it needs: pip install tapeflow\n")
        raise Exit(1) from error

    found = examine(load_run(config) if config else RunSettings(symbols=("BTCUSDT",)))
    is_well = not any(finding.state == "wrong" for finding in found)
    if json:
        rows = [msgspec.structs.asdict(finding) for finding in found]
        sys.stdout.write(msgspec.json.encode({"is_well": is_well, "checks": rows}).decode() + "\n")
    else:
        for finding in found:
            sys.stdout.write(f"{finding.state:8}{finding.check:20} {finding.detail}\n")
            if finding.advice:
                sys.stdout.write(f"{'':29}{finding.advice}\n")
    if not is_well:
        raise Exit(1)
