"""``tapeflow sample``: seeded sample messages, to try everything with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Out = Annotated[Path, Argument(help="The file to write.", metavar="FILE")]
Seed = Annotated[int, Option("--seed", help="The same seed gives the same bytes.")]
Seconds = Annotated[int, Option("--seconds", help="How much market time.", min=1, max=86_400)]
Symbols = Annotated[str, Option("--symbols", help="Which symbols.", metavar="X,Y")]
Json = Annotated[bool, Option("--json", help="Say what was written as one JSON object.")]


def sample(
    out: Out,
    seed: Seed = 7,
    seconds: Seconds = 600,
    symbols: Symbols = "BTCUSDT,ETHUSDT,SOLUSDT",
    json: Json = False,
) -> None:
    """Write made-up Binance messages: trades, quotes, books and klines that agree with each other."""
    import msgspec

    from tapeflow.app.sample import write_sample

    names = tuple(word.strip().upper() for word in symbols.split(",") if word.strip())
    count = write_sample(out, seed=seed, seconds=seconds, symbols=names)
    if json:
        written = {"file": str(out), "messages": count, "symbols": names}
        sys.stdout.write(msgspec.json.encode(written).decode() + "\n")
        return
    sys.stdout.write(f"{count} messages of {', '.join(names)} in {out}\n")
