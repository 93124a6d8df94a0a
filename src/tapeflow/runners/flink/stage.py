"""The steps of one symbol: closed windows, late trades, time rows and candles of the venue in, indicator rows out, as
`engine.indicators`.

Rules:

1. Late trades, time rows and candles of the venue come in the order of the partition. Closed windows come from an
   aggregation of their own and in no order. So what is in order waits in a queue: a time row goes on when the windows
   that it closes are all there (an empty one comes too, without a tick), and what stands behind it waits with it. No
   clock decides anything.
2. A late trade gives each closed window that holds it a revision; a candle of the venue stands in its window where it
   counts more trades than ours, and gives none. Dirty lines are computed again when the watermark
   stands in a later second, all of the symbol's, as the embedded engine does; for a symbol that has fallen silent a
   time row says so (`engine.closings`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from tapeflow.domain.step import Step
from tapeflow.domain.time import SECOND
from tapeflow.runners.flink.line import Kept, Line, LineRow, Part, Tick, Told
from tapeflow.runners.flink.spec import Interval

#: A watermark before all others.
_NEVER = -(2**63)


class StepRow(NamedTuple):
    """A row of an indicator: the number of the interval and of the step on it."""

    interval: int
    row: LineRow


class Queued(msgspec.Struct, array_like=True, gc=False):
    """A late trade at ``ts``, the venue's candle of an interval that begins there, or a time row with neither."""

    ts_watermark: int
    ts: int = 0
    tick: Tick | None = None
    told: Told | None = None
    interval: int = 0


class Small(msgspec.Struct, array_like=True):
    """What is kept of a symbol beside its lines; ``dirty`` is the second of the watermark at the first revision."""

    done: int = _NEVER
    dirty: int | None = None
    first: int = 0
    next: int = 0


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

    # -- rows in -------------------------------------------------------------------------------------------------

    def closed(self, interval: int, ts_start: int, tick: Tick | None) -> list[StepRow]:
        """A window whose time row has come, with the last tick of its on-time trades."""
        if ts_start + self._what.intervals[interval].size_us <= self._small.done:
            return []  # its late trades came one by one
        self._kept.put(f"closed/{interval}/{ts_start}", _encode(tick))
        return self._drain()

    def late(self, ts_event: int, ts_watermark: int, tick: Tick) -> list[StepRow]:
        """A trade that is late for one interval at least."""
        return self._put(Queued(ts_watermark, ts_event, tick))

    def time(self, ts_watermark: int) -> list[StepRow]:
        """A time row."""
        return self._put(Queued(ts_watermark))

    def venue(self, interval: int, ts_start: int, ts_watermark: int | None, told: Told) -> list[StepRow]:
        """A closed candle of the venue; without a stamp where nothing was heard of the symbol before."""
        return self._put(Queued(_NEVER if ts_watermark is None else ts_watermark, ts_start, None, told, interval))

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
        if queued.told is not None:
            return self._venue(queued.interval, queued.ts, queued.ts_watermark, queued.told)
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
        rows = self._tick(ts_watermark)
        for at, packed in found.items():
            tick = msgspec.msgpack.decode(packed or b"\xc0", type=Tick | None)
            if tick is not None:
                ts_start = ts_watermark - self._what.intervals[at].size_us
                rows += self._candle(at, ts_start, Part(tick, 0), ts_watermark)
            self._kept.drop(names[at])
        self._small.done = ts_watermark
        return rows

    def _late(self, ts_event: int, ts_watermark: int, tick: Tick) -> Iterator[StepRow]:
        for at, interval in enumerate(self._what.intervals):
            ts_start = ts_event - (ts_event - interval.origin_us) % interval.size_us
            if self._lines[at] is not None and ts_start + interval.size_us <= ts_watermark:
                yield from self._candle(at, ts_start, Part(tick, 1), ts_watermark)

    def _venue(self, at: int, ts_start: int, ts_watermark: int, told: Told) -> list[StepRow]:
        line, interval = self._lines[at], self._what.intervals[at]
        is_window = (ts_start - interval.origin_us) % interval.size_us == 0
        if line is None or not is_window or not line.stands(ts_start, told):
            return []
        return self._candle(at, ts_start, Part(None, 0, told), ts_watermark)

    def _candle(self, at: int, ts_start: int, part: Part, ts_watermark: int) -> list[StepRow]:
        line, rows = self._lines[at], self._tick(ts_watermark)
        assert line is not None
        if ts_start > line.newest:
            if self._small.dirty is not None:  # a late trade opened and closed this candle within one second
                rows += self._recompute()
            rows += [StepRow(at, row) for row in line.add(ts_start, part)]
            line.prune(ts_watermark - self._what.kept_us - self._what.intervals[at].size_us)
        else:
            line.revise(ts_start, part)
            if self._small.dirty is None:
                self._small.dirty = ts_watermark // SECOND
        return rows

    # -- revisions -----------------------------------------------------------------------------------------------

    def _tick(self, ts_watermark: int) -> list[StepRow]:
        """Compute what is dirty again, once the watermark stands in a later second."""
        is_due = self._small.dirty is not None and ts_watermark // SECOND > self._small.dirty
        return self._recompute() if is_due else []

    def _recompute(self) -> list[StepRow]:
        self._small.dirty = None
        return [StepRow(at, row) for at, line in enumerate(self._lines) if line for row in line.recompute()]

    def _save(self) -> None:
        for line in self._lines:
            if line is not None:
                line.save()
        self._kept.put("small", _encode(self._small))
