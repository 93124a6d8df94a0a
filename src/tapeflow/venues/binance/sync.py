"""`BookSync` turns the deltas and snapshots of one symbol into one unbroken book, or says where it broke.

The rules, after "How to manage a local order book correctly" (web-socket-streams.md, text of 2025-11-12). A book is
*waiting* until it is synchronised, then *live*. ``U`` and ``u`` are the first and last update id of a delta.

1. Waiting, a delta is put into the buffer in the order of its ids; one that is there already is ignored. If no
   snapshot has been asked for, one is.
2. Waiting, the newest snapshot is held until a delta is in the buffer: it may come before the deltas it belongs to.
3. With both: if the snapshot's id + 1 < ``U`` of the first delta, it is too old; it is dropped and another asked for.
4. Otherwise the book is live: the snapshot is given out, its id is the book's, and the buffer is taken by rules 5-7.
5. Live, a delta with ``u`` <= id is contained already and ignored.
6. Live, a delta with ``U`` > id + 1 leaves updates missing: a `Gap` is given out, the book is waiting again with this
   delta and those after it in its buffer, and a snapshot is asked for.
7. Live, any other delta is given out, and its ``u`` is the book's id.
8. Live, a snapshot is ignored: the deltas have said everything that it says.
9. A buffer beyond its limit drops its oldest tenth, which is a `Gap` too.
10. Waiting after a gap, once the missing deltas have come after all (frames out of order), the book is live again
    and goes on where it broke, without a snapshot.
11. A snapshot asked for and not come for ten seconds is asked for again.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from tapeflow.domain.events import BookDelta, BookSnapshot, Fetch, Gap
from tapeflow.domain.time import SECOND

BUFFER_LIMIT = 10_000
PATIENCE_US = 10 * SECOND

BookOutput = BookSnapshot | BookDelta | Gap | Fetch


class BookSyncState(msgspec.Struct):
    """All there is to a `BookSync`, as a value. ``id`` and ``ts`` are those of the last update given out."""

    symbol: str
    limit: int = BUFFER_LIMIT
    is_live: bool = False
    id: int = -1
    ts: int | None = None
    buffer: list[BookDelta] = []
    held: BookSnapshot | None = None
    is_asking: bool = False
    asked_at: int | None = None
    ignored_deltas: int = 0
    ignored_snapshots: int = 0


class BookSync:
    """The local-book procedure of one symbol; every update it gives out is consecutive to the one before."""

    def __init__(self, symbol: str, limit: int = BUFFER_LIMIT) -> None:
        self._now = BookSyncState(symbol, limit)

    @property
    def symbol(self) -> str:
        return self._now.symbol

    @property
    def is_live(self) -> bool:
        return self._now.is_live

    @property
    def ignored_deltas(self) -> int:
        return self._now.ignored_deltas

    @property
    def ignored_snapshots(self) -> int:
        return self._now.ignored_snapshots

    def state(self) -> BookSyncState:
        """The state as a value: later inputs do not change it."""
        return msgspec.structs.replace(self._now, buffer=self._now.buffer[:])

    @classmethod
    def restore(cls, state: BookSyncState) -> BookSync:
        """A book that goes on where `state` was taken."""
        sync = cls(state.symbol, state.limit)
        sync._now = msgspec.structs.replace(state, buffer=state.buffer[:])
        return sync

    def moved_to(self, id: int, ts: int | None) -> None:
        """Someone else has applied the live deltas up to ``id``."""
        now = self._now
        if now.is_live and id > now.id:
            now.id, now.ts = id, ts

    def on_time(self, at: int) -> list[Fetch]:
        """Rule 11. The time runs from the first call after the question, for a recording has no clock of ours."""
        now = self._now
        if now.is_live or not now.is_asking:
            return []
        if now.asked_at is None:
            now.asked_at = at
        if at - now.asked_at < PATIENCE_US:
            return []
        now.is_asking = False
        return self._ask("no_answer", at)

    def fits(self, snapshot: BookSnapshot) -> bool:
        """True if this book waits and the snapshot's id lies among those in its buffer."""
        now = self._now
        if now.is_live or not now.buffer:
            return False
        return now.buffer[0].first_id - 1 <= snapshot.id <= now.buffer[-1].last_id

    def on_snapshot(self, snapshot: BookSnapshot) -> list[BookOutput]:
        """Take a whole book, of ours or not."""
        now = self._now
        if now.is_live:
            now.ignored_snapshots += 1
            return []
        now.is_asking, now.asked_at = False, None
        if now.held is None or now.held.id < snapshot.id:
            now.held = snapshot
        return self._synchronise()

    def on_delta(self, delta: BookDelta) -> list[BookOutput]:
        """Take a delta."""
        if self._now.is_live:
            return self._take([delta])
        outputs = self._keep(delta)
        if self._is_healed():
            return outputs + self._go_on()
        return [*outputs, *(self._synchronise() if self._now.held is not None else self._ask("start"))]

    def _is_healed(self) -> bool:
        now = self._now
        return now.id >= 0 and bool(now.buffer) and now.buffer[0].first_id <= now.id + 1

    def _go_on(self) -> list[BookOutput]:
        now = self._now
        now.is_live, now.is_asking, now.asked_at, now.held = True, False, None, None
        buffered, now.buffer = now.buffer, []
        return self._take(buffered)

    def _keep(self, delta: BookDelta) -> list[BookOutput]:
        now = self._now
        key = (delta.first_id, delta.last_id)
        at = bisect_left(now.buffer, key, key=lambda kept: (kept.first_id, kept.last_id))
        if at < len(now.buffer) and (now.buffer[at].first_id, now.buffer[at].last_id) == key:
            now.ignored_deltas += 1
            return []
        now.buffer.insert(at, delta)
        if len(now.buffer) <= now.limit:
            return []
        cut = max(1, now.limit // 10)
        dropped, now.buffer = now.buffer[:cut], now.buffer[cut:]
        return [self._gap(dropped[0].first_id, dropped[-1].last_id, dropped[0].ts_event, dropped[-1], "buffer_full")]

    def _synchronise(self) -> list[BookOutput]:
        now = self._now
        snapshot = now.held
        if snapshot is None or not now.buffer:
            return []
        now.held = None
        if snapshot.id + 1 < now.buffer[0].first_id:
            now.ignored_snapshots += 1
            return [*self._ask("snapshot_too_old")]
        # A snapshot of REST has no time; the first delta that it is put together with is no later.
        first = now.buffer[0].ts_event
        now.is_live, now.id, now.ts = True, snapshot.id, first if snapshot.ts_event is None else snapshot.ts_event
        now.is_asking, now.asked_at = False, None
        buffered, now.buffer = now.buffer, []
        return [snapshot, *self._take(buffered)]

    def _take(self, deltas: list[BookDelta]) -> list[BookOutput]:
        now = self._now
        outputs: list[BookOutput] = []
        for at, delta in enumerate(deltas):
            if delta.last_id <= now.id:
                now.ignored_deltas += 1
            elif delta.first_id > now.id + 1:
                return outputs + self._break(deltas[at:])
            else:
                now.id, now.ts = delta.last_id, delta.ts_event
                outputs.append(delta)
        return outputs

    def _break(self, rest: list[BookDelta]) -> list[BookOutput]:
        now = self._now
        gap = self._gap(now.id + 1, rest[0].first_id - 1, now.ts, rest[0], "missing_updates")
        now.is_live, now.buffer = False, rest
        return [gap, *self._ask("missing_updates")]

    def _gap(self, first: int, last: int, ts_start: int | None, end: BookDelta, reason: str) -> Gap:
        return Gap("book", self._now.symbol, first, last, ts_start, end.ts_event, reason)

    def _ask(self, why: str, at: int | None = None) -> list[Fetch]:
        now = self._now
        if now.is_asking or now.is_live:
            return []
        now.is_asking, now.asked_at = True, at
        query = {"symbol": now.symbol, "limit": "5000"}
        return [Fetch("/api/v3/depth", query, why, now.symbol, weight=250, stream="book")]
