"""The steps inside Flink: a keyed process function over rows of `sql.results.step_rows`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from pyflink.common import Row, RowKind, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor

from tapeflow.indicators import parse
from tapeflow.runners.flink.line import Tick, Told
from tapeflow.runners.flink.spec import Folds
from tapeflow.runners.flink.sql.events import TOLD
from tapeflow.runners.flink.sql.results import LATE, TIME_ROW, VENUE
from tapeflow.runners.flink.stage import Stage, StepRow, Steps

#: Symbols whose heads stay decoded in one worker; those of the others are read from the state when they come.
_KNOWN = 2000

#: What comes out.
ROWS = Types.ROW_NAMED(
    ["venue", "symbol", "interval", "name", "ts_start", "ts_end", "values", "bars", "closed", "revision"],
    [
        *(Types.STRING() for _ in range(4)),
        Types.LONG(),
        Types.LONG(),
        Types.MAP(Types.STRING(), Types.DOUBLE()),
        Types.LONG(),
        Types.BOOLEAN(),
        Types.LONG(),
    ],
)

_DROPPED = (RowKind.UPDATE_BEFORE, RowKind.DELETE)


class _Pieces:
    """Flink's state of the current key as pieces by name."""

    def __init__(self, state: MapState) -> None:
        self._state = state

    def get(self, name: str) -> bytes | None:
        found = self._state.get(name)
        return None if found is None else bytes(found)

    def put(self, name: str, piece: bytes) -> None:
        self._state.put(name, piece)

    def drop(self, name: str) -> None:
        self._state.remove(name)


class StepFunction(KeyedProcessFunction):  # type: ignore[misc]
    """Rows of `sql.step_rows` in, by venue and symbol; rows of indicators out."""

    def __init__(self, folds: Folds, outage_us: int) -> None:
        self._folds = folds
        self._outage_us = outage_us

    def open(self, runtime_context: RuntimeContext) -> None:
        kept = self._folds.horizon_us + self._outage_us
        steps = tuple(tuple(map(parse, one.steps)) for one in self._folds.intervals)
        self._what = Steps(self._folds.intervals, steps, kept)
        self._numbers = {one.name: at for at, one in enumerate(self._folds.intervals) if one.steps}
        self._fields = [[step.fields for step in each] for each in steps]
        kind = MapStateDescriptor("steps", Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE()))
        self._pieces = _Pieces(runtime_context.get_map_state(kind))
        self._stages: OrderedDict[str, Stage] = OrderedDict()

    def _stage(self, key: str) -> Stage:
        stage = self._stages.get(key)
        if stage is None:
            stage = self._stages[key] = Stage(self._what, self._pieces)
            if len(self._stages) > _KNOWN:
                self._stages.popitem(last=False)
        else:
            self._stages.move_to_end(key)
        return stage

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        if value.get_row_kind() in _DROPPED:
            return
        _, _, kind, ts_start, ts_end, fine, coarse, is_coarse, trades = value
        key = ctx.get_current_key()
        stage = self._stage(key)
        if kind == TIME_ROW:
            rows = stage.time(ts_end)
        elif kind == VENUE:
            told = dict(zip(TOLD, fine.split(" "), strict=True))
            at = self._numbers.get(told["interval"])
            rows = (
                [] if at is None else stage.venue(at, ts_start, ts_end, Told(int(told["count"]), float(told["close"])))
            )
        elif kind == LATE:
            rows = stage.late(ts_start, ts_end, Tick(fine, coarse, is_coarse, trades))
        else:
            rows = stage.closed(kind, ts_start, None if fine is None else Tick(fine, coarse, is_coarse, trades))
        yield from self._rows(key, rows)

    def _rows(self, key: str, rows: Iterable[StepRow]) -> Iterator[Row]:
        venue, _, symbol = key.partition("\x1f")
        for at, (step, ts_start, values, bars, revision) in rows:
            interval = self._folds.intervals[at]
            named = dict(zip(self._fields[at][step], values, strict=True))
            yield Row(
                venue,
                symbol,
                interval.name,
                interval.steps[step],
                ts_start,
                ts_start + interval.size_us,
                named,
                bars,
                True,  # noqa: FBT003 - a column
                revision,
            )
