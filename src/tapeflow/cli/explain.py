"""``tapeflow explain``: a flow as it will run, without running it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Config = Annotated[Path | None, Argument(help="A flow file. The default flow unless given.", metavar="TOML")]
Json = Annotated[bool, Option("--json", help="One JSON object instead of a tree.")]


def explain(config: Config = None, json: Json = False) -> None:
    """Print what a flow computes, from what, into which channels."""
    import msgspec

    from tapeflow.flow import catalogue
    from tapeflow.settings import load_flow

    flow = catalogue.default() if config is None else load_flow(config)
    if json:
        nodes = [
            {"id": n.id, "op": n.op, "input": n.input, "channel": n.channel, "what": n.describe()} for n in flow.nodes
        ]
        shown = {"name": flow.name, "lateness_us": flow.lateness_us, "horizon_us": flow.horizon_us, "nodes": nodes}
        sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
    else:
        sys.stdout.write(flow.explain() + "\n")
