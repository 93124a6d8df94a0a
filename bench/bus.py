"""Events a second from a tape to Kafka, and from Kafka to PostgreSQL: ``python bench/bus.py [-n TRADES]``.

``publish`` plays a tape of trades of 50 symbols to committed transactions, against a producer that is handed the same
messages ready made; ``sink`` writes them into PostgreSQL, each once with its place, against COPY of the same rows into
the same table. Then what a trade takes on both disks, and how soon partitions are with the sinks there are. Kafka and
PostgreSQL are those that TAPEFLOW_KAFKA and TAPEFLOW_POSTGRES name; TAPEFLOW_DATA is the folder of `tapeflow stack`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import msgspec
import psycopg

from make_input import trades_ndjson
from tapeflow.app.collector import events_of, windows_of
from tapeflow.app.pipeline import Pipeline
from tapeflow.app.place import Tape
from tapeflow.app.published import Published, event_topics
from tapeflow.app.sink import Sink, sink_topics
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import read_all
from tapeflow.bus.publisher import Message, Publisher, message
from tapeflow.bus.topics import TopicSpec, ensure
from tapeflow.engine.closings import Closings
from tapeflow.flow.catalogue import default
from tapeflow.settings import BusSettings, PostgresSettings, RunSettings, StoreSettings
from tapeflow.stores.channels import CHANNELS, numbered
from tapeflow.stores.postgres import schema
from tapeflow.stores.postgres.text import copy_text
from tapeflow.stores.states import States
from tapeflow.tape.reader import TapeReader


def tape_of(count: int, folder: Path) -> Path:
    """A tape with so many trades."""
    file = folder / "trades.ndjson"
    file.write_bytes(b"".join(trades_ndjson(count, 50)))
    made = folder / "tape"
    command = [sys.executable, "-m", "tapeflow", "tape", "import", str(file), "--out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


def publish(tape: Path, folder: Path, settings: BusSettings, count: int) -> float:
    """Seconds from the first record of the tape to the last committed transaction."""
    bus, whole = Bus(settings.servers), default()
    ensure(bus, event_topics(settings))
    ledger = Published(bus, settings, ("trades",), Tape("bench", 0))
    pipeline = Pipeline(
        events_of(whole, with_klines=False), "binance", tape, ledger, States(folder / "state"),
        channels=("trades",), act=lambda _: None, tell=lambda _: None, closings=Closings(windows_of(whole, "trades")),
    )  # fmt: skip
    with TapeReader(tape) as reader:
        end = max(block.next for block in reader.blocks())
    pipeline.restore(end)
    began = time.perf_counter()
    pipeline.start()
    while pipeline.progress.committed < end:
        time.sleep(0.01)
    took = time.perf_counter() - began
    pipeline.stop()
    return took


def produced(bus: Bus, topic: str, messages: list[Message]) -> float:
    """Seconds for the same messages, ready made, in transactions of as many as ours have at most."""
    ensure(bus, [TopicSpec(topic, 4)])
    publisher = Publisher(bus, f"{topic}.bench")
    publisher.open()
    began = time.perf_counter()
    for at in range(0, len(messages), 20_000):
        publisher.commit([(topic, messages[at : at + 20_000])])
    return time.perf_counter() - began


def sunk(settings: RunSettings, rows: int) -> float:
    """Seconds until all rows of the topic are in the table."""
    sink = Sink(settings, lambda text: None)
    thread = threading.Thread(target=sink.run)
    began = time.perf_counter()
    thread.start()
    while sink.written < rows:
        time.sleep(0.01)
    took = time.perf_counter() - began
    sink.stop()
    thread.join()
    return took


def copied(url: str, rows: list[dict[str, object]]) -> float:
    """Seconds of PostgreSQL's own COPY of the rows into a table of the same form, as one transaction."""
    channel = numbered(CHANNELS["trades"])
    with psycopg.connect(url) as db:
        db.execute("DROP SCHEMA IF EXISTS plain CASCADE; CREATE SCHEMA plain; SET search_path TO plain")
        for statement in schema.create_tables(channel, 8, 8):
            db.execute(statement)  # type: ignore[call-overload]
        db.execute("ALTER TABLE trades ALTER ts_event TYPE BIGINT USING 0, ALTER ts_recv TYPE BIGINT USING 0")
        text = copy_text(channel, rows)
        began = time.perf_counter()
        with db.cursor().copy("COPY trades FROM STDIN") as copy:
            copy.write(text)
        db.commit()
        return time.perf_counter() - began


def on_disk(topic: str) -> int:
    """Bytes of a topic on the broker, zero where its folder is not known."""
    folder = Path(os.environ.get("TAPEFLOW_DATA", ""))
    return sum(file.stat().st_size for file in folder.glob(f"**/{topic}-[0-9]*/*.log"))


def in_tables(url: str, name: str) -> int:
    """Bytes of the table of trades in a schema, with its indexes."""
    with psycopg.connect(url) as db:
        (found,) = db.execute("SELECT pg_total_relation_size(%s)", (f"{name}.trades",)).fetchone() or (0,)
    return int(found)


def another(settings: RunSettings) -> None:
    """A sink of its own process, until it is told to stop."""
    sink = Sink(settings, lambda text: None)
    signal.signal(signal.SIGTERM, lambda *_: sink.stop())
    sink.run()


def moved(settings: RunSettings, folder: Path) -> dict[str, float]:
    """Seconds until partitions are where they belong: when a second sink comes, is stopped, and is killed."""
    sink, took = Sink(settings, lambda text: None), {}
    thread = threading.Thread(target=sink.run)
    thread.start()

    def until(*, alone: bool) -> float:
        began = time.perf_counter()
        while (len(sink.status()["partitions"]) == whole) != alone:
            time.sleep(0.01)
        return time.perf_counter() - began

    while not (whole := len(sink.status()["partitions"])):
        time.sleep(0.1)
    spawning = multiprocessing.get_context("spawn")
    for how in ("stopped", "killed"):
        other = spawning.Process(target=another, args=(msgspec.structs.replace(settings, data=str(folder / how)),))
        other.start()
        took["come"] = until(alone=False)
        time.sleep(3)  # until it is at work
        (other.terminate if how == "stopped" else other.kill)()
        took[how] = until(alone=True)
        other.join()
    sink.stop()
    thread.join()
    return took


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, default=500_000)
    count = options.parse_args().n
    prefix, url = f"bench{uuid.uuid4().hex[:6]}.", os.environ["TAPEFLOW_POSTGRES"]
    kafka = BusSettings(bootstrap=os.environ["TAPEFLOW_KAFKA"], prefix=prefix)
    bus = Bus(kafka.servers)
    ensure(bus, sink_topics(kafka, ("trades",)))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        settings = RunSettings(
            symbols=("X",), data=str(folder / "sink"), store=StoreSettings(channels=("trades",)), bus=kafka,
            postgres=PostgresSettings(url=url, schema=prefix.strip(".")),
        )  # fmt: skip
        took = publish(tape_of(count, folder), folder, kafka, count)
        records = list(read_all(bus, kafka.topic("trades")))
        messages = [message(one.key or b"", one.value) for one in records]
        plain = produced(bus, f"{prefix}plain", messages)
        found = [msgspec.json.decode(one.value or b"") for one in records]
        rows = [row | {"seq": at} for at, row in enumerate(found) if "id" in row]
        print(
            f"publish {len(messages) / took:,.0f} messages/s of {count:,} trades; ready made "
            f"{len(messages) / plain:,.0f} ({plain / took:.2f})",
            flush=True,
        )
        written, copy = sunk(settings, len(rows)), copied(url, rows)
        print(
            f"sink {len(rows) / written:,.0f} rows/s; COPY {len(rows) / copy:,.0f} ({copy / written:.2f})", flush=True
        )
        sizes = on_disk(kafka.topic("trades")) / count, in_tables(url, settings.postgres.schema) / len(rows)
        print(f"a trade: {sizes[0]:.0f} bytes on a broker, {sizes[1]:.0f} in PostgreSQL with its indexes", flush=True)
        seconds = ", ".join(f"{how} {took:.1f} s" for how, took in moved(settings, folder).items())
        print(f"partitions are with whom they belong after a sink has: {seconds}")


if __name__ == "__main__":
    main()
