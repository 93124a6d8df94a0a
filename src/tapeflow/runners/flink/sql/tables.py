"""Topics as tables of Flink."""

from __future__ import annotations

from collections.abc import Mapping

from tapeflow.runners.flink.spec import Spec
from tapeflow.runners.flink.sql.values import quoted

#: A candle of the venue among the trades.
CANDLE = {
    "interval": "STRING",
    "ts_start": "BIGINT",
    **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"), "STRING"),
    "count": "BIGINT",
    "vwap": "DOUBLE",
}

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


def source(spec: Spec) -> str:
    """The table of trades, time rows and candles of the venue."""
    candle = ", ".join(f"`{name}` {kind}" for name, kind in CANDLE.items())
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
