"""One answer: the same trades through the embedded engine and through Kafka and Flink; the last rows must be equal.

    export $(tapeflow stack env)
    PYTHONPATH=tests python -m cluster.flink_answer [--trades N] [--parallelism 1,2] [--cases late,doubled]

Kafka and Flink are those of `tapeflow stack up --services kafka,flink`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from recordings import SPOT_2024, lines
from servers import CACHE
from tapeflow.domain.number import mantissa
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.runners.flink.rest import Rest
from tapeflow.runners.flink.spec import Spec, folds_of
from tapeflow.runners.flink.submit import Client, stop, submit
from tapeflow.stack import flink as service
from tapeflow.stack.plan import Wanted, is_running
from tapeflow.stack.service import Place
from tapeflow.stack.stack import Stack
from tapeflow.stores.channels import CHANNELS
from topic import RESULTS, Answer, Raw, answer, answer_with_past, hidden, market, past

PATIENCE_S = 240.0
#: A revision that nothing follows is shown after a second and committed with a checkpoint; a busy machine takes longer.
SETTLED_S = 60.0
#: State that need not fit in memory.
ON_DISK = {"state.backend.type": "rocksdb", "execution.checkpointing.incremental": "true"}
#: In the case `quiet` state of a window is kept for 12 s, and nothing comes for longer. In the case `uneven` a trade
#: may be late for the longer interval, and not for the shorter.
FLOWS = {"quiet": {"horizon": "5s", "intervals": ("1s", "5s")}, "uneven": {"intervals": ("3s", "5s")}}
OUTAGE_US, QUIET_US, QUIET_S = 2_000_000, 60_000_000, 20.0


def flow(horizon: str = "10m", intervals: Sequence[str] = ("1s", "5s", "1m", "1w")) -> Flow:
    """Intervals with every kind of step; of trades and of klines two means each, one no whole number of slides."""
    made = Builder("answer", lateness="2s", horizon=horizon)
    candles = made.trades().candles(*intervals)
    for name in ("sma_3", "ema_5", "rsi_3", "macd_3_6_2", "bollinger_4_2"):
        candles.indicator(name)
    made.trades().moving_average("3s", "500ms").moving_average("1100ms", "500ms")
    made.klines().moving_average("2s", "500ms").moving_average("700ms", "500ms")
    return made.build()


def cases(count: int) -> dict[str, list[Raw]]:
    """Trades by the name of what is wrong with them; of ``past`` some never come, and the venue tells candles."""
    return {
        "ordered": sorted(market(1, count, late=0.0), key=lambda raw: raw.ts_event),
        "late": market(2, count, late=0.03, late_s=240.0),
        "shuffled": market(3, count, late=0.6, late_s=30.0, coarse=0.2),
        "doubled": market(4, count, late=0.02, late_s=100.0, doubled=0.3),
        "quiet": market(5, count, late=0.02, late_s=4.0),
        "past": market(10, count, late=0.05, late_s=60.0),
        "uneven": market(12, count, late=0.3, late_s=5.0),
    }


def recorded(count: int) -> list[Raw]:
    """Trades of BTCUSDT as Binance sent them, as many on each side of midnight UTC."""
    before, after = ([raw for raw in map(_traded, lines(name)) if raw is not None] for name in SPOT_2024)
    return before[-count // 2 :] + after[: count // 2]


def _traded(line: bytes) -> Raw | None:
    ns, _, frame = line.partition(b" ")
    if b'"e":"trade"' not in frame:
        return None
    data = msgspec.json.decode(frame)["data"]
    price, size = (mantissa(data[name], 8) for name in "pq")
    return Raw(data["s"], data["t"], price, size, int(data["m"]), data["T"] * 1000, int(ns) // 1000, coarse=True)


#: What is no row of the topic: among the others, and to be left out.
POISON = (
    b"no json",
    b"{}",
    b'{"venue":"binance","symbol":"S00USDT"}',
    b'{"venue":"binance","symbol":"S00USDT","id":"x1","price":"1","size":"1","side":"buy","ts_event":1}',
    b'{"venue":"binance","symbol":"S00USDT","id":"1","price":"abc","size":"1","side":"buy","ts_event":1}',
    b'{"venue":"binance","symbol":"S00USDT","id":"1","price":"1","size":"1","side":"buy","ts_event":"soon"}',
    *(
        json.dumps(
            {"venue": "binance", "symbol": "S0USDT", "id": "7", "side": "buy", "ts_event": 1_700_000_000_000_000}
            | {"price": price, "size": size}
        ).encode()
        # Beyond 64 bits, as one number or as a notional; nothing, and less than nothing.
        for price, size in (
            ("92233720368.54775808", "1"),
            ("1", "99999999999.99999999"),
            ("90000000000", "90000000000"),
            ("0", "1"),
            ("1", "-1"),
        )
    ),
    b'{"venue":"binance","symbol":"S00USDT","ts_watermark":1,"candle":{"interval":"1s","ts_start":0,"close":"1"}}',
    *(
        json.dumps(
            {"venue": "binance", "symbol": "S0USDT", "ts_watermark": 1_700_000_000_000_000}
            | {
                "candle": dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), "1")
                | {"taker_buy_volume": "1", "interval": "1s", "ts_start": 0, "count": 1, "vwap": 1.0}
                | candle
            }
            | more
        ).encode()
        for candle, more in (
            ({"interval": "1s x"}, {}),
            ({"interval": "1s", "close": " 1"}, {}),
            ({}, {"id": "7", "price": "abc", "size": "1", "side": "buy", "ts_event": 1_700_000_000_000_000}),
            ({"ts_start": 1_500_000}, {}),
        )
    ),
    b'{"venue":"binance","symbol":"S00USDT","interval":"1m","close":"1","ts_event":null}',
    b'{"venue":"binance","symbol":"S00USDT","interval":"1m","close":"abc","ts_event":1}',
)


class Bus:
    """Kafka as the test needs it."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._admin = AdminClient({"bootstrap.servers": servers})

    def make(self, names: Sequence[str], partitions: int) -> None:
        for future in self._admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
            future.result()

    def remove(self, names: Sequence[str]) -> None:
        for future in self._admin.delete_topics(list(names)).values():
            future.result()

    def write(self, topic: str, rows: Sequence[Mapping[str, Any]], poison: Sequence[bytes] = POISON) -> None:
        """Rows, and between them now and then one that cannot be read."""
        producer = Producer(
            {"bootstrap.servers": self.servers, "enable.idempotence": True, "partitioner": "murmur2_random",
             "queue.buffering.max.messages": 1_000_000, "linger.ms": 20}
        )  # fmt: skip
        for at, row in enumerate(rows):
            producer.produce(topic, msgspec.json.encode(row), f"{row['venue']}:{row['symbol']}")
            if poison and at % 100 == 50:
                producer.produce(topic, poison[at // 100 % len(poison)], f"{row['venue']}:{row['symbol']}")
            if at % 10_000 == 0:
                producer.poll(0)
                while len(producer) > 500_000:  # a broker that has just started is slow to take the first
                    producer.poll(0.1)
        if producer.flush(60):
            raise RuntimeError("Kafka did not take all rows")

    def ends(self, topic: str, group: str) -> tuple[list[int], list[int]]:
        """The end of each partition, and how far a group has come."""
        reader = Consumer({"bootstrap.servers": self.servers, "group.id": group, "enable.auto.commit": False})
        places = [TopicPartition(topic, at) for at in range(len(reader.list_topics(topic).topics[topic].partitions))]
        ends = [reader.get_watermark_offsets(place)[1] for place in places]
        try:
            done = [max(0, place.offset) for place in reader.committed(places)]
        except KafkaException:  # its coordinator moves when the group is new
            done = [0] * len(places)
        reader.close()
        return ends, done

    def read(self, topic: str) -> Iterator[tuple[int, bytes | None, dict[str, Any]]]:
        """(partition, key, row) of all that is committed."""
        reader = Consumer(
            {"bootstrap.servers": self.servers, "group.id": "answer", "isolation.level": "read_committed",
             "enable.auto.commit": False, "auto.offset.reset": "earliest", "enable.partition.eof": True}
        )  # fmt: skip
        places = [TopicPartition(topic, at, 0) for at in range(len(reader.list_topics(topic).topics[topic].partitions))]
        reader.assign(places)
        ended = 0
        while ended < len(places):
            for message in reader.consume(10_000, 1.0):
                if message.error():
                    ended += 1
                elif message.value() is not None:
                    yield message.partition(), message.key(), msgspec.json.decode(message.value())
        reader.close()


def run(bus: Bus, address: str, spec: Spec, wanted: Answer, own: str = "", *, disk: bool) -> dict[str, float]:
    """Have a job read all of its topic, then stop it; what it took."""
    client = Client(service.python(CACHE), service.connector(CACHE))
    began = time.monotonic()
    trades, pushes = wanted.pauses
    bus.write(spec.source, wanted.topic[: trades or None])
    bus.write(spec.pushes, wanted.pushes[: pushes or None])
    job = submit(spec, address, client, _say, own=own, more=ON_DISK if disk else None)
    ready = time.monotonic()
    try:
        if trades:
            wait_for(bus, spec, address, job)
            time.sleep(QUIET_S)
            bus.write(spec.source, wanted.topic[trades:])
            bus.write(spec.pushes, wanted.pushes[pushes:])
        wait_for(bus, spec, address, job)
    except BaseException:
        Rest(address).cancel(job)
        raise
    read = time.monotonic()
    settle(bus, spec, wanted)
    Rest(address).stop(job, None, 60)
    return {"submit_s": ready - began, "read_s": read - ready}


def run_upgraded(bus: Bus, address: str, spec: Spec, wanted: Answer, say: Callable[[str], None]) -> None:
    """Have three jobs read topics that grow, each from the state of the one before, with other parallelism.

    The second is submitted while the first runs, the third after the second was stopped.
    """
    client, rest = Client(service.python(CACHE), service.connector(CACHE)), Rest(address)
    for at, parallelism in enumerate((1, 2, 1)):
        for topic, rows in ((spec.source, wanted.topic), (spec.pushes, wanted.pushes)):
            size = -(-len(rows) // 3)
            bus.write(topic, rows[at * size : (at + 1) * size])
        job = submit(msgspec.structs.replace(spec, parallelism=parallelism), address, client, say, has_results=at > 0)
        wait_for(bus, spec, address, job)
        if at:
            stop(rest, rest.find(job))
    settle(bus, spec, wanted)


def run_killed(bus: Bus, spec: Spec, wanted: Answer, stack: Stack, victims: Sequence[str], *, disk: bool) -> None:
    """Have a job read topics that grow while servers of Flink are killed and started again; then stop it.

    A task manager that comes again is given its job back; a job manager has forgotten it, and it is submitted again.
    """
    client = Client(service.python(CACHE), service.connector(CACHE))
    more = ON_DISK if disk else None

    def address() -> str:
        return stack.variables()["TAPEFLOW_FLINK"]

    def write(at: int) -> None:
        for topic, rows in ((spec.source, wanted.topic), (spec.pushes, wanted.pushes)):
            size = -(-len(rows) // (len(victims) + 1))
            bus.write(topic, rows[at * size : (at + 1) * size])

    write(0)
    job = submit(spec, address(), client, _say, more=more)
    for at, victim in enumerate(victims, 1):
        time.sleep(spec.checkpoint_ms / 1000 * 2.5)  # some of it is committed, some not
        write(at)
        time.sleep(1.0)
        server = next(server for server in stack.servers() if server.name == victim)
        os.kill(server.pid, signal.SIGKILL)
        while is_running(server):
            time.sleep(0.05)
        began = time.monotonic()
        stack.up(Wanted(), _say)
        if victim.endswith("jobmanager"):
            job = submit(spec, address(), client, _say, more=more)
        _say(f"{victim} was killed; up again after {time.monotonic() - began:.0f} s")
    wait_for(bus, spec, address(), job)
    settle(bus, spec, wanted)
    Rest(address()).stop(job, None, 60)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def wait_for(bus: Bus, spec: Spec, address: str, job: str) -> None:
    """Wait until a checkpoint holds all of its topics."""
    until = time.monotonic() + PATIENCE_S
    for topic in (spec.source, spec.pushes):
        while (read := bus.ends(topic, spec.name))[0] != read[1]:
            if time.monotonic() > until:
                raise RuntimeError(f"job {job} has read {read[1]} of {read[0]}: {Rest(address).error(job)}")
            time.sleep(0.3)


def settle(bus: Bus, spec: Spec, wanted: Answer) -> None:
    """Wait until all that is wanted has been committed, or for long enough: the last look is taken afterwards."""
    until = time.monotonic() + SETTLED_S
    while differences(bus, spec, wanted) and time.monotonic() < until:
        time.sleep(1.0)


def last(
    rows: Iterator[tuple[int, bytes | None, dict[str, Any]]], channel: str, again: Collection[Any] = ()
) -> tuple[dict[Any, Any], list[str]]:
    """The last row of each key, and what must never be: an open row after a closed one, a revision that falls.

    Those of ``again``, of which the venue has told too, may come as they were.
    """
    known, places, wrong = {}, {}, []
    for partition, _, row in rows:
        key = tuple(row[name] for name in CHANNELS[channel].key)
        before = known.get(key)
        if places.setdefault(key, partition) != partition:
            wrong.append(f"{channel} {key}: in two partitions")
        if before is not None and channel != "indicators":
            if before["closed"] and not row["closed"]:
                wrong.append(f"{channel} {key}: open again")
            if row["revision"] < before["revision"] or row["count"] < before["count"]:
                wrong.append(f"{channel} {key}: {before} then {row}")
            if row == before and key not in again:
                wrong.append(f"{channel} {key}: given twice: {row}")
        known[key] = row
    return known, wrong


def told_of(topic: Sequence[dict[str, Any]]) -> set[Any]:
    """The keys of the candles that the venue has told among trades."""
    told = [row | row["candle"] for row in topic if "candle" in row]
    return {tuple(row[name] for name in CHANNELS["candles"].key) for row in told}


def differences(bus: Bus, spec: Spec, wanted: Answer) -> list[str]:
    """What Flink gave otherwise than the embedded engine, in words."""
    found: list[str] = []
    again = told_of(wanted.topic)
    for channel in spec.folds.channels:
        rows, wrong = last(bus.read(spec.topics[channel]), channel, again)
        want = {tuple(row[name] for name in CHANNELS[channel].key): row for row in wanted.rows[channel]}
        found += wrong
        found += [f"{channel} {key}: missing" for key in want if key not in rows]
        found += [f"{channel} {key}: not of the engine" for key in rows if key not in want]
        found += [f"{channel} {key}: {rows[key]} for {row}" for key, row in want.items() if rows.get(key, row) != row]
        print(f"  {channel}: {len(want)} windows", file=sys.stderr)
    return found


def check(
    bus: Bus,
    address: str,
    name: str,
    raws: Sequence[Raw],
    parallelism: int,
    *,
    killed: tuple[Stack, Sequence[str]] | None = None,
    own: tuple[Flow, str] | None = None,
    disk: bool = False,
    **more: Any,
) -> list[str]:
    """One case; what differs. ``own`` is a flow with indicators of a folder, and the folder; ``disk``: state on it."""
    is_quiet = name == "quiet"
    made = own[0] if own else flow(**FLOWS.get(name, {}))  # type: ignore[arg-type]
    wanted = with_past(made, raws) if name == "past" else answer(made, raws, quiet_us=QUIET_US if is_quiet else 0)
    spec = spec_of(bus, name, made, parallelism)
    bus.make(spec_topics(spec), 4)
    try:
        spec = msgspec.structs.replace(spec, **more)
        if killed is not None:
            run_killed(bus, spec, wanted, *killed, disk=disk)
            return differences(bus, spec, wanted)
        if is_quiet:
            spec = msgspec.structs.replace(spec, outage_us=OUTAGE_US)
        took = run(bus, address, spec, wanted, own[1] if own else "", disk=disk)
        rows = f"{len(wanted.topic)} rows, {sum('id' not in row for row in wanted.topic)} of time or the venue"
        rows += f"; {len(wanted.pushes)} of klines, {sum('interval' not in row for row in wanted.pushes)} of time"
        print(f"{name}, parallelism {parallelism}: {rows}; {took}", file=sys.stderr)
        return differences(bus, spec, wanted)
    finally:
        bus.remove(spec_topics(spec))


def with_past(made: Flow, whole: Sequence[Raw]) -> Answer:
    """Of a market some of whose trades never come, with candles that the venue tells of the whole."""
    raws = [raw for raw in whole if not hidden(raw, whole)]
    return answer_with_past(made, raws, past(whole, raws))


def spec_of(bus: Bus, name: str, made: Flow, parallelism: int) -> Spec:
    """A job with topics of its own."""
    prefix = f"{name}-{parallelism}-{time.time_ns() // 1_000_000 % 10**7}"
    topics = {channel: f"{prefix}.{channel}" for channel in RESULTS}
    return Spec(prefix, folds_of(made, 8, 8), f"{prefix}.trades", topics, bus.servers, pushes=f"{prefix}.klines",
                parallelism=parallelism, checkpoint_ms=2000, transaction_timeout_ms=60_000)  # fmt: skip


def spec_topics(spec: Spec) -> list[str]:
    """All topics of a job."""
    return [spec.source, spec.pushes, *spec.topics.values()]


def first_rows(bus: Bus, address: str, raws: Sequence[Raw]) -> set[str]:
    """Which channels have rows of a job that makes no checkpoint in all that time, which writes at least once."""
    wanted = answer(flow(), raws)
    spec = msgspec.structs.replace(
        spec_of(bus, "prompt", flow(), 2), guarantee="at_least_once", checkpoint_ms=3_600_000, latency_ms=100
    )
    bus.make(spec_topics(spec), 4)
    client = Client(service.python(CACHE), service.connector(CACHE))
    job = submit(spec, address, client, _say)
    try:
        bus.write(spec.source, wanted.topic)
        bus.write(spec.pushes, wanted.pushes)
        until, found = time.monotonic() + PATIENCE_S, set[str]()
        while time.monotonic() < until and len(found) < len(RESULTS):
            found = {channel for channel, topic in spec.topics.items() if next(bus.read(topic), None)}
            time.sleep(0.3)
        return found
    finally:
        Rest(address).cancel(job)


def main() -> None:
    reading = argparse.ArgumentParser()
    reading.add_argument("--trades", type=int, default=20_000)
    reading.add_argument("--parallelism", default="1,2")
    reading.add_argument("--cases", default="ordered,late,shuffled,doubled,quiet,uneven,past,recorded")
    reading.add_argument("--kill", default="", help="flink-taskmanager,flink-jobmanager: in this order, in the middle")
    reading.add_argument("--stack", default="tapeflow-stack", help="the folder of the stack whose servers are killed")
    asked = reading.parse_args()
    killed = (Stack(Place(Path(asked.stack), CACHE)), asked.kill.split(",")) if asked.kill else None
    bus, address = Bus(os.environ["TAPEFLOW_KAFKA"]), os.environ["TAPEFLOW_FLINK"]
    every, failed = cases(asked.trades) | {"recorded": recorded(asked.trades)}, False
    for name in asked.cases.split(","):
        for parallelism in map(int, asked.parallelism.split(",")):
            found = check(bus, address, name, every[name], parallelism, killed=killed)
            print(f"{name}, parallelism {parallelism}: {f'{len(found)} differences' if found else 'equal'}", flush=True)
            for line in found[:10]:
                print(f"  {line}")
            failed |= bool(found)
    sys.exit(failed)


if __name__ == "__main__":
    main()
