"""``tapeflow simulate``: a simulated venue on this machine, for as long as it is let run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Venue = Annotated[str, Argument(help="Whose protocol it speaks: binance.", metavar="VENUE")]
Port = Annotated[int, Option("--port", help="The port of WebSocket and REST; 0 takes a free one.", min=0, max=65_535)]
Host = Annotated[str, Option("--host", help="An address of this machine; nothing else can connect.")]
Seed = Annotated[int, Option("--seed", help="The same seed gives the same past, prices and ids.")]
Rate = Annotated[float, Option("--rate", help="Trades a second of all symbols together, on average.", min=0.01)]
Symbols = Annotated[int, Option("--symbols", help="How many symbols.", min=1, max=2000)]
Speed = Annotated[float, Option("--speed", help="The venue's clock runs so many times faster than ours.", min=0.01)]
Days = Annotated[int, Option("--days", help="How far back its history reaches.", min=1, max=365)]
Faults = Annotated[int | None, Option("--faults", help="Misbehave at random, as this seed determines.", metavar="SEED")]
Replay = Annotated[
    Path | None, Option("--replay", help="Serve recorded messages in place of the model.", metavar="FILE")
]
Shift = Annotated[bool, Option("--shift/--no-shift", help="Move the times of a recording to now.")]


def simulate(
    venue: Venue,
    port: Port = 0,
    host: Host = "127.0.0.1",
    seed: Seed = 7,
    rate: Rate = 200.0,
    symbols: Symbols = 20,
    speed: Speed = 1.0,
    days: Days = 7,
    faults: Faults = None,
    replay: Replay = None,
    shift: Shift = True,
) -> None:
    """Run a simulated venue: its WebSocket and REST on one port, until Ctrl-C; prints the addresses as JSON."""
    import ipaddress

    from tapeflow.domain.errors import SettingsError
    from tapeflow.exchange.run import run
    from tapeflow.exchange.server import SimulatedVenue

    if venue != "binance":
        raise SettingsError(f"expected the venue binance, got {venue!r}: no other is simulated yet")
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost"
    if not is_local:
        raise SettingsError(
            f"expected an address of this machine such as 127.0.0.1, got {host!r}: it is for tests only"
        )
    made = SimulatedVenue(
        port=port,
        host=host,
        seed=seed,
        rate=rate,
        symbols=symbols,
        speed=speed,
        days=days,
        replay=replay,
        shift=shift,
    )
    sys.exit(run(made, faults=faults))
