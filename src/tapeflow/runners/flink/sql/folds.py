"""The keyed aggregations: candles and sliding means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized

from tapeflow.domain.time import HOUR
from tapeflow.runners.flink.spec import Folds, Interval, Sliding
from tapeflow.runners.flink.sql import words
from tapeflow.runners.flink.sql.events import COARSE, FINE, tick
from tapeflow.runners.flink.sql.values import long, quoted

#: What a time row counts in a total of late trades.
_TIME_ROW = 1 << 40

#: Whether a window's time row has come, and its late trades.
IS_TIMED, REVISION = f"`closings` >= {_TIME_ROW}", f"MOD(`closings`, {_TIME_ROW})"


def candle_views(folds: Folds, outage_us: int) -> dict[str, str]:
    """Aggregations of candles by name: one for the intervals whose state is kept equally long."""
    names = {candles_name(at): group for at, group in enumerate(groups(folds.intervals))}
    return {name: _candle_view(name, group, folds, outage_us) for name, group in names.items()}


def candles_name(at: int) -> str:
    """The aggregation of a group of intervals."""
    return f"candles_{at}"


def groups(intervals: Iterable[Interval]) -> list[tuple[Interval, ...]]:
    """Intervals up to a minute, up to an hour, and each longer one: state of the short is not kept for a day."""
    made: dict[int, list[Interval]] = {}
    for interval in intervals:
        rank = 60_000_000 if interval.size_us <= 60_000_000 else HOUR if interval.size_us <= HOUR else interval.size_us
        made.setdefault(rank, []).append(interval)
    return [tuple(group) for _, group in sorted(made.items())]


def _candle_view(name: str, intervals: tuple[Interval, ...], folds: Folds, outage_us: int) -> str:
    kept = max(interval.size_us for interval in intervals) + folds.horizon_us + outage_us
    end, of_trade = "`ts_start` + `length`", words.of_trade(folds.scale)
    on_time = f"`is_trade` AND (`ts_watermark` IS NULL OR `ts_watermark` < {end})"
    totals = {
        "opened": "MIN(`tick`)",
        "closed_at": "MAX(`tick`)",
        "coarse_opened": "MIN(`coarse_tick`)",
        "coarse_closed_at": "MAX(`coarse_tick`)",
        "coarse": "MAX(CASE WHEN `coarse` THEN 1 ELSE 0 END)",
        "high": "MAX(`price`)",
        "low": "MIN(CASE WHEN `is_trade` THEN `price` END)",
        **{name: f"SUM(`{name}`)" for name in of_trade},
        "trades": "SUM(`trades`)",
        "closings": _closings(end),
        "told": "MAX(`told`)",
    }
    if any(interval.steps for interval in intervals):
        totals |= {
            "step_tick": f"MAX(CASE WHEN {on_time} THEN `tick` END)",
            "step_coarse_tick": f"MAX(CASE WHEN {on_time} THEN `coarse_tick` END)",
            "step_coarse": f"MAX(CASE WHEN {on_time} AND `coarse` THEN 1 ELSE 0 END)",
            "step_trades": f"SUM(CASE WHEN {on_time} THEN `trades` ELSE 0 END)",
        }
    fields = of_trade | {"tick": tick(FINE), "coarse_tick": tick(COARSE)}
    made = ", ".join(f"{value} AS `{field}`" for field, value in fields.items())
    if len(intervals) == 1:  # an array costs as much as what is done with its rows
        own = f"{long(intervals[0].size_us)} AS `length`, {_window_of(intervals[0])} AS `ts_start`"
        expanded = f"SELECT * FROM (SELECT *, {made}, {own} FROM `events`) AS e WHERE `ts_start` IS NOT NULL"
    else:
        numbered = ((folds.intervals.index(one), one) for one in intervals)
        rows = ", ".join(f"ROW({at}, {long(one.size_us)}, {_window_of(one)})" for at, one in numbered)
        expanded = (
            "SELECT e.*, i.`interval`, i.`length`, i.`ts_start` "
            f"FROM (SELECT *, {made}, ARRAY[{rows}] AS `windows` FROM `events`) AS e "
            "CROSS JOIN UNNEST(e.`windows`) AS i(`interval`, `length`, `ts_start`) WHERE i.`ts_start` IS NOT NULL"
        )
    return _grouped(name, (*_which("interval", intervals), "ts_start"), totals, expanded, kept)


def _which(name: str, kinds: Sized) -> tuple[str, ...]:
    """What a window of several kinds is told apart by."""
    return (name,) if len(kinds) > 1 else ()


def _closings(end: str) -> str:
    """Late trades, and time rows far above them."""
    return f"SUM(CASE WHEN `is_time` THEN {_TIME_ROW} WHEN `is_trade` AND `ts_watermark` >= {end} THEN 1 ELSE 0 END)"


def _window_of(one: Interval) -> str:
    """The start of the window of an interval that a trade is in, a time row closes or the venue's candle is of; null
    where there is none."""
    back = since(one.origin_us, one.size_us)
    return (
        f"CASE WHEN `is_trade` THEN `ts_event` - {back('ts_event')} "
        f"WHEN `is_time` THEN CASE WHEN {back('ts_watermark')} = 0 THEN `ts_watermark` - {one.size_us} END "
        f"WHEN `of` = {quoted(one.name)} AND {back('ts_event')} = 0 THEN `ts_event` END"
    )


def since(origin_us: int, size_us: int) -> Callable[[str], str]:
    """How long ago the window that holds a time began."""
    return lambda field: f"MOD(`{field}` - {origin_us}, {size_us})" if origin_us else f"MOD(`{field}`, {size_us})"


def mean_view(name: str, means: tuple[Sliding, ...], table: str, kept_us: int) -> str:
    """The aggregation of sliding means over a table: a row is expanded to the windows that hold it."""
    kept = max(mean.size_us for mean in means) + kept_us
    which = _which("which", means)
    ends = [(at, end) for at, mean in enumerate(means) for end in _ends_of_mean(mean)]
    windows = ", ".join(f"ROW({at}, {end})" if which else end for at, end in ends)
    names = ", ".join(f"`{name}`" for name in (*which, "ts_end"))
    counted = (
        "SELECT `venue`, `symbol`, `is_time`, `is_trade`, `ts_watermark`, `trades`, `price`, "
        f"ARRAY[{windows}] AS `windows` FROM `{table}`"
    )
    expanded = (
        "SELECT e.`venue`, e.`symbol`, e.`is_time`, e.`is_trade`, e.`ts_watermark`, e.`trades`, e.`price`, w.* "
        f"FROM ({counted}) AS e CROSS JOIN UNNEST(e.`windows`) AS w({names}) WHERE w.`ts_end` IS NOT NULL"
    )
    totals = {
        **{name: f"SUM({value})" for name, value in words.of_price().items()},
        "trades": "SUM(`trades`)",
        "closings": _closings("`ts_end`"),
    }
    return _grouped(name, (*which, "ts_end"), totals, expanded, kept)


def _ends_of_mean(mean: Sliding) -> Iterator[str]:
    """The ends of the windows that hold a trade, null if there are not so many; a time row closes the first."""
    back = since(0, mean.slide_us)
    for at in range(_reach(mean)):
        first = mean.slide_us * (at + 1)
        holds = f" AND {back('ts_event')} + {mean.size_us} >= {first}" if mean.size_us % mean.slide_us else ""
        closes = "" if at else f" WHEN `is_time` AND {back('ts_watermark')} = 0 THEN `ts_watermark`"
        yield f"CASE WHEN `is_trade`{holds} THEN `ts_event` - {back('ts_event')} + {first}{closes} END"


def _reach(mean: Sliding) -> int:
    """How many windows can hold one trade, at most."""
    return -(-mean.size_us // mean.slide_us)


def _grouped(name: str, of_window: Iterable[str], totals: Mapping[str, str], expanded: str, kept_us: int) -> str:
    by = ", ".join(f"`{key}`" for key in ("venue", "symbol", *of_window))
    values = ", ".join(f"{value} AS `{field}`" for field, value in totals.items())
    hint = f"/*+ STATE_TTL('expanded' = '{-(-kept_us // 1_000_000)}s') */"
    return f"CREATE TEMPORARY VIEW `{name}` AS SELECT {hint} {by}, {values} FROM ({expanded}) AS expanded GROUP BY {by}"
