"""A simulated venue in a process of its own, which ends with the one that started it, however that one ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import msgspec

from tapeflow.domain.errors import VenueError

#: A process that does not end by itself in so long is ended.
_PATIENCE_S = 2.0


class Market(msgspec.Struct, frozen=True):
    """What a simulated venue trades. The same values have the same past and the same ids at any later start."""

    seed: int = 7
    rate: float = 200.0
    symbols: int = 20
    days: int = 7


class Told(msgspec.Struct, frozen=True):
    """What a venue says of itself when it can be reached; ``symbols`` the busiest first."""

    websocket: str
    rest: str
    symbols: list[str]


class Child:
    """A venue from its making to `stop`; it is being started when this returns, and `wait` tells where it is.

    It watches a pipe that only we hold: when we are gone, also after SIGKILL, the pipe closes and it ends. Ctrl-C in a
    terminal does not reach it, so that a run against it can end in peace.
    """

    def __init__(self, market: Market) -> None:
        # -P: nothing of the folder where the user happens to be is imported.
        command = [sys.executable, "-P", "-m", "tapeflow.exchange.child", msgspec.json.encode(market).decode()]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def wait(self) -> Told:
        """Where it is, once it can be reached; raises `VenueError` if it ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise VenueError("the simulated venue did not start; what it said stands above")
        return msgspec.json.decode(line, type=Told)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def main() -> None:
    """The process: serve until standard input ends."""
    asyncio.run(_serve(msgspec.json.decode(sys.argv[1], type=Market)))


async def _serve(market: Market) -> None:
    from tapeflow.exchange.server import SimulatedVenue  # noqa: PLC0415 - who starts the process does not need it

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_watch, args=(loop, stop), daemon=True).start()
    async with SimulatedVenue(seed=market.seed, rate=market.rate, symbols=market.symbols, days=market.days) as venue:
        told = Told(venue.websocket, venue.rest, list(venue.listings.editions))
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()
        # Its past may be under computation in threads, which nothing interrupts and nobody waits for any more.
        os._exit(0)


def _watch(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Tell when standard input has ended; below Python's buffer, whose lock would hold up the end."""
    while os.read(0, 1024):
        pass
    loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    main()
