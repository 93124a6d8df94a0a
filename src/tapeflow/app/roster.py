"""The symbols that a run follows: those of its settings, and what was added or removed while it ran."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tapeflow import files
from tapeflow.api.problem import Problem, unknown
from tapeflow.domain.errors import InputError, OwnerError, TapeflowError, VenueError
from tapeflow.feed.feed import Feed

T = TypeVar("T")

#: A change takes no longer, or is answered without having been seen through.
PATIENCE_S = 30.0


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``symbols.json``: how what is followed differs from the settings."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def of(self, start: Sequence[str]) -> list[str]:
        """What is followed where the settings name ``start``; never nothing.

        >>> Changes(("SOLUSDT",), ("ETHUSDT",)).of(["BTCUSDT", "ETHUSDT"])
        ['BTCUSDT', 'SOLUSDT']
        """
        kept = [symbol for symbol in start if symbol not in self.removed]
        return [*kept, *(symbol for symbol in self.added if symbol not in kept)] or list(start)


def read(path: Path) -> Changes:
    """The changes that a data folder keeps; raises `InputError` for a file that is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Changes)
    except FileNotFoundError:
        return Changes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; make it readable") from error
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is damaged: {error}; remove it to follow the symbols of the settings") from error


class Roster:
    """What is followed, changed one request at a time; each change is kept before it is made.

    It belongs to the loop of the run; `follow`, `unfollow` and `listed` raise `Problem`. ``own`` is awaited before more
    is followed, and raises `TapeflowError` where that must not be.
    """

    def __init__(self, path: Path, start: Sequence[str], own: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._path = path
        self._start = list(start)
        self._own = own
        self._changes = read(path)
        self._turn = asyncio.Lock()

    @property
    def symbols(self) -> list[str]:
        return self._changes.of(self._start)

    async def follow(self, feed: Feed, symbol: str) -> str:
        """Follow a symbol that the venue lists; its name as the venue writes it."""
        async with self._turn:
            name = await _listed(feed, symbol)
            if name not in self.symbols:
                await _owned(self._own([name]))
                changes = self._changes
                removed = tuple(one for one in changes.removed if one != name)
                await self._change(feed, Changes(_with(changes.added, name, self._start), removed))
            return name

    async def unfollow(self, feed: Feed, symbol: str) -> str:
        """Follow a symbol no more; the last one stays."""
        async with self._turn:
            known = {one.upper(): one for one in self.symbols}
            name = known.get(symbol.upper())
            if name is None:
                raise unknown(404, "symbol", symbol, known.values(), "; only what is followed can be removed")
            if len(known) == 1:
                raise Problem(409, "last_symbol", f"{name} is all that is followed; add another symbol first")
            changes = self._changes
            added = tuple(one for one in changes.added if one != name)
            removed = (*changes.removed, name) if name in self._start else changes.removed
            await self._change(feed, Changes(added, removed))
            return name

    async def listed(self, feed: Feed) -> dict[str, str]:
        """Every symbol that the venue lists, with its status; no change waits for it."""
        return await _known(feed.listing(), "what it lists")

    async def restart(self, feed: Feed, start: Sequence[str]) -> list[str]:
        """The settings name other symbols now; what was added and removed still counts."""
        async with self._turn:
            self._start = list(start)
            await feed.follow(self.symbols)
            return self.symbols

    async def _change(self, feed: Feed, changes: Changes) -> None:
        _write(self._path, changes)
        self._changes = changes
        await feed.follow(self.symbols)


class Reach:
    """The roster of a run for another loop, that of its server."""

    def __init__(self, roster: Roster, feed: Feed, loop: asyncio.AbstractEventLoop) -> None:
        self._roster = roster
        self._feed = feed
        self._loop = loop

    async def follow(self, symbol: str) -> str:
        return await self._there(self._roster.follow(self._feed, symbol))

    async def unfollow(self, symbol: str) -> str:
        return await self._there(self._roster.unfollow(self._feed, symbol))

    async def listed(self) -> dict[str, str]:
        return await self._there(self._roster.listed(self._feed))

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work gives, done in the run's loop; it is seen through even if the client goes away."""
        done = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        try:
            return await asyncio.wait_for(asyncio.shield(done), PATIENCE_S)
        except TimeoutError:
            detail = "the run is still busy with it; look at /v1/symbols, or ask again, in a while"
            raise Problem(503, "busy", detail, headers={"Retry-After": "10"}) from None


async def _listed(feed: Feed, symbol: str) -> str:
    listed = await _known(feed.listed(symbol), f"whether it lists {symbol[:40]!r}")
    found = {name.upper(): name for name in listed}.get(symbol.upper())
    if found is None:
        raise unknown(404, "symbol", symbol, listed, "; the venue does not list it")
    return found


async def _owned(owning: Awaitable[None]) -> None:
    try:
        await owning
    except OwnerError as error:
        raise Problem(409, "owned", str(error)) from error
    except TapeflowError as error:
        detail = f"{error}; nothing was changed, ask again in a while"
        raise Problem(503, "bus_unreachable", detail, headers={"Retry-After": "10"}) from error


async def _known(asking: Awaitable[dict[str, str]], what: str) -> dict[str, str]:
    try:
        return await asking
    except VenueError as error:
        detail = f"{error}; {what} cannot be known now: ask again in a while"
        raise Problem(503, "venue_unreachable", detail, headers={"Retry-After": "10"}) from error


def _with(added: tuple[str, ...], name: str, start: Sequence[str]) -> tuple[str, ...]:
    return added if name in start or name in added else (*added, name)


def _write(path: Path, changes: Changes) -> None:
    """All of it or nothing, also after a power failure."""
    try:
        files.replace(path, msgspec.json.encode(changes) + b"\n")
    except OSError as error:
        detail = f"the data folder cannot be written ({error.strerror}), so nothing was changed; make room there"
        raise Problem(503, "cannot_keep", detail, headers={"Retry-After": "10"}) from error
