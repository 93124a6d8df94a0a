"""The job of bench/flink.py as one writes it in Flink SQL, in four ways.

`plain`: window functions over event time, which give a row when a window ends and drop late trades; first and last
value by arrival. `corrected`: keyed aggregations, whose rows form and are corrected by late trades, as ours are; first
and last value by arrival still. `right`: the same with right opens and closes, the first and the last by time and id.
`units`: the same where some times may be whole milliseconds: those of a window compare at the coarser unit then.

Run by the Python of the Flink environment: ``python bench/flink_plain.py WAY REST_ADDRESS KAFKA TOPIC NAME JARS``.
"""

from __future__ import annotations

import sys

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

_SOURCE = """CREATE TEMPORARY TABLE trades (venue STRING, symbol STRING, id STRING, price DECIMAL(19, 8),
 size DECIMAL(18, 8), side STRING, ts_event BIGINT, ts_watermark BIGINT, coarse BOOLEAN,
 moment AS TO_TIMESTAMP_LTZ(COALESCE(ts_event, ts_watermark) / 1000, 3),
 WATERMARK FOR moment AS moment - INTERVAL '2' SECOND) WITH ('connector' = 'kafka',
 'topic' = '{topic}', 'format' = 'json', 'properties.bootstrap.servers' = '{kafka}', 'properties.group.id' = '{name}',
 'scan.startup.mode' = 'earliest-offset', 'properties.isolation.level' = 'read_committed')"""
_SINK = """CREATE TEMPORARY TABLE {channel} ({fields}) WITH ('connector' = 'kafka', 'topic' = '{name}.{channel}',
 'format' = 'json', 'properties.bootstrap.servers' = '{kafka}', 'sink.delivery-guarantee' = 'exactly-once',
 'sink.transactional-id-prefix' = '{name}-{channel}', 'properties.transaction.timeout.ms' = '60000')"""
_CANDLES = """INSERT INTO candles SELECT venue, symbol, window_start, window_end, FIRST_VALUE(price), MAX(price),
 MIN(price), LAST_VALUE(price), SUM(size), SUM(price * size), SUM(CASE WHEN side = 'buy' THEN size ELSE 0 END), COUNT(*)
 FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(moment), INTERVAL '1' SECOND)) WHERE id IS NOT NULL
 GROUP BY venue, symbol, window_start, window_end"""
_MEANS = """INSERT INTO moving_average SELECT venue, symbol, window_start, window_end, AVG(CAST(price AS DOUBLE)),
 COUNT(*)
 FROM TABLE(HOP(TABLE trades, DESCRIPTOR(moment), INTERVAL '0.5' SECOND, INTERVAL '3' SECOND)) WHERE id IS NOT NULL
 GROUP BY venue, symbol, window_start, window_end"""
_KEYS = "venue STRING, symbol STRING, window_start TIMESTAMP_LTZ(3), window_end TIMESTAMP_LTZ(3)"
_VALUES = ", ".join(f"c{at} DECIMAL(38, 8)" for at in range(7))

#: A row takes the place of the one before it of its key: the sink of a changing result.
_CORRECTED_SINK = """CREATE TEMPORARY TABLE {channel} (venue STRING, symbol STRING, window_end BIGINT, {fields},
 PRIMARY KEY (venue, symbol, window_end) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = '{name}.{channel}',
 'key.format' = 'json', 'value.format' = 'json', 'properties.bootstrap.servers' = '{kafka}',
 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{name}-{channel}',
 'properties.transaction.timeout.ms' = '60000')"""
_CORRECTED_CANDLES = """INSERT INTO candles SELECT venue, symbol, window_end, FIRST_VALUE(price), MAX(price),
 MIN(price), LAST_VALUE(price), SUM(size), SUM(price * size), SUM(CASE WHEN side = 'buy' THEN size ELSE 0 END), COUNT(*)
 FROM (SELECT *, ts_event - MOD(ts_event, 1000000) + 1000000 AS window_end FROM trades WHERE id IS NOT NULL)
 GROUP BY venue, symbol, window_end"""
#: A text that sorts by time and id, and ends with the price; the same with the time in milliseconds.
_TICK = "LPAD(CAST(ts_event AS STRING), 16, '0') || LPAD(id, 19, '0') || CAST(price AS STRING)"
_COARSE_TICK = _TICK.replace("ts_event", "ts_event - MOD(ts_event, 1000)")
_RIGHT_CANDLES = f"""INSERT INTO candles SELECT venue, symbol, window_end,
 CAST(SUBSTRING(MIN(tick) FROM 36) AS DECIMAL(19, 8)), MAX(price), MIN(price),
 CAST(SUBSTRING(MAX(tick) FROM 36) AS DECIMAL(19, 8)), SUM(size), SUM(price * size),
 SUM(CASE WHEN side = 'buy' THEN size ELSE 0 END), COUNT(*)
 FROM (SELECT *, ts_event - MOD(ts_event, 1000000) + 1000000 AS window_end, {_TICK} AS tick
 FROM trades WHERE id IS NOT NULL) GROUP BY venue, symbol, window_end"""
_UNITS_CANDLES = f"""INSERT INTO candles SELECT venue, symbol, window_end,
 CAST(SUBSTRING(CASE WHEN is_coarse THEN coarse_open ELSE `open` END FROM 36) AS DECIMAL(19, 8)), high, low,
 CAST(SUBSTRING(CASE WHEN is_coarse THEN coarse_close ELSE `close` END FROM 36) AS DECIMAL(19, 8)), c4, c5, c6, n
 FROM (SELECT venue, symbol, window_end, MIN(tick) AS `open`, MAX(tick) AS `close`, MIN(coarse_tick) AS coarse_open,
 MAX(coarse_tick) AS coarse_close, MAX(CASE WHEN coarse THEN 1 ELSE 0 END) = 1 AS is_coarse, MAX(price) AS high,
 MIN(price) AS low, SUM(size) AS c4, SUM(price * size) AS c5,
 SUM(CASE WHEN side = 'buy' THEN size ELSE 0 END) AS c6, COUNT(*) AS n
 FROM (SELECT *, ts_event - MOD(ts_event, 1000000) + 1000000 AS window_end, {_TICK} AS tick,
 {_COARSE_TICK} AS coarse_tick FROM trades WHERE id IS NOT NULL) GROUP BY venue, symbol, window_end)"""
_ENDS = ", ".join(f"ts_event - MOD(ts_event, 500000) + {(at + 1) * 500_000}" for at in range(6))
_CORRECTED_MEANS = f"""INSERT INTO moving_average SELECT venue, symbol, window_end, AVG(CAST(price AS DOUBLE)), COUNT(*)
 FROM trades CROSS JOIN UNNEST(ARRAY[{_ENDS}]) AS w(window_end) WHERE id IS NOT NULL
 GROUP BY venue, symbol, window_end"""
#: As the settings of our job: without them it takes several times as much.
_CORRECTED = {
    "table.exec.mini-batch.enabled": "true", "table.exec.mini-batch.allow-latency": "500 ms",
    "table.exec.mini-batch.size": "20000", "table.optimizer.agg-phase-strategy": "TWO_PHASE",
    "table.exec.state.ttl": "7203 s", "pipeline.object-reuse": "true", "table.exec.sink.keyed-shuffle": "NONE",
    "table.exec.sink.upsert-materialize": "NONE",
}  # fmt: skip


def main(way: str, address: str, kafka: str, topic: str, name: str, jars: str) -> None:
    host, _, port = address.rpartition(":")
    rows = {
        "execution.target": "remote", "execution.attached": "false", "rest.address": host, "rest.port": port,
        "pipeline.jars": jars, "pipeline.name": name, "parallelism.default": "1",
        "execution.checkpointing.interval": "10 s", "table.exec.source.idle-timeout": "2 s",
    }  # fmt: skip
    rows |= {} if way == "plain" else _CORRECTED
    made = Configuration()
    for key, value in rows.items():
        made.set_string(key, value)
    java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    tables = StreamTableEnvironment.create(StreamExecutionEnvironment(java(made._j_configuration)))
    given = {"topic": topic, "kafka": kafka, "name": name}
    tables.execute_sql(_SOURCE.format(**given))
    if way == "plain":
        sink, keys, inserts = _SINK, f"{_KEYS}, ", (_CANDLES, _MEANS)
    else:
        candles = {"corrected": _CORRECTED_CANDLES, "right": _RIGHT_CANDLES, "units": _UNITS_CANDLES}[way]
        sink, keys, inserts = _CORRECTED_SINK, "", (candles, _CORRECTED_MEANS)
    tables.execute_sql(sink.format(channel="candles", fields=f"{keys}{_VALUES}, n BIGINT", **given))
    tables.execute_sql(sink.format(channel="moving_average", fields=f"{keys}mean DOUBLE, n BIGINT", **given))
    wanted = tables.create_statement_set()
    for statement in inserts:
        wanted.add_insert_sql(statement)
    print(wanted.execute().get_job_client().get_job_id())


if __name__ == "__main__":
    main(*sys.argv[1:])
