"""The stack as it is used: started by its command, used by its clients, killed, started again, stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapeflow.stack.plan import SERVICES
from tapeflow.stack.service import Place, Server

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the stack runs on Linux")]

TOPIC = "trades"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that others may enter, unlike tmp_path: under root the user postgres must."""
    lacking = [] if shutil.which("psql") else ["psql: there is none (Debian: postgresql-client)"]
    made = Path(tempfile.mkdtemp(prefix="tapeflow-stack-"))
    made.chmod(0o755)
    for service in SERVICES.values():
        lacking += service.lacks(Place(made, made), [Server(service.name, service.name, 1, {})])
    if lacking:
        text = f"the stack lacks {'; '.join(lacking)}"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    yield made / "stack"
    command(made / "stack", "down", check=False)
    shutil.rmtree(made)


def command(data: Path, *words: str, check: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tapeflow", "stack", *words, "--data", str(data)],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    if "mvn could not fetch" in done.stderr and not os.environ.get("CI"):
        pytest.skip(f"no registry of jars can be reached here: {done.stderr[-300:]}")
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout


def states(data: Path) -> dict[str, dict[str, object]]:
    said = command(data, "status", "--json", check=False)
    return {row["name"]: row for row in map(json.loads, said.splitlines())}


def variables(data: Path) -> dict[str, str]:
    lines = command(data, "env").splitlines()
    return dict(line.split("=", 1) for line in lines)


def produce(servers: str, text: bytes) -> None:
    kafka = pytest.importorskip("confluent_kafka")
    producer = kafka.Producer({"bootstrap.servers": servers, "acks": "all"})
    failed: list[object] = []
    producer.produce(TOPIC, text, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(60) == 0
    assert not failed


def consume(servers: str, number: int) -> list[bytes]:
    kafka = pytest.importorskip("confluent_kafka")
    consumer = kafka.Consumer({"bootstrap.servers": servers, "group.id": "test", "auto.offset.reset": "earliest"})
    try:
        consumer.assign([kafka.TopicPartition(TOPIC, 0, kafka.OFFSET_BEGINNING)])
        found: list[bytes] = []
        until = time.monotonic() + 60
        while len(found) < number:
            assert time.monotonic() < until, found
            message = consumer.poll(1)
            if message is not None and not message.error():
                found.append(message.value())
        return found
    finally:
        consumer.close()


def select(url: str, sql: str) -> str:
    done = subprocess.run(["psql", url, "-Atc", sql], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_a_broker_that_is_killed_comes_back_with_its_messages_and_nothing_is_left_after_down(folder: Path) -> None:
    command(folder, "up", "--brokers", "1")
    env = variables(folder)
    produce(env["KAFKA_BOOTSTRAP_SERVERS"], b"before")
    assert consume(env["KAFKA_BOOTSTRAP_SERVERS"], 1) == [b"before"]
    assert select(env["DATABASE_URL"], "SELECT 1") == "1"
    select(env["DATABASE_URL"], "CREATE TABLE kept AS SELECT 7 AS n")

    before = states(folder)
    assert {row["state"] for row in before.values()} == {"ready"}
    os.kill(int(str(before["kafka"]["pid"])), signal.SIGKILL)
    until = time.monotonic() + 10
    while states(folder)["kafka"]["state"] != "dead":
        assert time.monotonic() < until
    assert states(folder)["postgres"]["state"] == "ready"

    command(folder, "up")
    assert variables(folder) == env
    produce(env["KAFKA_BOOTSTRAP_SERVERS"], b"after")
    assert consume(env["KAFKA_BOOTSTRAP_SERVERS"], 2) == [b"before", b"after"]
    again = states(folder)
    assert again["postgres"]["pid"] == before["postgres"]["pid"]
    assert "Kafka Server started" in command(folder, "logs", "kafka", "-n", "2000")

    command(folder, "down")
    assert {row["state"] for row in states(folder).values()} == {"stopped"}
    assert processes_of(folder) == []

    command(folder, "up", "--services", "postgres")
    assert select(variables(folder)["DATABASE_URL"], "SELECT n FROM kept") == "7"
    command(folder, "down", "--wipe")
    assert not folder.exists()
    assert processes_of(folder) == []


def processes_of(data: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(data) in line:
            found.append(line)
    return found
