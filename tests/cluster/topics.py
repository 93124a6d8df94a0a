"""One prefix of topics and one database, sinks and gateways between them in threads of the test, and a producer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from cluster.cluster import fresh_prefix
from servers import Servers
from tapeflow.app.gateway import Gateway
from tapeflow.app.published import event_topics
from tapeflow.app.sink import Sink, sink_topics
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import bounds, consumer
from tapeflow.bus.publisher import Publisher, message
from tapeflow.bus.topics import ensure
from tapeflow.settings import ApiSettings, BusSettings, FlowSettings, PostgresSettings, RunSettings, StoreSettings
from tapeflow.stores.postgres.store import PostgresStore

US = 1_700_000_000_000_000
CHANNELS = ("trades", "candles", "coverage", "quarantine")


class Cluster:
    """One topic prefix and one database, sinks between them, and a producer."""

    def __init__(
        self,
        servers: Servers,
        data: str,
        keep: dict[str, str] | None = None,
        flow: FlowSettings | None = None,
        channels: tuple[str, ...] = CHANNELS,
    ) -> None:
        self.bus_settings = BusSettings(bootstrap=servers.kafka(), prefix=fresh_prefix(), partitions=2)
        self.bus = Bus(self.bus_settings.bootstrap)
        self.url = servers.database()
        self.settings = RunSettings(
            symbols=("X",),
            data=data,
            api=ApiSettings(port=0, requests_per_s=10_000),
            store=StoreSettings(channels=channels, keep=keep or {}),
            flow=flow,
            bus=self.bus_settings,
            postgres=PostgresSettings(url=self.url),
        )
        ensure(self.bus, [*sink_topics(self.bus_settings, channels), *event_topics(self.bus_settings)])
        self.producer = Publisher(self.bus, f"{self.bus_settings.prefix}test")
        self.producer.open()
        self.said: list[str] = []
        self.addresses: list[str] = []
        self.running: list[tuple[Sink | Gateway, threading.Thread]] = []

    def topic(self, channel: str) -> str:
        return self.bus_settings.topic(channel)

    def send(self, channel: str, *rows: Any) -> None:
        messages = [
            message(f"binance:{row['symbol']}".encode() if isinstance(row, dict) else b"?", _bytes(row)) for row in rows
        ]
        self.producer.commit([(self.topic(channel), messages)])

    def delete(self, channel: str, before: int) -> None:
        """Have the broker delete what lies before an offset, as it does by age, of partitions that have so much."""
        places = [(self.topic(channel), number) for number in range(self.bus_settings.partitions)]
        probe, gone = consumer(self.bus, "look"), list[TopicPartition]()

        def is_there() -> bool:  # what is committed can be read a moment later
            gone[:] = [TopicPartition(*place, before) for place in places if bounds(probe, place)[1] > before]
            return bool(gone)

        self.until(is_there)
        probe.close()
        admin = AdminClient(self.bus.properties())
        for done in admin.delete_records(gone).values():
            done.result(30)

    def start(self) -> Sink:
        sink = Sink(self.settings, self.said.append)
        thread = threading.Thread(target=sink.run)
        thread.start()
        self.running.append((sink, thread))
        return sink

    def serve(self) -> Gateway:
        """A gateway, once it serves."""
        gateway = Gateway(self.settings, self.said.append, self.addresses.append)
        before = len(self.addresses)
        thread = threading.Thread(target=gateway.run)
        thread.start()
        self.running.append((gateway, thread))
        self.until(lambda: len(self.addresses) > before)
        return gateway

    def serve_with_tables(self) -> Gateway:
        """A gateway where no sink has written yet."""
        PostgresStore(self.url, self.settings.store.channels).close()
        return self.serve()

    def end(self, part: Sink | Gateway) -> None:
        """Stop one of those that run."""
        part.stop()
        for one, thread in self.running:
            if one is part:
                thread.join()

    def stop(self) -> None:
        for sink, _ in self.running:
            sink.stop()
        for _, thread in self.running:
            thread.join()
        self.running.clear()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, options="-c search_path=tapeflow") as db:
            return db.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def until(self, what: Callable[[], Any], seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if what():
                    return
            except psycopg.Error:
                pass  # not made yet, or away
            time.sleep(0.1)
        raise AssertionError(f"not in time: {self.said}")


def _bytes(row: Any) -> bytes:
    return row if isinstance(row, bytes) else json.dumps(row).encode()


def trade(id: int, symbol: str = "X", **more: Any) -> dict[str, Any]:
    row = {"venue": "binance", "symbol": symbol, "id": str(id), "price": "1.5", "size": "2", "side": "buy"}
    return row | {"ts_event": US + id, "ts_recv": None, "first_id": None, "last_id": None, "ts_watermark": US} | more


def candle(start: int, revision: int = 0, count: int = 3, *, closed: bool = True) -> dict[str, Any]:
    row: dict[str, Any] = {"venue": "binance", "symbol": "X", "interval": "1s", "ts_start": US + start * 1_000_000}
    row |= {"ts_end": row["ts_start"] + 1_000_000, "open": "1", "high": "2", "low": "1", "close": "2", "volume": "3"}
    row |= {"quote_volume": "4.5", "taker_buy_volume": "0", "count": count, "vwap": 1.5, "source": "trades"}
    return row | {"closed": closed, "revision": revision}
