"""A broker that asks for TLS and a password: reached by what [bus] client says, by our client and by Flink's, and
refused in plain words without."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from cluster.cluster import fresh_prefix
from servers import CACHE, Servers
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import partitions, read_all
from tapeflow.bus.publisher import Publisher, message
from tapeflow.bus.topics import TopicSpec, ensure
from tapeflow.domain.errors import BusError
from tapeflow.runners.flink.rest import Rest
from tapeflow.settings import RunSettings, load_run
from tapeflow.stack.kafka import Kafka
from tapeflow.stack.service import HOST, Place, Server
from tapeflow.stores.channels import CHANNELS
from topic import answer, market

pytestmark = pytest.mark.slow

PASSWORD = "a $ecret; of 'some'"
#: What Flink tells of a job.
PAGES = ("", "/config", "/plan", "/exceptions", "/checkpoints/config")
LOGIN = "org.apache.kafka.common.security"
SCRAM = "SCRAM-SHA-512"
SETTINGS = f"""
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,{SCRAM}
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config={LOGIN}.plain.PlainLoginModule required username="broker" \
password="{PASSWORD}" user_broker="{PASSWORD}" user_tapeflow="{PASSWORD}";
listener.name.client.scram-sha-512.sasl.jaas.config={LOGIN}.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.password=changeit
ssl.truststore.type=PKCS12
ssl.truststore.password=changeit
ssl.client.auth=requested
"""


def port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def keys(folder: Path) -> None:
    """A certificate of the broker's own in ``keys.p12``, and alone in ``ca.pem``."""
    tool = shutil.which("keytool")
    if tool is None:
        text = "no keytool: it comes with Java"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    store = (
        "-keystore",
        str(folder / "keys.p12"),
        "-storetype",
        "PKCS12",
        "-storepass",
        "changeit",
        "-alias",
        "broker",
    )
    name = ("-dname", "CN=localhost", "-ext", f"SAN=ip:{HOST},dns:localhost", "-validity", "2")
    subprocess.run([tool, "-genkeypair", "-keyalg", "EC", *name, *store], check=True, capture_output=True)
    subprocess.run(
        [tool, "-exportcert", "-rfc", "-file", str(folder / "ca.pem"), *store], check=True, capture_output=True
    )


class Secure(NamedTuple):
    """A broker that speaks TLS only, and the folder of its certificate."""

    servers: str
    folder: Path

    def client(self, mechanism: str, password: str = PASSWORD) -> dict[str, str]:
        """What a user writes as [bus] client; with SCRAM the broker is shown a certificate too."""
        shown = {"ssl.keystore.location": str(self.folder / "keys.p12"), "ssl.keystore.password": "changeit"}
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": mechanism,
            "sasl.username": "tapeflow",
            "sasl.password": password,
            "ssl.ca.location": str(self.folder / "ca.pem"),
            **(shown if mechanism == SCRAM else {}),
        }

    def bus(self, mechanism: str) -> Bus:
        return Bus(self.servers, self.client(mechanism))


@pytest.fixture(scope="module")
def broker(servers: Servers) -> Iterator[Secure]:
    """A broker that speaks TLS only and knows one user, by either mechanism."""
    servers.kafka()  # has its jars fetched, or says why not
    folder = Path(tempfile.mkdtemp(prefix="tapeflow-secure-"))
    keys(folder)
    place, service = Place(folder, CACHE), Kafka()
    server = Server("kafka-1", "kafka", 1, {"client": port(), "controller": port()})
    service.prepare(place, server, [server])
    settings = place.folder(server.name) / "server.properties"
    stores = "".join(f"ssl.{kind}.location={folder}/keys.p12\n" for kind in ("keystore", "truststore"))
    settings.write_text(settings.read_text() + SETTINGS + stores)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(service.command(place, server, [server]), stdout=log, stderr=log)
    made = Secure(f"{HOST}:{server.ports['client']}", folder)
    try:
        add_scram(made)
        yield made
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def add_scram(broker: Secure) -> None:
    """Have a broker that has just been started know the user by SCRAM too."""
    bus = broker.bus("PLAIN")
    for attempt in range(6):  # until it is up
        try:
            partitions(bus, [])
        except BusError:
            assert attempt < 5
        else:
            break
    known = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion("tapeflow", known, PASSWORD.encode())
    admin = AdminClient(bus.properties())
    for done in admin.alter_user_scram_credentials([change]).values():
        done.result(30)


@pytest.mark.parametrize("mechanism", ["PLAIN", SCRAM])
def test_rows_go_and_come_by_tls_with_a_password(broker: Secure, mechanism: str) -> None:
    bus, topic = broker.bus(mechanism), fresh_prefix()
    ensure(bus, [TopicSpec(topic, 1)])
    publisher = Publisher(bus, "secure")
    publisher.open()
    assert publisher.commit([(topic, [message(b"k", b"v")])]) == 1
    assert [record.value for record in read_all(bus, topic)] == [b"v"]


def test_without_a_right_password_or_the_certificate_it_says_that_nobody_answers(broker: Secure) -> None:
    strange = {**broker.client("PLAIN"), "ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt"}
    clients = {}, strange, *(broker.client(mechanism, "wrong") for mechanism in ("PLAIN", SCRAM))
    with ThreadPoolExecutor(len(clients)) as pool:  # each asks for ten seconds
        asked = [pool.submit(ensure, Bus(broker.servers, client), [TopicSpec("t", 1)]) for client in clients]
    for done in asked:
        with pytest.raises(BusError, match="does not answer"):
            done.result()


RUN = """
symbols = ["S0USDT"]
[bus]
bootstrap = "{servers}"
prefix = "{prefix}"
partitions = 1
[bus.client]
{client}
[flow]
horizon = "10m"
[flow.candles]
intervals = ["1s", "5s"]
indicators = []
[flink]
checkpoint = "1s"
"""


def submitted(broker: Secure, mechanism: str, folder: Path) -> tuple[RunSettings, str]:
    """The settings of a run whose flow `tapeflow submit` has put onto the cluster, and the id of its job."""
    client = "".join(f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in broker.client(mechanism).items())
    config = folder / f"{mechanism}.toml"
    config.write_text(RUN.format(servers=broker.servers, prefix=fresh_prefix(), client=client))
    command = [sys.executable, "-m", "tapeflow", "submit", str(config), "--cache", str(CACHE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stderr
    return load_run(config), done.stdout.strip()


def publish(bus: Bus, topic: str, rows: Sequence[dict[str, Any]]) -> None:
    publisher = Publisher(bus, "secure")
    publisher.open()
    made = [message(f"{row['venue']}:{row['symbol']}".encode(), json.dumps(row).encode()) for row in rows]
    publisher.commit([(topic, made)])


def of_window(rows: Iterable[dict[str, Any]]) -> dict[Any, Any]:
    """The last row of each window."""
    return {tuple(row[name] for name in CHANNELS["candles"].key): row for row in rows}


def every(folder: Path) -> list[Path]:
    """All files in a folder; some go meanwhile, which `os.walk` bears and `Path.rglob` does not."""
    return [Path(root, name) for root, _, names in os.walk(folder) for name in names]


def content(path: Path) -> bytes:
    """What a file holds; nothing if it is gone by now, as a checkpoint is once there is a newer one."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def committed(bus: Bus, topic: str) -> dict[Any, Any]:
    return of_window(json.loads(record.value) for record in read_all(bus, topic) if record.value is not None)


def test_a_job_of_flink_reads_and_writes_by_tls_with_a_password(
    broker: Secure, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the very table that our own clients are given; neither Flink's page nor a file of its tells the password."""
    monkeypatch.setenv("TAPEFLOW_FLINK", servers.flink())
    rest, mechanisms = Rest(servers.flink()), ("PLAIN", SCRAM)
    raws = market(12, 500, late=0.05, late_s=20.0)
    jobs: list[str] = []
    try:
        for mechanism in mechanisms:
            settings, job = submitted(broker, mechanism, tmp_path)
            jobs.append(job)
            assert settings.bus is not None
            wanted, bus = answer(settings.make_flow(), raws), broker.bus(mechanism)
            publish(bus, settings.bus.topic("trades"), wanted.topic)
            want, until = of_window(wanted.rows["candles"]), time.monotonic() + 60
            while (found := committed(bus, settings.bus.topic("candles"))) != want and time.monotonic() < until:
                time.sleep(0.3)
            assert found == want
            assert len(want) > 20
        told = [json.dumps(rest.get(f"/jobs/{job}{page}")) for job in jobs for page in PAGES]
        files = [path for path in every(servers.stack.place.data) if "flink" in str(path)]
        kept = [path.name for path in files if PASSWORD.encode() in content(path)]
    finally:
        for job in jobs:
            rest.cancel(job)
    assert {path.name for path in files} > {"flink-jobmanager.log", "flink-taskmanager.log", "_metadata"}
    assert (kept, [page for page in told if PASSWORD in page]) == ([], [])
