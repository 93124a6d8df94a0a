"""What rows of the topics say: trades, time rows, candles and pushes of the venue."""

from __future__ import annotations

from tapeflow.domain.candle import NOTIONAL_LIMIT
from tapeflow.runners.flink.spec import Folds
from tapeflow.runners.flink.sql.tables import CANDLE
from tapeflow.runners.flink.sql.values import quoted
from tapeflow.runners.flink.sql.words import mantissa

#: Digits before the price of a tick.
TICK_DIGITS = 37

#: The shortest of the ids that are written as they are, and the latest of the times in a tick.
_LONG_ID, _LATEST = 10**18, 9 * 10**16 - 1

#: What the text of the venue's candle is made of, by place.
TOLD = ("count", "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "vwap", "interval")

#: Times of the two orders.
FINE, COARSE = "`ts_event`", "(`ts_event` - MOD(`ts_event`, 1000))"


def parsed(folds: Folds) -> str:
    """The rows of the topic with what each says, a query of its own: joined with those on top of it, Flink would read a
    text anew for every use of its number."""
    read = {
        "is_trade": "`id` IS NOT NULL",
        "is_time": "`id` IS NULL AND `candle` IS NULL",
        "is_single": "`first_id` IS NULL",
        "buys": "`side` = 'buy'",
        "of": "`candle`.`interval`",
        "at": "COALESCE(`ts_event`, `candle`.`ts_start`)",
        "is_coarse": "COALESCE(`coarse`, FALSE)",
        "number": "TRY_CAST(COALESCE(`first_id`, `id`) AS BIGINT)",
        "last": "TRY_CAST(`last_id` AS BIGINT)",
        "price_text": "`price`",
        "priced": f"CASE WHEN `id` IS NULL THEN 0 ELSE {mantissa('price', folds.scale)} END",
        "sized": f"CASE WHEN `id` IS NULL THEN 0 ELSE {mantissa('size', folds.scale)} END",
        "told": _told(folds),
    }
    made = ", ".join(f"{value} AS `{name}`" for name, value in read.items())
    return f"SELECT `venue`, `symbol`, `ts_watermark`, {made} FROM `trades`"


def tick(time: str) -> str:
    """A text that sorts by a time and the id, and ends with the price: numbers of 18 and 19 digits.

    Ids of 19 digits stand behind all shorter ones, which have 10^18 added; the last digit of the time says which.
    """
    is_long = f"`number` >= {_LONG_ID}"
    head = f"{time} * 10 + CASE WHEN {is_long} THEN {10**17 + 1} ELSE {10**17} END"
    number = f"`number` + CASE WHEN {is_long} THEN 0 ELSE {_LONG_ID} END"
    return f"CAST({head} AS STRING) || CAST({number} AS STRING) || `price_text`"


def price_of(tick: str) -> str:
    """The price that a tick ends with."""
    return f"SUBSTRING({tick} FROM {TICK_DIGITS + 1})"


def _told(folds: Folds) -> str:
    """A candle of the venue as one text; null where there is none, or none that can be used."""
    of = {name: f"`candle`.`{name}`" for name in CANDLE}
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
    """Leaves out what is none of them, and trades that no venue has: a sink keeps what cannot be read as a dead letter,
    and the job must go on."""
    is_trade = (
        f"`at` BETWEEN 0 AND {_LATEST} AND `number` >= 0 AND `priced` > 0 AND `sized` > 0 "
        f"AND CAST(`priced` AS DOUBLE) * CAST(`sized` AS DOUBLE) < CAST({float(NOTIONAL_LIMIT)!r} AS DOUBLE) "
        "AND (`is_single` OR `last` >= `number`)"
    )
    known = "`venue` IS NOT NULL AND `symbol` IS NOT NULL"
    kinds = (
        f"`is_trade` AND {is_trade}",
        "`is_time` AND `ts_watermark` IS NOT NULL",
        "`told` IS NOT NULL AND `at` IS NOT NULL",
    )
    return f"{known} AND ({' OR '.join(kinds)})"


def pushed(folds: Folds) -> str:
    """Pushes of klines and time rows as `mean_view` reads them; an answer of the venue has no time and is no push."""
    return (
        "CREATE TEMPORARY VIEW `pushed` AS SELECT `venue`, `symbol`, `interval` IS NULL AS `is_time`, "
        "`interval` IS NOT NULL AS `is_trade`, `ts_event`, "
        f"`ts_watermark`, {mantissa('close', folds.scale)} AS `price`, "
        "CASE WHEN `interval` IS NOT NULL THEN CAST(1 AS BIGINT) END AS `trades` "
        "FROM `klines` WHERE `venue` IS NOT NULL AND `symbol` IS NOT NULL AND (`interval` IS NULL AND `ts_watermark` "
        f"IS NOT NULL OR `ts_event` IS NOT NULL AND {mantissa('close', folds.scale)} > 0)"
    )
