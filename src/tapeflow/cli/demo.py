"""``tapeflow demo``: all of it on this machine, with a simulated venue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from tapeflow.cli.even import even

Port = Annotated[
    int | None,
    Option("--port", help="The port of the page. 8600, or the next free one, unless given.", min=0, max=65_535),
]
Data = Annotated[
    Path, Option("--data", help="The data folder; a start goes on where the last one ended.", metavar="DIR")
]
NoBrowser = Annotated[bool, Option("--no-browser", help="Do not open the page in a browser.")]
Symbols = Annotated[int, Option("--symbols", help="How many symbols are followed.", min=1, max=200)]
Indicators = Annotated[
    Path | None,
    Option("--indicators", help="A folder with indicators of your own, one file each; computed too.", metavar="DIR"),
]
Seed = Annotated[
    int | None, Option("--seed", help="Another seed is another market; fixed by the first start in a folder.")
]


def demo(
    port: Port = None,
    data: Data = Path("tapeflow-demo"),
    no_browser: NoBrowser = False,
    symbols: Symbols = 6,
    seed: Seed = None,
    indicators: Indicators = None,
) -> None:
    """Show what Tapeflow does: a simulated venue, the pipeline and the page, until Ctrl-C. Needs no network.

    Prints the page's address. A week of history is there from the start; a later start goes on where this one ends,
    with the same market, and fetches what was traded meanwhile.

    Example: tapeflow demo --data tapeflow-demo
    """

    from tapeflow.app.log import say, setup
    from tapeflow.app.market import opened

    def serving(address: str) -> None:
        sys.stdout.write(f"{address}/\n")
        sys.stdout.flush()
        if not no_browser:
            _open(f"{address}/")

    setup()
    even()
    say(f"a simulated market of {symbols} symbols, data in {data}; Ctrl-C stops")
    with opened(data, seed, symbols) as venue:
        from tapeflow.app.demo import Demo, run  # takes a while, in which the venue starts

        run(Demo(data, port, symbols, indicators), venue, say, serving)
    more = "" if data == Path("tapeflow-demo") else f" --data {data}"
    say(f"stopped; `tapeflow demo{more}` goes on from here")


def _open(address: str) -> None:
    """Open a browser where there is a screen for one, without waiting for it."""
    import os
    import threading
    import webbrowser

    has_screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
