"""``tapeflow replay``: recorded input through the same code as live frames."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Files = Annotated[
    list[Path],
    Argument(help="Recorded messages, .cryptofeed files or public dumps; gz, zst and zip too.", metavar="FILE"),
]
Out = Annotated[Path, Option("--out", help="Folder for the results: one file for each channel.", metavar="DIR")]
Format = Annotated[str, Option("--format", help="ndjson or parquet.", metavar="FORMAT")]
Channels = Annotated[
    str | None, Option("--channels", help="Only these, such as candles,trades. All unless given.", metavar="A,B")
]
Intervals = Annotated[
    str | None, Option("--intervals", help="Intervals of candles and indicators, such as 1s,1m.", metavar="A,B")
]
Symbols = Annotated[str | None, Option("--symbols", help="Only these symbols.", metavar="X,Y")]
Venue = Annotated[str, Option("--venue", help="Whose messages they are.", metavar="NAME")]
Revisions = Annotated[bool, Option("--revisions", help="Write every revision of a window, not just the last.")]
Config = Annotated[
    Path | None, Option("--flow", help="Run the flow of this file instead of the default one.", metavar="TOML")
]


def replay(
    files: Files,
    out: Out,
    format: Format = "ndjson",
    channels: Channels = None,
    intervals: Intervals = None,
    symbols: Symbols = None,
    venue: Venue = "binance",
    revisions: Revisions = False,
    flow: Config = None,
) -> None:
    """Run recorded messages through the analytics and write what comes out.

    The files are merged by receive time and read in place. A line that cannot be read is quarantined and the run
    goes on. The last line of standard output is one JSON object: frames, events, quarantined, gaps, rows, seconds.

    Example: tapeflow replay trades.ndjson.gz --out results --channels candles --intervals 1s,1m
    """
    import msgspec

    from tapeflow.app.replay import replay as run
    from tapeflow.cli.progress import bar
    from tapeflow.domain.errors import SettingsError
    from tapeflow.settings import load_flow
    from tapeflow.stores.files import FORMATS

    if format not in FORMATS:
        raise SettingsError(f"--format: expected {' or '.join(FORMATS)}, got {format!r}")
    if flow is not None and intervals is not None:
        raise SettingsError("--intervals changes the default flow; with --flow write them in its file")
    with bar("replay") as progress:
        done = run(
            files,
            channels=_words(channels),
            intervals=_words(intervals),
            symbols=_words(symbols),
            venue=venue,
            revisions=revisions,
            flow=load_flow(flow) if flow is not None else None,
            progress=progress,
        )
    for path, damage in done.summary.damaged.items():
        sys.stderr.write(f"tapeflow: {path}: {damage}; what came before is in the results\n")
    done.summary.rows = done.write(out, format)
    sys.stdout.write(msgspec.json.encode(done.summary).decode() + "\n")


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]
