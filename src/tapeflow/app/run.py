"""A live run: feed, tape, pipeline and store in one process."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tapeflow import files, venues
from tapeflow.app.alert_lock import hold
from tapeflow.app.lean import without_pandas
from tapeflow.app.pipeline import Pipeline, Progress
from tapeflow.app.roster import Reach, Roster
from tapeflow.app.served import Served
from tapeflow.domain.errors import TapeflowError
from tapeflow.domain.events import Action
from tapeflow.domain.time import SECOND, parse_span
from tapeflow.feed.clock import Clock
from tapeflow.feed.feed import Feed, FeedSettings
from tapeflow.feed.recorder import Recorder, Say
from tapeflow.flow.nodes import Candles, Flow
from tapeflow.settings import RunSettings
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.results import Results
from tapeflow.stores.states import States
from tapeflow.tape.compact import compact
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.retain import retain
from tapeflow.tape.spool import Spool
from tapeflow.tape.writer import TapeWriter
from tapeflow.venues.wire import Wire, wire

if TYPE_CHECKING:
    from tapeflow.api.server import Server

STATUS_S = 1.0
RETAIN_S = 600.0

#: Reads the settings again, for a change while it runs.
Reload = Callable[[], RunSettings]


class Folder:
    """The places in a data folder."""

    def __init__(self, data: str | Path) -> None:
        self.root = Path(data)
        self.tape = self.root / "tape"
        self.states = self.root / "state"
        self.store = self.root / "results.duckdb"
        self.history = self.root / "backfill"
        self.status = self.root / "status.json"
        self.symbols = self.root / "symbols.json"


class Run:
    """Everything that a live run is made of; `run` does it until it is told to stop.

    SIGINT and SIGTERM stop it cleanly: what has arrived is played and committed. SIGHUP reads the settings again and
    follows the symbols that are in them then. ``serving`` is told the address of the API when it can be reached.
    """

    def __init__(
        self,
        settings: RunSettings,
        say: Say,
        reload: Reload | None = None,
        *,
        serving: Callable[[str], None] | None = None,
    ) -> None:
        self.started = time.monotonic()
        self.settings = settings
        self._say = say
        self._reload = reload
        self._serving = serving
        self.folder = Folder(settings.data)
        #: All that is computed, here or elsewhere; and what of it is computed here.
        self.whole: Flow = settings.make_flow()
        self.flow: Flow = self._own_part()
        self.wire: Wire = wire(settings.venue)
        codec = venues.create(settings.venue)
        self.scales = (codec.price_scale, codec.size_scale)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feed: Feed | None = None
        self._address: str | None = None
        self._stop = asyncio.Event()
        self._live_s: float | None = None
        self._last_error = self._status_problem = ""
        self._damaged: set[str] = set()  # segments of the tape
        #: The last status told, for other threads: what `status` reads belongs to the loop.
        self.latest: dict[str, Any] = {}

    def _own_part(self) -> Flow:
        return self.whole

    async def run(self) -> None:
        """Follow the venue until stopped."""
        self._loop = asyncio.get_running_loop()
        without_pandas()
        async with AsyncExitStack() as stack:  # parts end in the order of the data's way, also if one of them fails
            self._open(stack)
            self._signals(self._loop)
            self.pipeline.start()
            await self._work(stack)

    # -- parts -------------------------------------------------------------------------------------------

    def _open(self, stack: AsyncExitStack) -> None:
        settings, tape = self.settings, self.settings.tape
        self.folder.root.mkdir(parents=True, exist_ok=True)
        self.writer = TapeWriter(self.folder.tape, segment_bytes=tape.segment_bytes)
        stack.callback(self.writer.close)
        if self.writer.recovered is not None:
            self._say(f"the tape ended torn, as after a kill: {self.writer.recovered.what}; cut back to what is whole")
        self._roster = Roster(self.folder.symbols, settings.symbols, self._own)
        self.states = States(self.folder.states)
        self.pipeline = self._open_pipeline(stack)
        self.pipeline.restore(self.writer.position)
        self._served = self._open_served()
        if self._served is not None and settings.api.enabled:
            stack.callback(hold(settings.data).release)
        stack.callback(lambda: self._write_status(is_running=False))
        stack.push_async_callback(asyncio.to_thread, self.pipeline.stop)
        self.spool = Spool(
            self.writer,
            commit_ms=parse_span(tape.commit) / 1000,
            sync_ms=parse_span(tape.sync) / 1000,
            limit_bytes=tape.waiting_bytes,
            on_commit=lambda _: self.pipeline.wake(),
        )
        stack.push_async_callback(asyncio.to_thread, self.spool.stop)
        clock = Clock()
        self._feed = Feed(
            self._feed_settings(),
            self.wire,
            Recorder(self.spool, clock, self.writer.position),
            clock,
            self._say,
            holes=lambda: self.pipeline.progress.holes,
            played=lambda: self.pipeline.progress.played,
            edges=lambda: self.pipeline.progress.edges,
            answered=self.pipeline.warmed,
            wanted=lambda: self.pipeline.progress.wanted,
        )

    def _open_pipeline(self, stack: AsyncExitStack) -> Pipeline:
        """The pipeline over the store of the data folder."""
        settings, (price, size) = self.settings, self.scales
        self.store = DuckStore(self.folder.store, settings.store.channels, price_scale=price, size_scale=size)
        stack.callback(self.store.close)
        return Pipeline(
            self.flow,
            settings.venue,
            self.folder.tape,
            self.store,
            self.states,
            channels=tuple(dict.fromkeys((*settings.store.channels, *self.flow.channels))),
            act=self._act,
            tell=self._told,
            stored=settings.store.channels,
            publish=self._publish if settings.api.enabled else None,
            publish_coverage=self._publish_coverage if settings.api.enabled else None,
        )

    def _open_served(self) -> Served | None:
        return Served(self)

    def _feed_settings(self) -> FeedSettings:
        settings, feed = self.settings, self.settings.feed
        intervals = tuple(node.interval for node in self.whole.of(Candles))
        needs = {node.input for node in self.flow.nodes} | set(self.flow.channels)
        channels = {name for name in ("trades", "quotes", "book", "tickers", "klines") if name in needs}
        if "klines" in channels and "klines" not in settings.store.channels and not averages_klines(self.whole):
            channels.discard("klines")  # the venue's candles of REST serve where trades are missing
        return FeedSettings(
            websocket=settings.endpoints.websocket or self.wire.websocket,
            rest=settings.endpoints.rest or self.wire.rest,
            channels=frozenset(channels),
            intervals=intervals or ("1s",),
            streams_per_connection=feed.streams_per_connection,
            connection_s=parse_span(feed.connection_age) / SECOND if feed.connection_age else 0.0,
            give_up_s=parse_span(feed.give_up) / SECOND,
            weight_share=feed.weight_share,
            history=feed.history,
        )

    async def _own(self, symbols: Sequence[str]) -> None:
        """Symbols are about to be followed; raises `TapeflowError` where they must not be."""

    async def _serve(self, stack: AsyncExitStack) -> None:
        """Let others ask; the first part to end. Capture does not wait for it."""
        assert self._served is not None
        starting = asyncio.create_task(asyncio.to_thread(self._served.start))
        stack.push_async_callback(_end, starting)
        made = await asyncio.shield(starting)
        self._address = made.address
        self._say(f"serving {self._address}")
        if self._serving is not None:
            self._serving(self._address)
        await asyncio.Event().wait()

    def followed(self) -> list[str]:
        """The symbols that are followed at present."""
        return list(self._feed.symbols) if self._feed is not None else []

    def reach(self) -> Reach:
        """What changes the symbols that are followed, from any loop."""
        assert self._feed is not None
        assert self._loop is not None
        return Reach(self._roster, self._feed, self._loop)

    # -- work --------------------------------------------------------------------------------------------

    async def _work(self, stack: AsyncExitStack) -> None:
        assert self._feed is not None
        stop = asyncio.create_task(self._stop.wait())
        work = [
            asyncio.create_task(self._feed.run(self._roster.symbols)),
            asyncio.create_task(self._report()),
            asyncio.create_task(self._keep()),
        ]
        if self.settings.api.enabled and self._served is not None:
            work.append(asyncio.create_task(self._serve(stack)))
        await asyncio.wait([stop, *work], return_when=asyncio.FIRST_COMPLETED)
        for task in (stop, *work):
            task.cancel()
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def stop(self) -> None:
        """End the run, cleanly."""
        self._stop.set()

    def _signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        if self._reload is not None:
            loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(self._follow_again()))

    async def _follow_again(self) -> None:
        assert self._reload is not None
        assert self._feed is not None
        try:
            symbols = self._reload().symbols
            await self._own(symbols)
        except TapeflowError as error:
            self._say(f"the settings cannot be used, nothing was changed: {error}")
            return
        self._say(f"following {', '.join(await self._roster.restart(self._feed, symbols))}")

    # -- the pipeline's thread tells -----------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        if self._loop is not None and self._feed is not None:
            self._loop.call_soon_threadsafe(self._feed.act, action)

    def _publish(self, results: Results, is_forming: bool) -> None:  # noqa: FBT001 - the pipeline's way of calling
        if self._served is not None:
            self._served.hub.offer(results, is_forming)

    def _publish_coverage(self, rows: list[dict[str, Any]]) -> None:
        if self._served is not None:
            self._served.hub.offer_coverage(rows)

    def _told(self, progress: Progress) -> None:
        if progress.is_live and self._live_s is None:
            self._live_s = time.monotonic() - self.started
        if progress.error != self._last_error:
            self._last_error = progress.error
            self._say(progress.error or "the store can be written again")

    # -- how it is doing -----------------------------------------------------------------------------------

    async def _report(self) -> None:
        is_told = False
        while True:
            await asyncio.sleep(STATUS_S / 5 if not is_told else STATUS_S)
            status = self._write_status(is_running=True)
            if not is_told and status["is_live"] and any(c["frames"] for c in status["connections"]):
                is_told = True
                self._say(
                    f"live after {time.monotonic() - self.started:.1f} s (tape played after {self._live_s:.1f} s)"
                )
            if not self.pipeline.is_alive:
                self.stop()

    def _write_status(self, *, is_running: bool) -> dict[str, Any]:
        status = self.status() | {"is_running": is_running}
        self.latest = status
        try:
            files.replace(self.folder.status, msgspec.json.encode(status), sync=False)
            self._status_problem = ""
        except OSError as error:
            if self._status_problem != error.strerror:  # told once, not every second
                self._say(f"cannot write {self.folder.status}: {error.strerror}")
            self._status_problem = error.strerror or ""
        return status

    def status(self) -> dict[str, Any]:
        """What an operator wants to see, as one value."""
        assert self._feed is not None
        progress, counters = self.pipeline.progress, self.spool.counters
        counts = self.pipeline.counts
        return {
            "pid": os.getpid(),
            "ts": time.time_ns() // 1000,
            "api": self._address,
            "uptime_s": round(time.monotonic() - self.started, 1),
            "is_live": progress.is_live,
            "live_after_s": self._live_s,
            "position": self._feed.recorder.position,
            "played": progress.played,
            "committed": progress.committed,
            "lag_ms": max(0, (time.time_ns() // 1000 - progress.ts_recv) // 1000) if progress.ts_recv else None,
            "rows": progress.rows,
            "symbols": progress.symbols,
            "holes": len(progress.holes),
            "oldest_hole_s": self._oldest_hole_s(),
            "is_pipeline_alive": self.pipeline.is_alive,
            "data_free_bytes": _free_bytes(self.folder.root),
            "stream": self._served.status() if self._served is not None else {},
            "tape_error": self.spool.error,
            "store_error": progress.error,
            "tape_waiting_bytes": self.spool.waiting_bytes,
            "tape": counters._asdict(),
            "counts": counts,
            "alerts": self._served.alerts() if self._served is not None else {},
            **self._feed.status(),
        }

    def _oldest_hole_s(self) -> float:
        """Since the first message after the oldest open hole; 0 without one."""
        ends = [gap.ts_end for gap in self.pipeline.progress.holes if gap.ts_end is not None]
        return max(0.0, round(time.time() - min(ends) / SECOND, 1)) if ends else 0.0

    async def _keep(self) -> None:
        """Drop what is older than the settings say, and pack what is sealed."""
        while True:
            for work in (self._drop_old, self._pack):
                try:
                    await asyncio.to_thread(work)
                except (TapeflowError, OSError) as error:  # capture goes on, and this is tried again
                    self._say(f"cannot tidy up {self.folder.root}: {error}")
            await asyncio.sleep(RETAIN_S)

    def _pack(self) -> None:
        for one in compact(self.folder.tape, leave=self._damaged):
            if one.skipped:  # told once, and not packed in vain every time
                self._damaged.add(one.segment)
                self._say(f"{one.segment} is {one.skipped}; it stays as it is")

    def _drop_old(self) -> None:
        now = time.time_ns() // 1000
        ages = {name: now - parse_span(span) for name, span in self.settings.store.keep.items()}
        self.pipeline.retain(ages)
        tape = self.settings.tape
        kept = parse_span(tape.keep)
        older = retain(
            self.folder.tape,
            max_age_s=kept / SECOND,
            max_bytes=1 << 62,
            now_us=now,
            keep_from=self.states.cut(now - kept),
        )
        # Too much on disk goes as well, up to the older of the two newest states.
        more = retain(
            self.folder.tape,
            max_age_s=1e12,
            max_bytes=tape.keep_bytes,
            now_us=now,
            keep_from=min(self.states.positions()[-2:], default=0),
        )
        if older or more:
            self.states.forget_before(TapeReader(self.folder.tape).begins)
            self._say(f"{len(older) + len(more)} segments of the tape are older, or more, than is to be kept: gone")


async def _end(starting: asyncio.Task[Server]) -> None:
    """Stop a server, also one that is only just coming up."""
    try:
        made = await starting
    except TapeflowError:
        return  # it is told by who waited for it
    await asyncio.to_thread(made.stop)


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def averages_klines(flow: Flow) -> bool:
    """Whether a mean is of the venue's own candles as they are pushed."""
    return any(getattr(node, "input", "") == "klines" and node.channel == "moving_average" for node in flow.nodes)
