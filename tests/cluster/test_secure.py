"""A broker that asks for TLS and a password: reached by what [bus] client says, refused in plain words without."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import CACHE, Servers
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import read_all
from tapeflow.bus.publisher import Publisher, message
from tapeflow.bus.topics import TopicSpec, ensure
from tapeflow.domain.errors import BusError
from tapeflow.stack.kafka import Kafka
from tapeflow.stack.service import HOST, Place, Server

pytestmark = pytest.mark.slow

PASSWORD = "a-secret"
MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
SETTINGS = f"""
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config={MODULE} required username="broker" password="{PASSWORD}" \
user_broker="{PASSWORD}" user_tapeflow="{PASSWORD}";
ssl.keystore.type=PKCS12
ssl.keystore.password=changeit
ssl.truststore.type=PKCS12
ssl.truststore.password=changeit
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


@pytest.fixture
def broker(servers: Servers) -> Iterator[Bus]:
    """A broker that speaks TLS only and knows one user."""
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
    yield Bus(
        f"{HOST}:{server.ports['client']}",
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": "tapeflow",
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(folder / "ca.pem"),
        },
    )
    process.kill()
    process.wait()
    shutil.rmtree(folder)


def test_rows_go_and_come_by_tls_with_a_password(broker: Bus) -> None:
    for attempt in range(6):  # until it is up
        try:
            ensure(broker, [TopicSpec("t", 1)])
        except BusError:
            assert attempt < 5
        else:
            break
    publisher = Publisher(broker, "secure")
    publisher.open()
    assert publisher.commit([("t", [message(b"k", b"v")])]) == 1
    assert [record.value for record in read_all(broker, "t")] == [b"v"]
    for client in (
        {**broker.client, "sasl.password": "wrong"},
        {},
        {**broker.client, "ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt"},
    ):
        with pytest.raises(BusError, match="does not answer"):
            ensure(Bus(broker.servers, client), [TopicSpec("t", 1)])
