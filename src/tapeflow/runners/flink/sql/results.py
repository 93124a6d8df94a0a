"""Rows of results: what the aggregations give, and what the steps read."""

from __future__ import annotations

from collections.abc import Mapping

from tapeflow.runners.flink.spec import Folds, Interval, Sliding
from tapeflow.runners.flink.sql import words
from tapeflow.runners.flink.sql.events import COARSE, FINE, TOLD, price_of, tick
from tapeflow.runners.flink.sql.folds import IS_TIMED, REVISION, candles_name, groups, since
from tapeflow.runners.flink.sql.values import long, number, quoted

#: What rows of `results` are beside candles, whose kind is the number of their interval.
LATE, TIME_ROW, MEAN, VENUE = -1, -2, -3, -4

#: The columns of `results`. A late trade has its event time in ``ts_start`` and its stamp in ``ts_end``, as a time row;
#: a candle of the venue its start and its stamp, and itself in ``tick``. ``of_steps`` are the trades of a tick.
COLUMNS = {
    "kind": "INT",
    "venue": "STRING",
    "symbol": "STRING",
    "ts_start": "BIGINT",
    "ts_end": "BIGINT",
    "slide": "BIGINT",
    "open": "STRING",
    "high": "STRING",
    "low": "STRING",
    "close": "STRING",
    "volume": "STRING",
    "quote_volume": "STRING",
    "taker_buy_volume": "STRING",
    "count": "BIGINT",
    "ratio": "DOUBLE",
    "source": "STRING",
    "told": "BOOLEAN",
    "timed": "BOOLEAN",
    "revision": "BIGINT",
    "tick": "STRING",
    "coarse_tick": "STRING",
    "coarse": "BOOLEAN",
    "of_steps": "BIGINT",
}

#: The rows of `computed` as they change, without those that only say what was there before: nothing is ever taken
#: back, each row stands in the place of the one before it of its window. The function would have the plan wait for
#: watermarks, which we have none of, so it must not be in one with the aggregations: their mini-batches would end at
#: checkpoints only.
CHANGES = (
    f"SELECT {', '.join(f'`{name}`' for name in COLUMNS)} FROM "
    "TO_CHANGELOG(input => TABLE `changes`, op_mapping => MAP['INSERT, UPDATE_AFTER', 'I'])"
)


def results(folds: Folds) -> str:
    """All that SQL computes, as one query, so that the topic is read and parsed once: rows of `COLUMNS`."""
    parts = [_candles(folds, candles_name(at), group) for at, group in enumerate(groups(folds.intervals))]
    views = (("means", folds.means), ("push_means", folds.push_means))
    parts += [_means(name, means, folds.scale) for name, means in views if means]
    if "indicators" in folds.channels:
        parts.append(_step_events(folds))
    return " UNION ALL ".join(parts)


def _select(values: Mapping[str, str], table: str) -> str:
    """A row of `COLUMNS` with nulls where there is no value."""
    made = (f"CAST({values.get(name, 'NULL')} AS {kind}) AS `{name}`" for name, kind in COLUMNS.items())
    return f"SELECT {', '.join(made)} FROM {table}"


def _candles(folds: Folds, view: str, intervals: tuple[Interval, ...]) -> str:
    numbers = {folds.intervals.index(one): one for one in intervals}
    lengths = {at: long(one.size_us) for at, one in numbers.items()}
    scale, unit = folds.scale, 10**folds.scale
    volume, quote, fits = words.volume(scale), words.quote(scale), words.fits(scale)
    ours = {
        "open": price_of("CASE WHEN `coarse` = 1 THEN `coarse_opened` ELSE `opened` END"),
        "high": number(f"`high` / {unit}", f"MOD(`high`, {unit})", scale),
        "low": number(f"`low` / {unit}", f"MOD(`low`, {unit})", scale),
        "close": price_of("CASE WHEN `coarse` = 1 THEN `coarse_closed_at` ELSE `closed_at` END"),
        "volume": volume,
        "quote_volume": f"CASE WHEN {fits} THEN {quote} END",
        "taker_buy_volume": words.bought(scale),
        "count": "COALESCE(`trades`, 0)",
        "ratio": f"CASE WHEN `trades` > 0 AND {fits} THEN CAST({quote} AS DOUBLE) / CAST({volume} AS DOUBLE) END",
        "source": "'trades'",
    }
    venue = {name: f"SPLIT_INDEX(`told`, ' ', {TOLD.index(name)})" for name in ours if name in TOLD}
    venue["count"] = f"CAST({venue['count']} AS BIGINT)"
    venue["ratio"] = f"CAST(SPLIT_INDEX(`told`, ' ', {TOLD.index('vwap')}) AS DOUBLE)"
    venue["source"] = "'venue'"
    stands = f"`told` IS NOT NULL AND {venue['count']} > {ours['count']}"
    values = {
        "kind": _by_kind("interval", {at: str(at) for at in numbers}),
        "venue": "`venue`",
        "symbol": "`symbol`",
        "ts_start": "`ts_start`",
        "ts_end": f"`ts_start` + {_by_kind('interval', lengths)}",
        **{name: f"CASE WHEN {stands} THEN {venue[name]} ELSE {value} END" for name, value in ours.items()},
        "told": "`told` IS NOT NULL",
        "timed": IS_TIMED,
        "revision": REVISION,
    }
    if "indicators" in folds.channels:
        values |= {"tick": "`step_tick`", "coarse_tick": "`step_coarse_tick`", "coarse": "`step_coarse` = 1"}
        values["of_steps"] = "`step_trades`"
    return _select(values, f"`{view}`")


def _by_kind(name: str, values: Mapping[int, str]) -> str:
    """The value of a window's kind, which is constant where there is one kind alone."""
    if len(values) == 1:
        return next(iter(values.values()))
    return f"CASE `{name}` {' '.join(f'WHEN {kind} THEN {value}' for kind, value in values.items())} END"


def _means(view: str, means: tuple[Sliding, ...], scale: int) -> str:
    lengths = {at: long(mean.size_us) for at, mean in enumerate(means)}
    slides = {at: long(mean.slide_us) for at, mean in enumerate(means)}
    values = {
        "kind": str(MEAN),
        "venue": "`venue`",
        "symbol": "`symbol`",
        "ts_start": f"`ts_end` - {_by_kind('which', lengths)}",
        "ts_end": "`ts_end`",
        "slide": _by_kind("which", slides),
        "count": "COALESCE(`trades`, 0)",
        "ratio": words.mean(scale),
        "timed": IS_TIMED,
        "revision": REVISION,
    }
    return _select(values, f"`{view}`")


def _step_events(folds: Folds) -> str:
    """Time rows, trades that are late for an interval with steps, and candles of the venue."""
    late = " OR ".join(
        f"`ts_watermark` >= `ts_event` - {since(one.origin_us, one.size_us)('ts_event')} + {one.size_us}"
        for one in folds.closing
    )
    values = {
        "kind": f"CASE WHEN `is_time` THEN {TIME_ROW} WHEN `is_trade` THEN {LATE} ELSE {VENUE} END",
        "venue": "`venue`",
        "symbol": "`symbol`",
        "ts_start": "`ts_event`",
        "ts_end": "`ts_watermark`",
        "tick": f"CASE WHEN `is_trade` THEN {tick(FINE)} ELSE `told` END",
        "coarse_tick": f"CASE WHEN `is_trade` THEN {tick(COARSE)} END",
        "coarse": "`coarse`",
        "of_steps": "`trades`",
    }
    return _select(values, f"`events` WHERE NOT `is_trade` OR {late}")


def candle_rows(folds: Folds) -> str:
    """From `results` the rows of the channel ``candles``: none of a window that only a time row has touched."""
    names = " ".join(f"WHEN {at} THEN {quoted(one.name)}" for at, one in enumerate(folds.intervals))
    return (
        f"SELECT `venue`, `symbol`, CASE `kind` {names} END, `ts_start`, `ts_end`, `open`, `high`, `low`, `close`, "
        "`volume`, `quote_volume`, `taker_buy_volume`, `count`, `ratio`, `source`, "
        "`timed` OR `told` OR `revision` > 0, `revision` FROM `results` WHERE `kind` >= 0 AND `count` > 0"
    )


def mean_rows() -> str:
    """From `results` the rows of the channel ``moving_average``."""
    return (
        "SELECT `venue`, `symbol`, (`ts_end` - `ts_start`) / 1000, `slide` / 1000, `ts_start`, `ts_end`, `ratio`, "
        f"`count`, `timed` OR `revision` > 0, `revision` FROM `results` WHERE `kind` = {MEAN} AND `count` > 0"
    )


def step_rows(folds: Folds) -> str:
    """From `results` what the steps read: closed windows as their time row found them, late trades, time rows, candles
    of the venue."""
    stepped = ", ".join(str(at) for at, one in enumerate(folds.intervals) if one.steps)
    return (
        "SELECT `venue`, `symbol`, `kind`, `ts_start`, `ts_end`, `tick`, `coarse_tick`, `coarse`, `of_steps` "
        f"FROM `results` WHERE `kind` IN ({LATE}, {TIME_ROW}, {VENUE}) OR `kind` IN ({stepped}) AND `timed`"
    )
