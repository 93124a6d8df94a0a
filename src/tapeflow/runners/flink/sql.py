"""The folds of a flow as Flink SQL: plain keyed aggregations, whose rows are corrected by trades that come late.

Rules:

1. Trades and time rows go through one scan and one branch to each aggregation, because a window is closed by a time row
   that stands behind its on-time trades in the partition.
2. A row is expanded to the windows that it touches, then grouped by venue, symbol and window. Grouping is done in two
   phases, the first beside the source, so that a window is touched once for many trades.
3. Open and close are the least and the greatest text of time, id and price, padded: FIRST_VALUE and LAST_VALUE of
   Flink go by arrival. Two orders are kept, by microseconds and by milliseconds, as in `domain.candle`.
4. A window is closed when its time row has come, or when it has a late trade; ``revision`` counts these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tapeflow.domain.time import HOUR
from tapeflow.runners.flink.spec import Folds, Interval, Sliding, Spec

#: Widths of the padded time and id, and where the price begins behind them.
TIME, ID = 16, 19
PRICE_AT = TIME + ID + 1

#: Totals at or beyond it are null in a row, as in `domain.candle`; as a mantissa.
_LIMIT_DIGITS = 38
#: The total is known by a float here, whose error stays far below this part of it.
_SLACK = 1e-6


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def source(spec: Spec) -> str:
    """The table of trades and time rows."""
    rows = {
        "connector": "kafka",
        "topic": spec.source,
        "scan.startup.mode": "earliest-offset",
        "format": "json",
        "properties.group.id": spec.name,
        "properties.isolation.level": "read_committed",
        **_client(spec),
    }
    return (
        "CREATE TEMPORARY TABLE `trades` (`venue` STRING, `symbol` STRING, `id` STRING, `first_id` STRING, "
        "`last_id` STRING, `price` STRING, `size` STRING, `side` STRING, `ts_event` BIGINT, `ts_watermark` BIGINT, "
        f"`coarse` BOOLEAN) WITH ({_options(rows)})"
    )


_FIELDS = {
    "candles": (
        "`venue` STRING, `symbol` STRING, `interval` STRING, `ts_start` BIGINT, `ts_end` BIGINT, `open` STRING, "
        "`high` STRING, `low` STRING, `close` STRING, `volume` STRING, `quote_volume` STRING, "
        "`taker_buy_volume` STRING, `count` BIGINT, `vwap` DOUBLE, `source` STRING, `closed` BOOLEAN, "
        "`revision` BIGINT, PRIMARY KEY (`venue`, `symbol`, `interval`, `ts_start`) NOT ENFORCED"
    ),
    "moving_average": (
        "`venue` STRING, `symbol` STRING, `window_ms` BIGINT, `slide_ms` BIGINT, `ts_start` BIGINT, `ts_end` BIGINT, "
        "`mean` DOUBLE, `count` BIGINT, `closed` BOOLEAN, `revision` BIGINT, "
        "PRIMARY KEY (`venue`, `symbol`, `window_ms`, `slide_ms`, `ts_start`) NOT ENFORCED"
    ),
    "indicators": (
        "`venue` STRING, `symbol` STRING, `interval` STRING, `name` STRING, `ts_start` BIGINT, `ts_end` BIGINT, "
        "`values` MAP<STRING, DOUBLE>, `bars` BIGINT, `closed` BOOLEAN, `revision` BIGINT, "
        "PRIMARY KEY (`venue`, `symbol`, `interval`, `name`, `ts_start`) NOT ENFORCED"
    ),
}


def sink(spec: Spec, channel: str) -> str:
    """The table of a result channel: each row replaces the one before it of the same key."""
    rows = {
        "connector": "upsert-kafka",
        "topic": spec.topics[channel],
        "key.format": "json",
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


def events(folds: Folds) -> str:
    """Trades and time rows with what each aggregation needs of them, computed once."""
    first = "COALESCE(`first_id`, `id`)"
    place = f"LPAD({first}, {ID}, '0') || `price`"
    price = f"CAST(`price` AS DECIMAL(19, {folds.price_scale}))"
    size = f"CAST(`size` AS DECIMAL(19, {folds.size_scale}))"
    return (
        "CREATE TEMPORARY VIEW `events` AS SELECT `venue`, `symbol`, `id` IS NULL AS `is_time`, `ts_event`, "
        f"`ts_watermark`, {price} AS `price`, {size} AS `size`, {price} * {size} AS `quote`, `side` = 'buy' AS `buys`, "
        f"COALESCE(CAST(`last_id` AS BIGINT) - CAST(`first_id` AS BIGINT), 0) + 1 AS `trades`, "
        f"LPAD(CAST(`ts_event` AS STRING), {TIME}, '0') || {place} AS `tick`, "
        f"LPAD(CAST(`ts_event` / 1000 AS STRING), {TIME}, '0') || {place} AS `coarse_tick`, "
        "COALESCE(`coarse`, FALSE) AS `coarse` FROM `trades`"
    )


def candle_views(folds: Folds, outage_us: int) -> dict[str, str]:
    """Aggregations of candles by name: one for the intervals whose state is kept equally long."""
    return {
        f"candles_{at}": _candle_view(f"candles_{at}", group, folds, outage_us)
        for at, group in enumerate(groups(folds.intervals))
    }


def groups(intervals: Iterable[Interval]) -> list[tuple[Interval, ...]]:
    """Intervals up to a minute, up to an hour, and each longer one: state of the short is not kept for a day."""
    made: dict[int, list[Interval]] = {}
    for interval in intervals:
        rank = 60_000_000 if interval.size_us <= 60_000_000 else HOUR if interval.size_us <= HOUR else interval.size_us
        made.setdefault(rank, []).append(interval)
    return [tuple(group) for _, group in sorted(made.items())]


def _candle_view(name: str, intervals: tuple[Interval, ...], folds: Folds, outage_us: int) -> str:
    kept = max(interval.size_us for interval in intervals) + folds.horizon_us + outage_us
    sizes = ", ".join(f"ROW({quoted(one.name)}, {one.size_us}, {one.origin_us})" for one in intervals)
    end = "`ts_start` + `length`"
    late = f"`ts_watermark` >= {end}"
    on_time = f"NOT `is_time` AND (`ts_watermark` IS NULL OR `ts_watermark` < {end})"
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
        "rough": "SUM(CAST(`quote` AS DOUBLE))",
        "bought": f"SUM(CASE WHEN `is_time` THEN NULL WHEN `buys` THEN `size` ELSE CAST(0 AS DECIMAL(19, {folds.size_scale})) END)",
        "trades": "SUM(CASE WHEN `is_time` THEN 0 ELSE `trades` END)",
        "revision": f"SUM(CASE WHEN NOT `is_time` AND {late} THEN 1 ELSE 0 END)",
        "timed": "MAX(CASE WHEN `is_time` THEN 1 ELSE 0 END)",
    }
    if any(interval.steps for interval in intervals):
        totals |= {
            "step_tick": f"MAX(CASE WHEN {on_time} THEN `tick` END)",
            "step_coarse_tick": f"MAX(CASE WHEN {on_time} THEN `coarse_tick` END)",
            "step_coarse": f"MAX(CASE WHEN {on_time} AND `coarse` THEN 1 ELSE 0 END)",
        }
    start = (
        "CASE WHEN `is_time` THEN `ts_watermark` - i.`length` "
        "ELSE `ts_event` - MOD(`ts_event` - i.`origin`, i.`length`) END"
    )
    expanded = (
        f"SELECT e.*, i.`interval`, i.`length`, {start} AS `ts_start` FROM `events` AS e "
        f"CROSS JOIN UNNEST(ARRAY[{sizes}]) AS i(`interval`, `length`, `origin`) "
        "WHERE NOT `is_time` OR MOD(`ts_watermark` - i.`origin`, i.`length`) = 0"
    )
    return _grouped(name, ("venue", "symbol", "interval", "ts_start", "length"), totals, expanded, kept)


def mean_view(folds: Folds, outage_us: int) -> str:
    """The aggregation of all sliding means: a row is expanded to the windows that hold it."""
    kept = max(mean.size_us for mean in folds.means) + folds.horizon_us + outage_us
    windows = ", ".join(
        f"ROW({mean.size_us}, {mean.slide_us}, {at * mean.slide_us})"
        for mean in folds.means
        for at in range(_reach(mean))
    )
    end = (
        "CASE WHEN `is_time` THEN `ts_watermark` "
        "ELSE `ts_event` - MOD(`ts_event`, w.`slide`) + w.`slide` + w.`more` END"
    )
    expanded = (
        f"SELECT e.*, e.`price` * e.`trades` AS `paid`, w.`length`, w.`slide`, {end} AS `ts_end` FROM `events` AS e "
        f"CROSS JOIN UNNEST(ARRAY[{windows}]) AS w(`length`, `slide`, `more`) WHERE CASE WHEN `is_time` "
        "THEN w.`more` = 0 AND MOD(`ts_watermark`, w.`slide`) = 0 "
        "ELSE MOD(`ts_event`, w.`slide`) + w.`length` >= w.`slide` + w.`more` END"
    )
    totals = {
        "paid": "SUM(`paid`)",
        "trades": "SUM(CASE WHEN `is_time` THEN 0 ELSE `trades` END)",
        "revision": "SUM(CASE WHEN NOT `is_time` AND `ts_watermark` >= `ts_end` THEN 1 ELSE 0 END)",
        "timed": "MAX(CASE WHEN `is_time` THEN 1 ELSE 0 END)",
    }
    return _grouped("means", ("venue", "symbol", "length", "slide", "ts_end"), totals, expanded, kept)


def _reach(mean: Sliding) -> int:
    """How many windows can hold one trade, at most."""
    return -(-mean.size_us // mean.slide_us)


def _grouped(name: str, keys: Iterable[str], totals: Mapping[str, str], expanded: str, kept_us: int) -> str:
    by = ", ".join(f"`{key}`" for key in keys)
    values = ", ".join(f"{value} AS `{field}`" for field, value in totals.items())
    hint = f"/*+ STATE_TTL('expanded' = '{-(-kept_us // 1_000_000)}s') */"
    return f"CREATE TEMPORARY VIEW `{name}` AS SELECT {hint} {by}, {values} FROM ({expanded}) AS expanded GROUP BY {by}"


def candle_rows(folds: Folds, view: str) -> str:
    """Rows of the channel ``candles``."""
    limit = 10.0 ** (_LIMIT_DIGITS - folds.price_scale - folds.size_scale) * (1 - _SLACK)
    fits = f"`rough` < CAST({limit!r} AS DOUBLE)"
    vwap = "CAST(`quote` AS DOUBLE) / CAST(`volume` AS DOUBLE)"
    values = (
        "`venue`",
        "`symbol`",
        "`interval`",
        "`ts_start`",
        "`ts_start` + `length`",
        _price_of("CASE WHEN `coarse` = 1 THEN `coarse_opened` ELSE `opened` END"),
        exact("`high`", folds.price_scale),
        exact("`low`", folds.price_scale),
        _price_of("CASE WHEN `coarse` = 1 THEN `coarse_closed_at` ELSE `closed_at` END"),
        exact("`volume`", folds.size_scale),
        f"CASE WHEN {fits} THEN {exact('`quote`', folds.price_scale + folds.size_scale)} END",
        exact("`bought`", folds.size_scale),
        "`trades`",
        f"CASE WHEN {fits} THEN {vwap} END",
        "'trades'",
        "`timed` = 1 OR `revision` > 0",
        "`revision`",
    )
    return f"SELECT {', '.join(values)} FROM `{view}` WHERE `trades` > 0"


def mean_rows() -> str:
    """Rows of the channel ``moving_average``."""
    return (
        "SELECT `venue`, `symbol`, `length` / 1000, `slide` / 1000, `ts_end` - `length`, `ts_end`, "
        "CAST(`paid` AS DOUBLE) / CAST(`trades` AS DOUBLE), `trades`, `timed` = 1 OR `revision` > 0, `revision` "
        "FROM `means` WHERE `trades` > 0"
    )


def closed_rows(folds: Folds, view: str) -> str:
    """For the steps: windows whose time row has come, with the last tick of their on-time trades, null if none."""
    numbers = " ".join(f"WHEN {quoted(one.name)} THEN {at}" for at, one in enumerate(folds.intervals) if one.steps)
    number = f"CASE `interval` {numbers} ELSE -9 END"
    return (
        f"SELECT `venue`, `symbol`, {number} AS `kind`, `ts_start` AS `ts`, CAST(NULL AS BIGINT) AS `ts_watermark`, "
        f"`step_tick` AS `tick`, `step_coarse_tick` AS `coarse_tick`, `step_coarse` = 1 AS `coarse` "
        f"FROM `{view}` WHERE `timed` = 1 AND {number} >= 0"
    )


#: Kinds of rows for the steps beside the number of an interval.
LATE, TIME_ROW = -1, -2


def step_events(folds: Folds) -> str:
    """For the steps: time rows, and trades that are late for the shortest interval that has any."""
    shortest = min((one for one in folds.intervals if one.steps), key=lambda one: one.size_us)
    end = (
        f"`ts_event` - MOD(`ts_event` - {shortest.origin_us}, {shortest.size_us}) + {shortest.size_us}"
    )
    return (
        f"SELECT `venue`, `symbol`, CASE WHEN `is_time` THEN {TIME_ROW} ELSE {LATE} END AS `kind`, `ts_event` AS `ts`, "
        "`ts_watermark`, `tick`, `coarse_tick`, `coarse` FROM `events` "
        f"WHERE `is_time` OR `ts_watermark` >= {end}"
    )


def exact(value: str, scale: int) -> str:
    """A decimal as canonical text: no needless zeros."""
    text = f"CAST({value} AS STRING)"
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))" if scale else text


def _price_of(tick: str) -> str:
    return f"SUBSTRING({tick} FROM {PRICE_AT})"


def statements(spec: Spec) -> Iterator[str]:
    """All that must be created before rows are asked for."""
    folds = spec.folds
    yield source(spec)
    yield events(folds)
    for channel in folds.channels:
        yield sink(spec, channel)
    yield from candle_views(folds, spec.outage_us).values()
    if folds.means:
        yield mean_view(folds, spec.outage_us)


def inserts(spec: Spec) -> Iterator[str]:
    """What is written by SQL alone."""
    for view in candle_views(spec.folds, spec.outage_us):
        yield f"INSERT INTO `candles` {candle_rows(spec.folds, view)}"
    if spec.folds.means:
        yield f"INSERT INTO `moving_average` {mean_rows()}"


def settings(spec: Spec) -> dict[str, str]:
    """Configuration of the table program."""
    exactly = spec.guarantee == "exactly_once"
    return {
        "table.exec.mini-batch.enabled": "true",
        "table.exec.mini-batch.allow-latency": f"{spec.latency_ms} ms",
        "table.exec.mini-batch.size": "20000",
        "table.optimizer.agg-phase-strategy": "TWO_PHASE",
        "table.exec.sink.upsert-materialize": "NONE",
        "table.exec.state.ttl": "0",
        "execution.checkpointing.interval": f"{spec.checkpoint_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE" if exactly else "AT_LEAST_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": "100",
        "parallelism.default": str(spec.parallelism),
        "pipeline.name": spec.name,
        "pipeline.global-job-parameters": f"tapeflow.folds:{spec.folds.fingerprint}",
    }
