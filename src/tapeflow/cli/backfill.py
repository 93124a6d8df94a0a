"""``tapeflow backfill`` and ``tapeflow repair``: history into the store, and results computed again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Config = Annotated[Path, Argument(help="The settings of the run whose data folder is meant.", metavar="CONFIG.toml")]
Start = Annotated[str | None, Option("--start", help="From here on: RFC 3339 or microseconds.", metavar="TIME")]
End = Annotated[str | None, Option("--end", help="Up to here. Now unless given.", metavar="TIME")]
Symbols = Annotated[
    str | None, Option("--symbols", help="Only these. Those of the settings unless given.", metavar="X,Y")
]
Dumps = Annotated[
    list[Path] | None, Option("--file", help="A public dump (trades, aggTrades, klines) instead of REST; repeatable.")
]
CandlesOnly = Annotated[bool, Option("--candles-only", help="No trades: only the venue's own candles.")]
Json = Annotated[bool, Option("--json", help="Say what was done as one JSON object.")]
RepairStart = Annotated[str, Option("--start", help="From here up to now: RFC 3339 or microseconds.", metavar="TIME")]


def backfill(
    config: Config,
    start: Start = None,
    end: End = None,
    symbols: Symbols = None,
    file: Dumps = None,
    candles_only: CandlesOnly = False,
    json: Json = False,
) -> None:
    """Fetch history of the venue and compute it into the store. Interrupted, the same command goes on.

    Not while `tapeflow run` uses the same data folder. Weight limits of the venue are kept, with others in mind.

    Example: tapeflow backfill run.toml --start 2026-01-01T00:00:00Z --end 2026-01-02T00:00:00Z --symbols BTCUSDT

    Example: tapeflow backfill run.toml --file BTCUSDT-trades-2026-01-01.zip
    """
    import asyncio
    import time

    from tapeflow.app.backfill import backfill as fetch
    from tapeflow.app.backfill import backfill_files
    from tapeflow.domain.errors import SettingsError
    from tapeflow.domain.time import parse_time
    from tapeflow.settings import load_run

    settings = load_run(config)
    if file:
        _tell(backfill_files(settings, file, _say), json=json)
        return
    if start is None:
        raise SettingsError("expected --start TIME (such as 2026-01-01T00:00:00Z) or --file DUMP")
    first, last = parse_time(start), parse_time(end) if end else None
    if first >= (time.time_ns() // 1000 if last is None else last):
        raise SettingsError(f"expected --end after --start, got {start} and {end or 'now'}")
    chosen = [word.strip().upper() for word in symbols.split(",") if word.strip()] if symbols else settings.symbols
    _tell(asyncio.run(fetch(settings, chosen, first, last, _say, trades=not candles_only)), json=json)


def repair(config: Config, start: RepairStart, json: Json = False) -> None:
    """Compute the results of a range of time again from the tapes, up to now.

    Late trades that came beyond the horizon count, and so do holes that were filled since. Not while `tapeflow run`
    uses the same data folder.

    Example: tapeflow repair run.toml --start 2026-01-01T00:00:00Z
    """
    from tapeflow.app.backfill import repair as compute
    from tapeflow.domain.time import parse_time
    from tapeflow.settings import load_run

    _tell(compute(load_run(config), parse_time(start)), json=json)


def _tell(done: object, *, json: bool) -> None:
    import msgspec

    if json:
        sys.stdout.write(msgspec.json.encode(done).decode() + "\n")
    else:
        facts = msgspec.to_builtins(done)
        for text in facts["damage"]:
            sys.stderr.write(f"tapeflow: {text}\n")
        sys.stdout.write(
            f"{facts['records']} records played, {facts['rows']} rows written; "
            f"{facts['complete_runs']} runs of trades are complete\n"
        )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
