"""Backfill: history of the venue, fetched onto tapes of its own and computed into the store; resumable, idempotent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tapeflow import venues
from tapeflow.app.rebuild import Progress, Rebuild, Rebuilt
from tapeflow.app.run import Folder
from tapeflow.app.tape import import_files
from tapeflow.domain.errors import InputError, VenueError
from tapeflow.domain.events import Fetch
from tapeflow.domain.time import HOUR, SECOND, time_text
from tapeflow.feed.budget import HISTORY, Budget
from tapeflow.feed.clock import Clock
from tapeflow.feed.recorder import Recorder, Say
from tapeflow.feed.rest import Rest
from tapeflow.flow.nodes import Candles
from tapeflow.settings import RunSettings
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.states import States
from tapeflow.tape.playback import answered
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.spool import Spool
from tapeflow.tape.writer import TapeWriter
from tapeflow.venues.wire import Wire, wire


class _Page(msgspec.Struct, frozen=True):
    """What an answer must tell to find the next page: how many rows it has, and the last of them as it stands there."""

    rows: int
    last: bytes


class _Aggregate(msgspec.Struct):
    """Id and time of an aggregate."""

    a: int
    T: int


_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_aggregate = msgspec.json.Decoder(_Aggregate).decode
_candle = msgspec.json.Decoder(list[msgspec.Raw]).decode


async def backfill(
    settings: RunSettings, symbols: Sequence[str], start: int, end: int | None, say: Say, *, trades: bool = True
) -> Rebuilt:
    """Fetch the trades and the candles of ``[start, end)`` by REST and compute the store's rows of that range again.

    Without an ``end``, or with one that is yet to come, up to now. What was fetched before is not fetched again: each
    symbol has a tape under ``backfill/``, and an interrupted one goes on after its last page. Raises `VenueError` where
    the venue refuses, `StoreError` while a run uses the store.
    """
    folder = Folder(settings.data)
    talk = wire(settings.venue)
    with _store(settings) as store:
        for symbol in symbols:
            for since, until in spans(folder.history, symbol, start, end, time.time_ns() // 1000):
                where = folder.history / f"{symbol}-{since}-{until}"
                await _Fetching(settings, talk, where, say).run(symbol, since, until, trades=trades)
        return _compute(settings, store, start)


def spans(history: Path, symbol: str, start: int, end: int | None, now: int) -> list[tuple[int, int]]:
    """What is to be fetched, in order: up to now first what an interrupted fetch had begun, then the rest."""
    if end is not None and end <= now:
        return [(start, end)]
    begun = [path for path in history.glob(f"{symbol}-{start}-*") if not (path / "whole").exists()]
    until = max((int(path.name.rpartition("-")[2]) for path in begun), default=now)
    return [(start, until), (until, now)] if until < now else [(start, until)]


def backfill_files(settings: RunSettings, files: Sequence[Path], say: Say) -> Rebuilt:
    """The same from the venue's public dumps (CSV of trades, aggTrades or klines; also packed) or recorded messages.

    A file is put on a tape of its own once, by its name and size.
    """
    folder = Folder(settings.data)
    with _store(settings) as store:
        for file in files:
            if not file.is_file():
                raise InputError(f"{file}: no such file; give the path of a public dump")
            where = folder.history / f"{file.name}-{file.stat().st_size}"
            if not (where / "whole").exists():
                for torn in where.glob("*"):
                    torn.unlink()
                done = import_files([file], where)
                (where / "whole").touch()
                say(f"{file.name}: {done.frames + done.answers} rows")
        return _compute(settings, store, 0)


def repair(settings: RunSettings, start: int, progress: Progress | None = None) -> Rebuilt:
    """Compute everything from ``start`` up to now again from the tapes: late trades and filled holes count."""
    with _store(settings) as store:
        return _compute(settings, store, start, progress)


@contextmanager
def _store(settings: RunSettings) -> Iterator[DuckStore]:
    codec = venues.create(settings.venue)
    Path(settings.data).mkdir(parents=True, exist_ok=True)
    store = DuckStore(
        Folder(settings.data).store,
        settings.store.channels,
        price_scale=codec.price_scale,
        size_scale=codec.size_scale,
    )
    try:
        yield store
    finally:
        store.close()


def _compute(settings: RunSettings, store: DuckStore, start: int, progress: Progress | None = None) -> Rebuilt:
    folder = Folder(settings.data)
    history = sorted(path for path in folder.history.glob("*") if path.is_dir() and any(path.glob("tape-*.tape")))
    again = Rebuild(
        store,
        States(folder.states),
        settings.make_flow(),
        settings.venue,
        channels=settings.store.channels,
        progress=progress,
    )
    return again.run(folder.tape if any(folder.tape.glob("tape-*.tape")) else None, history, start)


class _Fetching:
    """Fetches one symbol's history onto a tape."""

    def __init__(self, settings: RunSettings, talk: Wire, where: Path, say: Say) -> None:
        self._settings = settings
        self._wire = talk
        self._where = where
        self._say = say

    async def run(self, symbol: str, start: int, end: int, *, trades: bool) -> None:
        """All pages that are not there yet."""
        if (self._where / "whole").exists():
            self._say(f"{symbol}: was fetched before")
            return
        writer = TapeWriter(self._where)
        spool = Spool(writer)
        clock = Clock()
        limit = self._wire.limits.weight_per_minute
        budget = Budget(limit, lambda: clock.now()[0] / SECOND, self._settings.feed.weight_share)
        recorder = Recorder(spool, clock, writer.position)
        address = self._settings.endpoints.rest or self._wire.rest
        self._rest = Rest(address, self._wire, budget, recorder, self._say)
        try:
            done = self._done()
            for node in self._settings.make_flow().of(Candles):
                await self._all_candles(symbol, node.interval, start, end, done)
            if trades:
                await self._all_trades(symbol, start, end, done)
        finally:
            await self._rest.close()
            await asyncio.to_thread(spool.stop)
            writer.close()
        (self._where / "whole").touch()

    def _done(self) -> dict[str, _Page]:
        """The answers that are on the tape already, by their requests; a month of trades has a hundred thousand."""
        found: dict[str, _Page] = {}
        with TapeReader(self._where) as reader:
            for block in reader.blocks():
                for i, (status, request) in answered(block, 0, len(block)).items():
                    if status == 200:
                        found[request] = _page(block.body(i))
        return found

    async def _ask(self, fetch: Fetch, done: dict[str, _Page]) -> _Page:
        known = done.get(fetch.request)
        if known is not None:
            return known
        answer = await self._rest.ask(fetch, HISTORY, attempts=20)
        if not answer.is_good:
            raise VenueError(f"{answer.problem}; what was fetched is kept, the same command goes on from there")
        return _page(answer.body)

    async def _all_candles(self, symbol: str, interval: str, start: int, end: int, done: dict[str, _Page]) -> None:
        at = start
        while at < end:
            fetch = self._wire.candles(symbol, interval, at, end)
            if fetch is None:
                return
            page = await self._ask(fetch, done)
            if page.rows < 1000:
                return
            at = int(bytes(_candle(page.last)[0]).strip(b'"')) + 1
            at = at if at > 10**14 else at * 1000

    async def _all_trades(self, symbol: str, start: int, end: int, done: dict[str, _Page]) -> None:
        page = _Page(0, b"")
        at = start
        while not page.rows and at < end:
            page = await self._ask(self._wire.trades_at(symbol, at), done)
            at += HOUR
        told = time.monotonic()
        count = page.rows
        while page.rows:
            last = _aggregate(page.last)
            if _us(last.T) >= end:
                break
            if time.monotonic() - told > 2:
                told = time.monotonic()
                self._say(f"{symbol}: {count} aggregates, at {time_text(_us(last.T))}")
            page = await self._ask(self._wire.trades_from(symbol, last.a + 1), done)
            count += page.rows
        self._say(f"{symbol}: {count} aggregates fetched")


def _page(body: bytes) -> _Page:
    rows = _rows(body)
    return _Page(len(rows), bytes(rows[-1]) if rows else b"")


def _us(ts: int) -> int:
    """A time in milliseconds or microseconds, by its magnitude, as microseconds."""
    return ts if ts >= 10**14 else ts * 1000
