"""``tapeflow run``: the pipeline against the venue that a file names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tapeflow.cli.even import even

if TYPE_CHECKING:
    from tapeflow.settings import RunSettings

Config = Annotated[
    Path, Argument(help="The settings; docs/reference/run-file.md has every key.", metavar="CONFIG.toml")
]
Data = Annotated[Path | None, Option("--data", help="Data folder instead of the one in the settings.", metavar="DIR")]

RoleName = Annotated[
    str | None,
    Option(
        "--role",
        help="The part of a cluster to be: collector, sink, gateway or all; unless given, all of it here without one.",
        metavar="ROLE",
    ),
]
TakeOver = Annotated[
    bool, Option("--take-over", help="Of a collector: fence whoever collects these symbols, and go on in its place.")
]


def run(config: Config, data: Data = None, role: RoleName = None, take_over: TakeOver = False) -> None:
    """Capture a venue's market data without loss and compute results from it, until stopped with Ctrl-C.

    Every message goes to the tape in the data folder first; results and coverage go to results.duckdb there. Holes are
    refilled from the venue's history or named in coverage. A start after a stop, or a kill, goes on where it ended.
    SIGHUP reads the file again and follows the symbols that are in it then; a sink and a gateway it stops. status.json
    tells how it is doing.

    Example, with the simulated venue in another terminal (tapeflow simulate binance --port 9200):

    \b
        symbols = ["BTCUSDT", "ETHUSDT"]
        [endpoints]
        websocket = "ws://127.0.0.1:9200"
        rest = "http://127.0.0.1:9200"
    """
    import asyncio

    import msgspec

    from tapeflow.api.keys import open_keys
    from tapeflow.app.log import say, setup
    from tapeflow.app.roster import read
    from tapeflow.app.run import Folder, Run
    from tapeflow.domain.errors import SettingsError
    from tapeflow.settings import load_run

    def load() -> RunSettings:
        settings = load_run(config)
        return settings if data is None else msgspec.structs.replace(settings, data=str(data))

    if take_over and role != "collector":
        raise SettingsError("--take-over is of a collector: give it once with --role collector, then start as before")
    settings = load()
    setup(settings.log.format, settings.log.level)
    if settings.api.enabled:
        open_keys(settings.data, settings.api)

    async def work() -> None:
        if role == "collector":
            from tapeflow.app.collector import Collector

            await Collector(settings, say, load, take_over=take_over).run()
        else:
            await Run(settings, say, load).run()

    if role not in (None, "collector"):
        _other_role(str(role), settings, config, data)
        return

    even()
    names = read(Folder(settings.data).symbols).of(settings.symbols)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    say(f"following {', '.join(names[:20])}{more} of {settings.venue}; data in {settings.data}; Ctrl-C stops")
    asyncio.run(work())
    say("stopped; everything that arrived is kept")


def _other_role(role: str, settings: RunSettings, config: Path, data: Path | None) -> None:
    """Be a sink, a gateway or all roles until stopped."""
    from tapeflow.app.log import say
    from tapeflow.app.roles import ROLES, Part, check_installed, run_all, run_until_told
    from tapeflow.domain.errors import SettingsError

    check_installed()

    part: Part
    if role == "all":
        run_all(["run", str(config), *(["--data", str(data)] if data else [])], say, rereads=True)
        return
    if role == "sink":
        from tapeflow.app.sink import Sink

        part = Sink(settings, say)
    elif role == "gateway":
        from tapeflow.app.gateway import Gateway

        part = Gateway(settings, say)
    else:
        raise SettingsError(f"no role {role!r}; there are {', '.join((*ROLES, 'all'))}")
    run_until_told(part)
    say("stopped")
