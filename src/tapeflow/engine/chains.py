"""Steps over closed candles, and their revision: one `Chain` per symbol, interval and step.

Rules:

1. Candles come closed and in order; each gives at most one row, from the step's first defined value on.
2. A revised candle makes its chain dirty from there. Dirty chains of a symbol are recomputed forward at the symbol's
   next tick (the first candle row or tick whose watermark stands in a later second), so at most once a tick, and only
   rows whose values or ``bars`` changed are given again.
3. ``revision`` is the number of late events of all candles since the seed, as known when the row was given: it
   depends on no batch. It grows whenever a row is given again because of a late event; the venue's candle is none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import msgspec

from tapeflow.domain.step import Step
from tapeflow.engine.columns import NONE_TIME

#: States are kept at every so many bars; a revision goes back to the nearest one before it.
STRIDE = 32


class Bar(msgspec.Struct, array_like=True, gc=False):
    """A closed candle as a step sees it, and what was last given for it."""

    ts_start: int
    close: float
    revision: int
    given: tuple[Any, ...] | None = None
    given_bars: int = 0


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Bar]).decode


class ChainRow(msgspec.Struct, gc=False):
    """One result of a step."""

    ts_start: int
    values: dict[str, Any]
    bars: int
    revision: int


class ChainState(msgspec.Struct, array_like=True):
    """The snapshot of a chain; ``states`` are the step's states, encoded, before bars 0, STRIDE, 2 * STRIDE ...

    Whole strides of bars are ``packed``: they seldom change, and a snapshot must not hold up what is live.
    """

    dropped: int
    dropped_revision: int
    dropped_to: int
    packed: list[bytes]
    bars: list[Bar]
    states: list[Any]
    dirty: int | None


class Chain:
    """See the module. Bars older than the horizon are dropped a stride at a time."""

    def __init__(self, step: Step[float, Any]) -> None:
        self.step = step
        self._bars: list[Bar] = []
        self._states: list[Any] = [step.zero()]
        self._head = step.zero()  # the state after the last bar
        self._late = 0  # late events of all bars kept and dropped
        self._dropped = 0
        self._dropped_revision = 0
        self._dropped_to = NONE_TIME  # start of the last bar dropped
        self._dirty: int | None = None
        self._packed: list[bytes] = []  # whole strides of bars, as far as a snapshot has needed them
        self._state: bytes | None = None  # the snapshot, until something changes

    @property
    def head(self) -> Any:
        """The state after the newest bar."""
        return self._head

    @property
    def count(self) -> int:
        """Bars so far."""
        return self._dropped + len(self._bars)

    @property
    def late(self) -> int:
        """Late events of all bars so far."""
        return self._late

    def add(self, ts_start: int, close: float, revision: int) -> ChainRow | None:
        """A candle that has just closed, later than all before."""
        bar = Bar(ts_start, close, revision)
        self._state = None
        self._late += revision
        self._bars.append(bar)
        self._head, values = self.step.on_event(self._head, close)
        if len(self._bars) % STRIDE == 0:
            self._states.append(self._head)
        if values is None:
            return None
        bar.given, bar.given_bars = tuple(values.values()), self._dropped + len(self._bars)
        return ChainRow(ts_start, values, bar.given_bars, self._late)

    def revise(self, ts_start: int, close: float, revision: int) -> None:
        """A candle that was closed before, or one between two that were; before all that is kept it changes nothing."""
        if ts_start <= self._dropped_to:
            return  # beyond the horizon
        self._state = None
        at = bisect_left(self._bars, ts_start, key=lambda bar: bar.ts_start)
        if at < len(self._bars) and self._bars[at].ts_start == ts_start:
            bar = self._bars[at]
            self._late += revision - bar.revision
            bar.close, bar.revision = close, revision
        else:
            self._late += revision
            self._bars.insert(at, Bar(ts_start, close, revision))
        del self._packed[at // STRIDE :]
        if self._dirty is None or at < self._dirty:
            self._dirty = at

    def recompute(self) -> list[ChainRow]:
        """Bring all rows after the earliest revised candle up to date; those that changed."""
        if self._dirty is None:
            return []
        self._state = None
        at = self._dirty // STRIDE
        del self._states[at + 1 :], self._packed[at:]
        state = self._states[at]
        late = self._dropped_revision + sum(bar.revision for bar in self._bars[: at * STRIDE])
        rows = []
        for i in range(at * STRIDE, len(self._bars)):
            bar = self._bars[i]
            state, values = self.step.on_event(state, bar.close)
            late += bar.revision
            if (i + 1) % STRIDE == 0:
                self._states.append(state)
            bars = self._dropped + i + 1
            if values is None:
                continue
            given = tuple(values.values())  # a third of the memory of a dict, and there are many bars
            if given != bar.given or bars != bar.given_bars:
                bar.given, bar.given_bars = given, bars
                rows.append(ChainRow(bar.ts_start, values, bars, late))
        self._head = state
        self._dirty = None
        return rows

    def prune(self, reach: int) -> None:
        """Drop bars that start before ``reach``, in whole strides."""
        if len(self._bars) < STRIDE or self._bars[STRIDE - 1].ts_start > reach or self._dirty is not None:
            return
        gone = bisect_right(self._bars, reach, key=lambda bar: bar.ts_start) // STRIDE
        self._state = None
        self._dropped += gone * STRIDE
        self._dropped_revision += sum(bar.revision for bar in self._bars[: gone * STRIDE])
        self._dropped_to = self._bars[gone * STRIDE - 1].ts_start
        del self._bars[: gone * STRIDE]
        del self._states[:gone], self._packed[:gone]

    def state(self) -> bytes:
        """The snapshot of the chain; the same object as long as nothing has changed."""
        if self._state is None:
            self._state = msgspec.msgpack.encode(self._snapshot())
        return self._state

    def _snapshot(self) -> ChainState:
        whole = len(self._bars) // STRIDE
        for at in range(len(self._packed), whole):
            self._packed.append(_pack(self._bars[at * STRIDE : (at + 1) * STRIDE]))
        rest = self._bars[whole * STRIDE :]
        return ChainState(
            self._dropped, self._dropped_revision, self._dropped_to, self._packed, rest, self._states, self._dirty
        )

    def restore(self, packed: bytes | memoryview) -> None:
        """Become the chain that gave this `state`."""
        state = msgspec.msgpack.decode(packed, type=ChainState)
        kind = type(self.step.zero())
        self._dropped, self._dropped_revision = state.dropped, state.dropped_revision
        self._dropped_to = state.dropped_to
        self._bars = [bar for packed in state.packed for bar in _unpack(packed)] + state.bars
        self._packed, self._dirty = list(state.packed), state.dirty
        self._states = [msgspec.convert(value, kind) for value in state.states]
        self._late = state.dropped_revision + sum(bar.revision for bar in self._bars)
        self._head = self._states[-1]
        for bar in self._bars[(len(self._states) - 1) * STRIDE :]:
            self._head, _ = self.step.on_event(self._head, bar.close)
