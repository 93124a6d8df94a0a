"""Runs a venue in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec

from tapeflow.exchange.faults import schedule
from tapeflow.exchange.server import SimulatedVenue

#: A schedule of faults is drawn for so many seconds; then the next one.
_SCHEDULE = 600.0


def run(venue: SimulatedVenue, *, faults: int | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit status. One JSON line on standard output says where."""
    return asyncio.run(_serve(venue, faults))


async def _serve(venue: SimulatedVenue, faults: int | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await venue.start()
    where = {"websocket": venue.websocket, "rest": venue.rest, "port": venue.port}
    about = {"symbols": list(venue.listings.editions if venue.playback is None else venue.playback.pasts)}
    sys.stdout.write(msgspec.json.encode(where | about).decode() + "\n")
    sys.stdout.flush()
    if faults is not None:
        venue.misbehaviour.report = _report
        venue.spawn(_misbehave(venue, faults))
    await stop.wait()
    await venue.stop()
    return 0


async def _misbehave(venue: SimulatedVenue, seed: int) -> None:
    while True:
        venue.misbehaviour.run(schedule(seed, _SCHEDULE))
        await asyncio.sleep(_SCHEDULE)
        seed += 1


def _report(row: dict[str, object]) -> None:
    sys.stderr.write(msgspec.json.encode(row).decode() + "\n")
    sys.stderr.flush()
