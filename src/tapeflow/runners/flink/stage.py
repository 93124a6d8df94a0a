"""The steps of one symbol: closed windows, late trades and time rows in, indicator rows out, as `engine.indicators`.

Rules:

1. Late trades and time rows come in the order of the partition. Closed windows come from an aggregation of their own
   and in no order. So what is in order waits in a queue: a time row goes on when the windows that it closes are all
   there (an empty one comes too, without a tick), and what stands behind it waits with it. No clock decides anything.
2. A late trade gives each closed window that holds it a revision. Dirty lines are computed again when the watermark
   stands in a later second, all of the symbol's, as the embedded engine does.
3. A symbol that falls silent would keep its dirty lines: `preview` gives what they come to, and nothing is changed. If
   late trades of the same second follow, rows of the preview that they undo are given again as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from tapeflow.domain.step import Step
from tapeflow.domain.time import SECOND
from tapeflow.runners.flink.line import Kept, Line, LineRow, Tick
from tapeflow.runners.flink.spec import Interval


class StepRow(NamedTuple):
    """A row of an indicator: the number of the interval and of the step on it."""

    interval: int
    row: LineRow


class Queued(msgspec.Struct, array_like=True, gc=False):
    """A late trade at ``ts``, or a time row without a tick."""

    ts_watermark: int
    ts: int = 0
    tick: Tick | None = None


class Small(msgspec.Struct, array_like=True):
    """What is kept of a symbol beside its lines. ``previewed`` are (interval, step, start) of rows shown
    before their time."""

    done: int = -(2**63)
    dirty: int | None = None
    first: int = 0
    next: int = 0
    previewed: list[tuple[int, int, int]] = msgspec.field(default_factory=list)


class _Layered:
    """Reads through to another `Kept`; what is written goes no further."""

    def __init__(self, below: Kept) -> None:
        self._below = below
        self._own: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        found = self._own.get(name)
        return self._below.get(name) if found is None else found

    def put(self, name: str, piece: bytes) -> None:
        self._own[name] = piece

    def drop(self, name: str) -> None:
        """Nothing is dropped in a preview."""


_encode = msgspec.msgpack.Encoder().encode


class Steps(msgspec.Struct, frozen=True):
    """What is stepped: intervals, the steps of each, and how long bars are kept behind the watermark."""

    intervals: tuple[Interval, ...]
    steps: tuple[tuple[Step[float, Any], ...], ...]
    kept_us: int

    def lines(self, kept: Kept) -> list[Line | None]:
        """The lines of a symbol, None for an interval without steps."""
        return [
            Line(interval.name, interval.size_us, steps, kept) if steps else None
            for interval, steps in zip(self.intervals, self.steps, strict=True)
        ]


class Stage:
    """The steps of one symbol. State is read from ``kept`` when it is made, and there again when a call returns."""

    def __init__(self, what: Steps, kept: Kept) -> None:
        self._what = what
        self._kept = kept
        self._lines = what.lines(kept)
        small = kept.get("small")
        self._small = Small() if small is None else msgspec.msgpack.decode(small, type=Small)

    @property
    def is_dirty(self) -> bool:
        """Whether a revision waits for a later second."""
        return self._small.dirty is not None

    # -- rows in -------------------------------------------------------------------------------------------------

    def closed(self, interval: int, ts_start: int, tick: Tick | None) -> list[StepRow]:
        """A window whose time row has come, with the last tick of its on-time trades."""
        if ts_start + self._what.intervals[interval].size_us <= self._small.done:
            return []  # its late trades came one by one
        self._kept.put(f"closed/{interval}/{ts_start}", _encode(tick))
        return self._drain()

    def late(self, ts_event: int, ts_watermark: int, tick: Tick) -> list[StepRow]:
        """A trade that is late for the shortest interval at least."""
        return self._put(Queued(ts_watermark, ts_event, tick))

    def time(self, ts_watermark: int) -> list[StepRow]:
        """A time row."""
        return self._put(Queued(ts_watermark))

    def _put(self, queued: Queued) -> list[StepRow]:
        small = self._small
        if small.first == small.next:
            rows = self._take(queued)
            if rows is not None:
                self._save()
                return rows
        self._kept.put(f"queue/{small.next}", _encode(queued))
        small.next += 1
        self._save()
        return []

    def _drain(self) -> list[StepRow]:
        small, rows = self._small, []
        while small.first < small.next:
            packed = self._kept.get(f"queue/{small.first}")
            if packed is None:
                raise LookupError(f"queue/{small.first} is gone")
            taken = self._take(msgspec.msgpack.decode(packed, type=Queued))
            if taken is None:
                break
            rows += taken
            self._kept.drop(f"queue/{small.first}")
            small.first += 1
        self._save()
        return rows

    def _take(self, queued: Queued) -> list[StepRow] | None:
        """The rows of what is next, None if it must wait."""
        if queued.tick is not None:
            return list(self._late(queued.ts, queued.ts_watermark, queued.tick))
        return self._time(queued.ts_watermark)

    def _time(self, ts_watermark: int) -> list[StepRow] | None:
        if ts_watermark <= self._small.done:
            return []
        names = {
            at: f"closed/{at}/{ts_watermark - interval.size_us}"
            for at, interval in enumerate(self._what.intervals)
            if self._lines[at] is not None and (ts_watermark - interval.origin_us) % interval.size_us == 0
        }
        found = {at: self._kept.get(name) for at, name in names.items()}
        if None in found.values():
            return None
        rows: list[StepRow] = []
        for at, packed in found.items():
            tick = msgspec.msgpack.decode(packed or b"\xc0", type=Tick | None)
            if tick is not None:
                ts_start = ts_watermark - self._what.intervals[at].size_us
                rows += self._candle(at, ts_start, tick, 0, ts_watermark)
            self._kept.drop(names[at])
        self._small.done = ts_watermark
        return rows

    def _late(self, ts_event: int, ts_watermark: int, tick: Tick) -> Iterator[StepRow]:
        for at, interval in enumerate(self._what.intervals):
            ts_start = ts_event - (ts_event - interval.origin_us) % interval.size_us
            if self._lines[at] is not None and ts_start + interval.size_us <= ts_watermark:
                yield from self._candle(at, ts_start, tick, 1, ts_watermark)

    def _candle(self, at: int, ts_start: int, tick: Tick, revision: int, ts_watermark: int) -> list[StepRow]:
        line, rows = self._lines[at], []
        assert line is not None
        second = ts_watermark // SECOND
        if self._small.dirty is not None and second > self._small.dirty:
            rows += self._recompute()
        if ts_start > line.newest:
            if self._small.dirty is not None:  # a late trade opened and closed this candle within one second
                rows += self._recompute()
            rows += [StepRow(at, row) for row in line.add(ts_start, tick, revision)]
            line.prune(ts_watermark - self._what.kept_us - self._what.intervals[at].size_us)
        else:
            line.revise(ts_start, tick)
            if self._small.dirty is None:
                self._small.dirty = second
        return rows

    # -- revisions -----------------------------------------------------------------------------------------------

    def _recompute(self) -> list[StepRow]:
        rows = _recomputed(self._lines)
        rows += self._undone(self._lines, rows)
        self._small.previewed, self._small.dirty = [], None
        return rows

    def preview(self) -> list[StepRow]:
        """What the dirty lines come to if nothing follows."""
        if self._small.dirty is None:
            return []
        lines = self._what.lines(_Layered(self._kept))
        rows = _recomputed(lines)
        again = self._undone(lines, rows)
        self._small.previewed = sorted({*self._small.previewed, *map(_place, rows)})
        self._save()
        return rows + again

    def _undone(self, lines: Sequence[Line | None], rows: list[StepRow]) -> list[StepRow]:
        """Rows of earlier previews that did not come true, as they were before these."""
        shown = set(map(_place, rows))
        bars = dict.fromkeys((at, ts) for at, step, ts in self._small.previewed if (at, step, ts) not in shown)
        found = [StepRow(at, row) for at, ts in bars for line in [lines[at]] if line for row in line.given(ts)]
        return [row for row in found if _place(row) not in shown]

    def _save(self) -> None:
        for line in self._lines:
            if line is not None:
                line.save()
        self._kept.put("small", _encode(self._small))


def _recomputed(lines: Sequence[Line | None]) -> list[StepRow]:
    return [StepRow(at, row) for at, line in enumerate(lines) if line is not None for row in line.recompute()]


def _place(row: StepRow) -> tuple[int, int, int]:
    return row.interval, row.row.step, row.row.ts_start
