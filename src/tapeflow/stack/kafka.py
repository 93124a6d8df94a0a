"""Kafka: one or three brokers that are controllers too (KRaft), from its jars.

Loopback has no secrets: who is on this machine may read and write. With three brokers a message is acknowledged when
two have it, so that one may be killed.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tapeflow import files
from tapeflow.domain.errors import StackError
from tapeflow.stack import jars, machine
from tapeflow.stack.service import HOST, Compose, Place, Progress, Server

#: What the lock is made from; the second writes the log, and must be of the API that Kafka uses.
ROOTS = ("org.apache.kafka:kafka_2.13:4.3.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
LOCK = Path(__file__).with_name("kafka.toml")

_ANSWER_S = 2.0
#: Of Kafka's own topics; fifty of each would make a start slow and are for many clients.
_PARTITIONS = 8
_LOG4J = """\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd HH:mm:ss.SSS} %-5p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


#: For a million keys; what it is by default, 128 MiB, is half of the heap of one of three.
_CLEANER_BYTES = 32 << 20


def _heap_mib(size: int) -> int:
    return 512 if size == 1 else 256


class Kafka:
    """The service; see `tapeflow.stack.service.Service`."""

    name = "kafka"
    sizes = (1, 3)
    parts: tuple[str, ...] = ()
    ports = ("client", "controller")
    stop = signal.SIGTERM

    def memory_mib(self, size: int) -> int:
        """Heap, and as much again as was seen beside it."""
        return _heap_mib(size) + 200

    def lacks(self, place: Place, peers: Sequence[Server]) -> Iterator[str]:
        """Java, Maven where something has to be fetched, the client, and a folder of the same size."""
        yield from machine.lacks_java()
        if self.missing_bytes(place) and shutil.which("mvn") is None:
            yield "mvn: there is none, and the jars must be fetched once; install Maven (Debian: maven)"
        if importlib.util.find_spec("confluent_kafka") is None:
            yield "confluent-kafka: it is not installed; pip install 'tapeflow[kafka]'"

    def missing_bytes(self, place: Place) -> int:
        """All jars, or none."""
        lock = jars.read_lock(LOCK)
        return 0 if jars.has(lock, place.cache) else lock.bytes

    def fetch(self, place: Place, progress: Progress | None) -> None:
        """Its jars."""
        jars.fetch(jars.read_lock(LOCK), place.cache, progress)

    def prepare(self, place: Place, server: Server, peers: Sequence[Server]) -> None:
        """Settings, and a formatted folder the first time."""
        folder = place.folder(server.name)
        (folder / "data").mkdir(parents=True, exist_ok=True)
        place.scratch(server.name)
        settings = folder / "server.properties"
        rows = properties(server, peers, str(folder.resolve() / "data"))
        files.replace(settings, "".join(f"{key}={value}\n" for key, value in rows.items()).encode(), sync=False)
        files.replace(folder / "log4j2.properties", _LOG4J.encode(), sync=False)
        if not (folder / "data" / "meta.properties").exists():
            # C1 only: a program of two seconds is not worth optimising.
            tool = (*self._java(place, server, "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format")
            cluster = _cluster(place, peers)
            _call((*tool, "--ignore-formatted", "--cluster-id", cluster, "--config", str(settings)), server.name)

    def command(self, place: Place, server: Server, peers: Sequence[Server]) -> tuple[str, ...]:
        """The broker."""
        settings = place.folder(server.name) / "server.properties"
        heap = _heap_mib(len(peers))
        flags = (f"-Xms{heap // 2}m", f"-Xmx{heap}m", "-XX:+ExitOnOutOfMemoryError")
        return (*self._java(place, server, *flags), "kafka.Kafka", str(settings))

    def _java(self, place: Place, server: Server, *flags: str) -> tuple[str, ...]:
        folder = place.folder(server.name).resolve()
        return (
            "java",
            *flags,
            "-Djava.net.preferIPv4Stack=true",
            f"-Djava.io.tmpdir={folder}/tmp",
            f"-XX:ErrorFile={folder}/crash-%p.log",
            f"-Dlog4j2.configurationFile={folder}/log4j2.properties",
            "-cp",
            f"{jars.read_lock(LOCK).folder(place.cache).resolve()}/*",
        )

    def waits_for(self, server: Server, peers: Sequence[Server]) -> str:
        """It lists itself among the brokers."""
        port = server.ports["client"]
        if not machine.is_answered(port):  # the client would complain on standard error
            return f"nobody listens on {HOST}:{port}"
        from confluent_kafka import KafkaException  # noqa: PLC0415 - an extra
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415

        client = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0})
        try:
            brokers = client.list_topics(timeout=_ANSWER_S).brokers
        except KafkaException as error:
            return f"{HOST}:{port} does not answer: {error.args[0].str()}"
        return "" if server.number in brokers else f"{HOST}:{port} is not in its cluster yet"

    def variables(self, place: Place, peers: Sequence[Server]) -> Mapping[str, str]:
        """All brokers, by the name that Kafka's own tools know and by ours."""
        brokers = ",".join(f"{HOST}:{one.ports['client']}" for one in peers)
        return {"KAFKA_BOOTSTRAP_SERVERS": brokers, "TAPEFLOW_KAFKA": brokers}

    def compose(self, size: int) -> Compose:
        """The project's own image with the same properties, in a network where each has its name."""
        names = ["kafka"] if size == 1 else [f"kafka-{number}" for number in range(1, size + 1)]
        return Compose(
            {name: _container(number, names) for number, name in enumerate(names, 1)},
            tuple(f"{name}-data" for name in names),
        )


def properties(server: Server, peers: Sequence[Server], data: str) -> dict[str, str]:
    """The settings of a broker on this machine."""
    client, controller = (f"{HOST}:{server.ports[name]}" for name in ("client", "controller"))
    voters = ",".join(f"{one.number}@{HOST}:{one.ports['controller']}" for one in peers)
    return {
        "node.id": str(server.number),
        "controller.quorum.voters": voters,
        "listeners": f"CLIENT://{client},CONTROLLER://{controller}",
        "advertised.listeners": f"CLIENT://{client}",
        "inter.broker.listener.name": "CLIENT",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        **_common(len(peers)),
    }


def _common(size: int) -> dict[str, str]:
    """What does not depend on where it runs."""
    copies, least = str(size), "1" if size == 1 else "2"
    own = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "default.replication.factor": copies,
        "min.insync.replicas": least,
        **{f"{topic}.replication.factor": copies for topic in own},
        **{f"{topic}.min.isr": least for topic in own[1:]},
        **{f"{topic}.num.partitions": str(_PARTITIONS) for topic in own},
        "log.cleaner.dedupe.buffer.size": str(_CLEANER_BYTES),
        "group.initial.rebalance.delay.ms": "0",  # a single consumer need not wait three seconds for others
    }


def _container(number: int, names: Sequence[str]) -> dict[str, object]:
    name, port = names[number - 1], 9091 + number
    settings = {
        "node.id": str(number),
        "controller.quorum.voters": ",".join(f"{at}@{peer}:9093" for at, peer in enumerate(names, 1)),
        "listeners": f"INSIDE://:19092,CLIENT://:{port},CONTROLLER://:9093",
        "advertised.listeners": f"INSIDE://{name}:19092,CLIENT://{HOST}:{port}",
        "inter.broker.listener.name": "INSIDE",
        "listener.security.protocol.map": "INSIDE:PLAINTEXT,CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": "/var/lib/kafka/data",
        **_common(len(names)),
    }
    heap = _heap_mib(len(names))
    return {
        "image": f"apache/kafka:{jars.read_lock(LOCK).version}",
        "environment": {
            "CLUSTER_ID": "dGFwZWZsb3ctc3RhY2stMQ",
            "KAFKA_HEAP_OPTS": f"-Xms{heap // 2}m -Xmx{heap}m",
            **{f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in settings.items()},
        },
        "ports": [f"{HOST}:{port}:{port}"],
        "volumes": [f"{name}-data:/var/lib/kafka/data"],
        "healthcheck": {
            "test": ["CMD", "/opt/kafka/bin/kafka-broker-api-versions.sh", "--bootstrap-server", f"{name}:19092"],
            "interval": "10s",
            "timeout": "10s",
            "retries": 12,
        },
    }


def _cluster(place: Place, peers: Sequence[Server]) -> str:
    """The id of the cluster, 16 bytes, the same for all: it is made with the first broker."""
    path = place.folder(peers[0].name) / "cluster"
    if not path.exists():
        files.replace(path, base64.urlsafe_b64encode(b"tapeflow" + os.urandom(8)).rstrip(b"="))
    return path.read_text("ascii")


def _call(command: Sequence[str], name: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise StackError(f"{name}: its folder could not be formatted:\n{said[-2000:]}")
