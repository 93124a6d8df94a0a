"""The job of bench/flink.py as one writes it in Flink SQL: window functions over event time, last value by arrival.

Run by the Python of the Flink environment: ``python bench/flink_plain.py REST_ADDRESS KAFKA TOPIC NAME JARS``.
"""

from __future__ import annotations

import sys

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

_SOURCE = """CREATE TEMPORARY TABLE trades (venue STRING, symbol STRING, id STRING, price DECIMAL(19, 8),
 size DECIMAL(18, 8), side STRING, ts_event BIGINT, ts_watermark BIGINT,
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


def main(address: str, kafka: str, topic: str, name: str, jars: str) -> None:
    host, _, port = address.rpartition(":")
    rows = {
        "execution.target": "remote", "execution.attached": "false", "rest.address": host, "rest.port": port,
        "pipeline.jars": jars, "pipeline.name": name, "parallelism.default": "1",
        "execution.checkpointing.interval": "10 s", "table.exec.source.idle-timeout": "2 s",
    }  # fmt: skip
    made = Configuration()
    for key, value in rows.items():
        made.set_string(key, value)
    java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    tables = StreamTableEnvironment.create(StreamExecutionEnvironment(java(made._j_configuration)))
    given = {"topic": topic, "kafka": kafka, "name": name}
    tables.execute_sql(_SOURCE.format(**given))
    tables.execute_sql(_SINK.format(channel="candles", fields=f"{_KEYS}, {_VALUES}, n BIGINT", **given))
    tables.execute_sql(_SINK.format(channel="moving_average", fields=f"{_KEYS}, mean DOUBLE, n BIGINT", **given))
    wanted = tables.create_statement_set()
    wanted.add_insert_sql(_CANDLES)
    wanted.add_insert_sql(_MEANS)
    print(wanted.execute().get_job_client().get_job_id())


if __name__ == "__main__":
    main(*sys.argv[1:])
