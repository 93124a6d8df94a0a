"""The folds of a flow as Flink SQL: plain keyed aggregations, whose rows are corrected by trades that come late.

Rules:

1. Trades, time rows and candles of the venue go through one scan and one branch to each aggregation, because a window
   is closed by a time row that stands behind its on-time trades in the partition.
2. A row is expanded to the windows that it touches, then grouped by venue, symbol and window. Grouping is done in two
   phases, the first beside the source, so that a window is touched once for many trades.
3. Open and close are the least and the greatest text of time, id and price (`_tick`): FIRST_VALUE and LAST_VALUE of
   Flink go by arrival. Two orders are kept, by microseconds and by milliseconds, as in `domain.candle`.
4. A window is closed when its time row has come, when it has a late trade, or when the venue's own candle has come;
   ``revision`` counts late trades. Both are in one total, since each total is touched for each trade of each window.
5. The venue's candle stands in where it counts more trades than ours. It is one text, its count first and padded: the
   greatest is the one that counts most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized

from tapeflow.domain.number import decimal_text
from tapeflow.domain.time import HOUR
from tapeflow.runners.flink.spec import Folds, Interval, Sliding, Spec

#: Digits before the price of a tick; the shortest of the ids that are written as they are; the latest of its times.
TICK_DIGITS = 37
_LONG_ID, _LATEST = 10**18, 9 * 10**16 - 1

#: A candle of the venue, and of this what `told` is made from, by place.
_CANDLE = {
    "interval": "STRING",
    "ts_start": "BIGINT",
    **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"), "STRING"),
    "count": "BIGINT",
    "vwap": "DOUBLE",
}
TOLD = ("count", "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "vwap", "interval")

#: Times of the two orders.
_FINE, _COARSE = "`ts_event`", "(`ts_event` - MOD(`ts_event`, 1000))"

#: Totals at or beyond it are null in a row, as in `domain.candle`; as a mantissa.
_LIMIT_DIGITS = 38
#: The total is known by a float here, whose error stays far below this part of it.
_SLACK = 1e-6

#: What a time row counts in a total of late trades.
_TIME_ROW = 1 << 40
_IS_TIMED, _REVISION = f"`closings` >= {_TIME_ROW}", f"MOD(`closings`, {_TIME_ROW})"

#: A sum of mantissas of 64 bits in two words, each far cheaper than a decimal of 38 digits: what is above and below
#: this. Neither is beyond its 64 bits while a window has fewer trades than so many.
_WORD, _MOST_TRADES = 10**9, 900_000_000


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def source(spec: Spec) -> str:
    """The table of trades, time rows and candles of the venue."""
    candle = ", ".join(f"`{name}` {kind}" for name, kind in _CANDLE.items())
    return (
        "CREATE TEMPORARY TABLE `trades` (`venue` STRING, `symbol` STRING, `id` STRING, `first_id` STRING, "
        "`last_id` STRING, `price` STRING, `size` STRING, `side` STRING, `ts_event` BIGINT, `ts_watermark` BIGINT, "
        f"`coarse` BOOLEAN, `candle` ROW<{candle}>) WITH ({_read(spec, spec.source)})"
    )


def pushes(spec: Spec) -> str:
    """The table of klines and their time rows."""
    return (
        "CREATE TEMPORARY TABLE `klines` (`venue` STRING, `symbol` STRING, `interval` STRING, `close` STRING, "
        f"`ts_event` BIGINT, `ts_watermark` BIGINT) WITH ({_read(spec, spec.pushes)})"
    )


def _read(spec: Spec, topic: str) -> str:
    rows = {
        "connector": "kafka",
        "topic": topic,
        "scan.startup.mode": "earliest-offset",
        "format": "json",
        "json.ignore-parse-errors": "true",
        "properties.group.id": spec.name,
        "properties.isolation.level": "read_committed",
        **_client(spec),
    }
    return _options(rows)


_FIELDS = {
    "candles": (
        "`venue` STRING, `symbol` STRING, `interval` STRING, `ts_start` BIGINT, `ts_end` BIGINT, `open` STRING, "
        "`high` STRING, `low` STRING, `close` STRING, `volume` STRING, `quote_volume` STRING, "
        "`taker_buy_volume` STRING, `count` BIGINT, `vwap` DOUBLE, `source` STRING, `closed` BOOLEAN, "
        "`revision` BIGINT"
    ),
    "moving_average": (
        "`venue` STRING, `symbol` STRING, `window_ms` BIGINT, `slide_ms` BIGINT, `ts_start` BIGINT, `ts_end` BIGINT, "
        "`mean` DOUBLE, `count` BIGINT, `closed` BOOLEAN, `revision` BIGINT"
    ),
    "indicators": (
        "`venue` STRING, `symbol` STRING, `interval` STRING, `name` STRING, `ts_start` BIGINT, `ts_end` BIGINT, "
        "`values` MAP<STRING, DOUBLE>, `bars` BIGINT, `closed` BOOLEAN, `revision` BIGINT"
    ),
}


def sink(spec: Spec, channel: str) -> str:
    """The table of a result channel: each row replaces the one before it of the same window.

    The key of a message is the symbol alone: so all rows of a series are in one partition, in an order that everybody
    sees alike. The topic is not compacted therefore; what is older than its time is in the stores.
    """
    rows = {
        "connector": "kafka",
        "topic": spec.topics[channel],
        "key.format": "json",
        "key.fields": "venue;symbol",
        "value.format": "json",
        "sink.delivery-guarantee": spec.guarantee.replace("_", "-"),
        **_client(spec),
    }
    if spec.guarantee == "exactly_once":
        rows["sink.transactional-id-prefix"] = f"{spec.name}-{channel}"
        rows["properties.transaction.timeout.ms"] = str(spec.transaction_timeout_ms)
    return f"CREATE TEMPORARY TABLE `{channel}` ({_FIELDS[channel]}) WITH ({_options(rows)})"


def _client(spec: Spec) -> Mapping[str, str]:
    given = {f"properties.{name}": value for name, value in spec.client.items()}
    return {"properties.bootstrap.servers": spec.bootstrap, **given}


def _options(rows: Mapping[str, str]) -> str:
    return ", ".join(f"{quoted(name)} = {quoted(value)}" for name, value in rows.items())


def parsed(folds: Folds) -> str:
    """The rows of the topic with what each says, read once: Flink joins projections on top of each other into one,
    which would read a text anew for every use of its number. What is unnested keeps them apart."""
    read = {
        "is_trade": "`id` IS NOT NULL",
        "is_time": "`id` IS NULL AND `candle` IS NULL",
        "is_single": "`first_id` IS NULL",
        "buys": "`side` = 'buy'",
        "of": "`candle`.`interval`",
        "at": "COALESCE(`ts_event`, `candle`.`ts_start`)",
        "is_coarse": "COALESCE(`coarse`, FALSE)",
        "last": "TRY_CAST(`last_id` AS BIGINT)",
        "price_text": "`price`",
        "priced": _decimal("price", 19, folds.price_scale),
        "sized": _decimal("size", 19, folds.size_scale),
        "told": _told(folds),
        "once": "ARRAY[TRY_CAST(COALESCE(`first_id`, `id`) AS BIGINT)]",
    }
    made = ", ".join(f"{value} AS `{name}`" for name, value in read.items())
    return (
        f"CREATE TEMPORARY VIEW `parsed` AS SELECT * FROM (SELECT `venue`, `symbol`, `ts_watermark`, {made} "
        "FROM `trades`) AS t CROSS JOIN UNNEST(t.`once`) AS r(`number`)"
    )


def _tick(time: str) -> str:
    """A text that sorts by a time and the id, and ends with the price: numbers of 18 and 19 digits.

    Ids of 19 digits stand behind all shorter ones, which have 10^18 added; the last digit of the time says which.
    """
    is_long = f"`number` >= {_LONG_ID}"
    head = f"{time} * 10 + CASE WHEN {is_long} THEN {10**17 + 1} ELSE {10**17} END"
    number = f"`number` + CASE WHEN {is_long} THEN 0 ELSE {_LONG_ID} END"
    return f"CAST({head} AS STRING) || CAST({number} AS STRING) || `price_text`"


def _told(folds: Folds) -> str:
    """A candle of the venue as one text; null where there is none, or none that can be used."""
    of = {name: f"`candle`.`{name}`" for name in _CANDLE}
    scales = dict.fromkeys(("open", "high", "low", "close"), folds.price_scale)
    scales |= dict.fromkeys(("volume", "taker_buy_volume"), folds.size_scale)
    scales |= {"quote_volume": folds.price_scale + folds.size_scale}
    numbers = [f"TRY_CAST({of[name]} AS DECIMAL(38, {scale})) IS NOT NULL" for name, scale in scales.items()]
    text = of | {name: f"CAST({of[name]} AS STRING)" for name in ("count", "vwap")}
    text["count"] = f"LPAD({text['count']}, 19, '0')"
    parts = " || ' ' || ".join(text[name] for name in TOLD)
    known = (
        f"{of['interval']} IN ({', '.join(quoted(one.name) for one in folds.intervals)})"
        if folds.intervals
        else "FALSE"
    )
    # A number that is read in spite of a space about it would be two parts.
    plain = f"POSITION(' ' IN {' || '.join(of[name] for name in scales)}) = 0"
    usable = f"{known} AND {of['count']} > 0 AND {plain} AND {' AND '.join(numbers)}"
    return f"CASE WHEN `id` IS NULL AND `candle` IS NOT NULL AND {usable} THEN {parts} END"


def events() -> str:
    """Trades, time rows and candles of the venue, without what cannot be used."""
    return (
        "CREATE TEMPORARY VIEW `events` AS SELECT `venue`, `symbol`, `is_trade`, `is_time`, `of`, `at` AS `ts_event`, "
        "`ts_watermark`, `priced` AS `price`, `sized` AS `size`, `buys`, "
        "CASE WHEN `is_trade` THEN COALESCE(`last` - `number`, 0) + 1 END AS `trades`, "
        f"`number`, `price_text`, `is_coarse` AS `coarse`, `told` FROM `parsed` WHERE {_usable()}"
    )


def _usable() -> str:
    """Leaves out what is none of them: a sink keeps it as a dead letter, and the job must go on."""
    is_trade = (
        f"`at` BETWEEN 0 AND {_LATEST} AND `number` >= 0 AND `priced` IS NOT NULL AND `sized` IS NOT NULL "
        "AND (`is_single` OR `last` >= `number`)"
    )
    known = "`venue` IS NOT NULL AND `symbol` IS NOT NULL"
    kinds = (
        f"`is_trade` AND {is_trade}",
        "`is_time` AND `ts_watermark` IS NOT NULL",
        "`told` IS NOT NULL AND `at` IS NOT NULL",
    )
    return f"{known} AND ({' OR '.join(kinds)})"


def _decimal(field: str, digits: int, scale: int) -> str:
    return f"TRY_CAST(`{field}` AS DECIMAL({digits}, {scale}))"


def pushed(folds: Folds) -> str:
    """Pushes of klines and time rows as `mean_view` reads them; an answer of the venue has no time and is no push."""
    return (
        "CREATE TEMPORARY VIEW `pushed` AS SELECT `venue`, `symbol`, `interval` IS NULL AS `is_time`, "
        "`interval` IS NOT NULL AS `is_trade`, `ts_event`, "
        f"`ts_watermark`, {_decimal('close', 19, folds.price_scale)} AS `price`, "
        "CASE WHEN `interval` IS NOT NULL THEN CAST(1 AS BIGINT) END AS `trades` "
        "FROM `klines` WHERE `venue` IS NOT NULL AND `symbol` IS NOT NULL AND (`interval` IS NULL AND `ts_watermark` "
        f"IS NOT NULL OR `ts_event` IS NOT NULL AND {_decimal('close', 19, folds.price_scale)} IS NOT NULL)"
    )


def candle_views(folds: Folds, outage_us: int) -> dict[str, str]:
    """Aggregations of candles by name: one for the intervals whose state is kept equally long."""
    names = {_candles_name(at): group for at, group in enumerate(groups(folds.intervals))}
    return {name: _candle_view(name, group, folds, outage_us) for name, group in names.items()}


def _candles_name(at: int) -> str:
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
    end = "`ts_start` + `length`"
    on_time = f"`is_trade` AND (`ts_watermark` IS NULL OR `ts_watermark` < {end})"
    totals = {
        "opened": "MIN(`tick`)",
        "closed_at": "MAX(`tick`)",
        "coarse_opened": "MIN(`coarse_tick`)",
        "coarse_closed_at": "MAX(`coarse_tick`)",
        "coarse": "MAX(CASE WHEN `coarse` THEN 1 ELSE 0 END)",
        "high": "MAX(`price`)",
        "low": "MIN(`price`)",
        "volume": "SUM(`size`)",
        "quote": "SUM(`quote`)",
        "rough": "SUM(`rough`)",
        "bought": "SUM(`bought`)",
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
    made = ", ".join(f"{value} AS `{field}`" for field, value in _of_a_candle(folds).items())
    if len(intervals) == 1:  # an array costs as much as what is done with its rows
        own = f"{_size(intervals[0].size_us)} AS `length`, {_window_of(intervals[0])} AS `ts_start`"
        expanded = f"SELECT * FROM (SELECT *, {made}, {own} FROM `events`) AS e WHERE `ts_start` IS NOT NULL"
    else:
        numbered = ((folds.intervals.index(one), one) for one in intervals)
        rows = ", ".join(f"ROW({at}, {_size(one.size_us)}, {_window_of(one)})" for at, one in numbered)
        expanded = (
            "SELECT e.*, i.`interval`, i.`length`, i.`ts_start` "
            f"FROM (SELECT *, {made}, ARRAY[{rows}] AS `windows` FROM `events`) AS e "
            "CROSS JOIN UNNEST(e.`windows`) AS i(`interval`, `length`, `ts_start`) WHERE i.`ts_start` IS NOT NULL"
        )
    return _grouped(name, (*_which("interval", intervals), "ts_start"), totals, expanded, kept)


def _which(name: str, kinds: Sized) -> tuple[str, ...]:
    """What a window of several kinds is told apart by."""
    return (name,) if len(kinds) > 1 else ()


def _by_kind(name: str, values: Mapping[int, str]) -> str:
    """The value of a window's kind, which is constant where there is one kind alone."""
    if len(values) == 1:
        return next(iter(values.values()))
    return f"CASE `{name}` {' '.join(f'WHEN {kind} THEN {value}' for kind, value in values.items())} END"


def _size(of_us: int) -> str:
    return f"CAST({of_us} AS BIGINT)"


def _closings(end: str) -> str:
    """Late trades, and time rows far above them."""
    return f"SUM(CASE WHEN `is_time` THEN {_TIME_ROW} WHEN `is_trade` AND `ts_watermark` >= {end} THEN 1 ELSE 0 END)"


def _of_a_candle(folds: Folds) -> dict[str, str]:
    """What candles need of an event beside what it says."""
    # A product of 19 and 19 digits would be given 39 and lose decimals. Not both have 19: their notional is bounded.
    wide = 10 ** (18 - folds.size_scale)
    quote = (
        f"CASE WHEN `size` < {wide} THEN `price` * CAST(`size` AS DECIMAL(18, {folds.size_scale})) "
        f"ELSE CAST(`price` AS DECIMAL(18, {folds.price_scale})) * `size` END"
    )
    # Whether a total is near its limit need not be exact; of a product it would cost a parsed text.
    rough = "CAST(`price` AS DOUBLE) * CAST(`size` AS DOUBLE)"
    nothing = f"CAST(0 AS DECIMAL(19, {folds.size_scale}))"
    bought = f"CASE WHEN NOT `is_trade` THEN NULL WHEN `buys` THEN `size` ELSE {nothing} END"
    return {"quote": quote, "rough": rough, "bought": bought, "tick": _tick(_FINE), "coarse_tick": _tick(_COARSE)}


def _window_of(one: Interval) -> str:
    """The start of the window of an interval that a trade is in, a time row closes or the venue's candle is of; null
    where there is none."""
    back = _since(one.origin_us, one.size_us)
    return (
        f"CASE WHEN `is_trade` THEN `ts_event` - {back('ts_event')} "
        f"WHEN `is_time` THEN CASE WHEN {back('ts_watermark')} = 0 THEN `ts_watermark` - {one.size_us} END "
        f"WHEN `of` = {quoted(one.name)} AND {back('ts_event')} = 0 THEN `ts_event` END"
    )


def _since(origin_us: int, size_us: int) -> Callable[[str], str]:
    """How long ago the window that holds a time began."""
    return lambda field: f"MOD(`{field}` - {origin_us}, {size_us})" if origin_us else f"MOD(`{field}`, {size_us})"


def mean_view(name: str, means: tuple[Sliding, ...], table: str, scale: int, kept_us: int) -> str:
    """The aggregation of sliding means over a table: a row is expanded to the windows that hold it."""
    kept = max(mean.size_us for mean in means) + kept_us
    which = _which("which", means)
    ends = [(at, end) for at, mean in enumerate(means) for end in _ends_of_mean(mean)]
    windows = ", ".join(f"ROW({at}, {end})" if which else end for at, end in ends)
    names = ", ".join(f"`{name}`" for name in (*which, "ts_end"))
    mantissa = f"CAST(`price` * CAST({10**scale} AS DECIMAL({scale + 1}, 0)) AS BIGINT)"
    counted = (
        f"SELECT `venue`, `symbol`, `is_time`, `is_trade`, `ts_watermark`, `trades`, {mantissa} AS `mantissa`, "
        f"ARRAY[{windows}] AS `windows` FROM `{table}`"
    )
    expanded = (
        "SELECT e.`venue`, e.`symbol`, e.`is_time`, e.`is_trade`, e.`ts_watermark`, e.`trades`, e.`mantissa`, w.* "
        f"FROM ({counted}) AS e CROSS JOIN UNNEST(e.`windows`) AS w({names}) WHERE w.`ts_end` IS NOT NULL"
    )
    totals = {
        "high_words": f"SUM(`mantissa` / {_WORD} * `trades`)",
        "low_words": f"SUM(MOD(`mantissa`, {_WORD}) * `trades`)",
        "trades": "SUM(`trades`)",
        "closings": _closings("`ts_end`"),
    }
    return _grouped(name, (*which, "ts_end"), totals, expanded, kept)


def _ends_of_mean(mean: Sliding) -> Iterator[str]:
    """The ends of the windows that hold a trade, null if there are not so many; a time row closes the first."""
    back = _since(0, mean.slide_us)
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
    parts = [_candles(folds, _candles_name(at), group) for at, group in enumerate(groups(folds.intervals))]
    views = (("means", folds.means), ("push_means", folds.push_means))
    parts += [_means(name, means, folds.price_scale) for name, means in views if means]
    if "indicators" in folds.channels:
        parts.append(_step_events(folds))
    return " UNION ALL ".join(parts)


def _select(values: Mapping[str, str], table: str) -> str:
    """A row of `COLUMNS` with nulls where there is no value."""
    made = (f"CAST({values.get(name, 'NULL')} AS {kind}) AS `{name}`" for name, kind in COLUMNS.items())
    return f"SELECT {', '.join(made)} FROM {table}"


def _candles(folds: Folds, view: str, intervals: tuple[Interval, ...]) -> str:
    numbers = {folds.intervals.index(one): one for one in intervals}
    lengths = {at: _size(one.size_us) for at, one in numbers.items()}
    limit = 10.0 ** (_LIMIT_DIGITS - folds.price_scale - folds.size_scale) * (1 - _SLACK)
    fits = f"`rough` < CAST({limit!r} AS DOUBLE)"
    ours = {
        "open": _price_of("CASE WHEN `coarse` = 1 THEN `coarse_opened` ELSE `opened` END"),
        "high": exact("`high`", folds.price_scale),
        "low": exact("`low`", folds.price_scale),
        "close": _price_of("CASE WHEN `coarse` = 1 THEN `coarse_closed_at` ELSE `closed_at` END"),
        "volume": exact("`volume`", folds.size_scale),
        "quote_volume": f"CASE WHEN {fits} THEN {exact('`quote`', folds.price_scale + folds.size_scale)} END",
        "taker_buy_volume": exact("`bought`", folds.size_scale),
        "count": "COALESCE(`trades`, 0)",
        "ratio": f"CASE WHEN {fits} THEN CAST(`quote` AS DOUBLE) / CAST(`volume` AS DOUBLE) END",
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
        "timed": _IS_TIMED,
        "revision": _REVISION,
    }
    if "indicators" in folds.channels:
        values |= {"tick": "`step_tick`", "coarse_tick": "`step_coarse_tick`", "coarse": "`step_coarse` = 1"}
        values["of_steps"] = "`step_trades`"
    return _select(values, f"`{view}`")


def _means(view: str, means: tuple[Sliding, ...], scale: int) -> str:
    lengths = {at: _size(mean.size_us) for at, mean in enumerate(means)}
    slides = {at: _size(mean.slide_us) for at, mean in enumerate(means)}
    words = f"CAST(`high_words` AS DECIMAL(19, 0)) * CAST({_WORD} AS DECIMAL(10, 0)) + `low_words`"
    # A product has a digit more than its factors have together; beyond 38 it would lose decimals.
    one = f"CAST({decimal_text(1, scale)} AS DECIMAL({scale + 1}, {scale}))"
    paid = f"CAST({words} AS DECIMAL({36 - scale}, 0)) * {one}"
    values = {
        "kind": str(MEAN),
        "venue": "`venue`",
        "symbol": "`symbol`",
        "ts_start": f"`ts_end` - {_by_kind('which', lengths)}",
        "ts_end": "`ts_end`",
        "slide": _by_kind("which", slides),
        "count": "COALESCE(`trades`, 0)",
        # Of a window without trades, which gives no row, there is no mean.
        "ratio": f"CASE WHEN `trades` < {_MOST_TRADES} THEN CAST({paid} AS DOUBLE) / CAST(`trades` AS DOUBLE) END",
        "timed": _IS_TIMED,
        "revision": _REVISION,
    }
    return _select(values, f"`{view}`")


def _step_events(folds: Folds) -> str:
    """Time rows, trades that are late for the shortest interval with steps, and candles of the venue."""
    shortest = min((one for one in folds.intervals if one.steps), key=lambda one: one.size_us)
    end = f"`ts_event` - {_since(shortest.origin_us, shortest.size_us)('ts_event')} + {shortest.size_us}"
    values = {
        "kind": f"CASE WHEN `is_time` THEN {TIME_ROW} WHEN `is_trade` THEN {LATE} ELSE {VENUE} END",
        "venue": "`venue`",
        "symbol": "`symbol`",
        "ts_start": "`ts_event`",
        "ts_end": "`ts_watermark`",
        "tick": f"CASE WHEN `is_trade` THEN {_tick(_FINE)} ELSE `told` END",
        "coarse_tick": f"CASE WHEN `is_trade` THEN {_tick(_COARSE)} END",
        "coarse": "`coarse`",
        "of_steps": "`trades`",
    }
    return _select(values, f"`events` WHERE NOT `is_trade` OR `ts_watermark` >= {end}")


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


def exact(value: str, scale: int) -> str:
    """A decimal as canonical text: no needless zeros."""
    text = f"CAST({value} AS STRING)"
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))" if scale else text


def _price_of(tick: str) -> str:
    return f"SUBSTRING({tick} FROM {TICK_DIGITS + 1})"


def statements(spec: Spec) -> Iterator[str]:
    """All that must be created before rows are asked for."""
    folds = spec.folds
    if folds.reads_trades:
        yield source(spec)
        yield parsed(folds)
        yield events()
    if folds.push_means:
        yield pushes(spec)
        yield pushed(folds)
    for channel in folds.channels:
        yield sink(spec, channel)
    yield from candle_views(folds, spec.outage_us).values()
    kept = folds.horizon_us + spec.outage_us
    if folds.means:
        yield mean_view("means", folds.means, "events", folds.price_scale, kept)
    if folds.push_means:
        yield mean_view("push_means", folds.push_means, "pushed", folds.price_scale, kept)
    yield f"CREATE TEMPORARY VIEW `computed` AS {results(folds)}"


def inserts(spec: Spec) -> Iterator[str]:
    """What is written of `results`."""
    if spec.folds.intervals:
        yield f"INSERT INTO `candles` {candle_rows(spec.folds)}"
    if "moving_average" in spec.folds.channels:
        yield f"INSERT INTO `moving_average` {mean_rows()}"


def settings(spec: Spec) -> dict[str, str]:
    """Configuration of the table program."""
    exactly = spec.guarantee == "exactly_once"
    return {
        "table.exec.mini-batch.enabled": "true",
        "table.exec.mini-batch.allow-latency": f"{spec.latency_ms} ms",
        "table.exec.mini-batch.size": "20000",
        # A buffer that is not full waits so long at each of some four hops.
        "execution.buffer-timeout.interval": f"{max(1, min(100, spec.latency_ms // 10))} ms",
        "table.optimizer.agg-phase-strategy": "TWO_PHASE",
        "table.exec.sink.upsert-materialize": "NONE",
        "table.exec.sink.keyed-shuffle": "NONE",
        "table.exec.state.ttl": "0",
        "execution.checkpointing.interval": f"{spec.checkpoint_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE" if exactly else "AT_LEAST_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": "100",
        # Else each row is copied between any two operators of a chain: half of what the source's thread did.
        "pipeline.object-reuse": "true",
        "parallelism.default": str(spec.parallelism),
        "pipeline.name": spec.name,
        "pipeline.global-job-parameters": f"tapeflow.fingerprint:{spec.fingerprint}",
    }
