"""The Compose file is the stack in containers: the same settings, on loopback, with what it keeps in volumes."""

from __future__ import annotations

import re

import pytest
import yaml
from compose_spec import PyCompose

from tapeflow.stack import kafka
from tapeflow.stack.compose import compose
from tapeflow.stack.plan import Wanted
from tapeflow.stack.service import Server

WHOLE = ("kafka", "postgres", "flink")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), ["kafka", "postgres"]),
        (Wanted(sizes={"kafka": 3}), ["kafka-1", "kafka-2", "kafka-3", "postgres"]),
        (Wanted(services=WHOLE), ["kafka", "flink-jobmanager", "flink-taskmanager", "postgres"]),
    ],
)
def test_it_is_whole(wanted: Wanted, names: list[str]) -> None:
    made = yaml.safe_load(compose(wanted))
    services = made["services"]
    assert sorted(services) == sorted(names)
    assert all(re.fullmatch(r"[a-z/]+:\d[\d.]*", entry["image"]) for entry in services.values()), "pinned"
    ports = [port for entry in services.values() for port in entry.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    published = [port.rpartition(":")[0] for port in ports]
    assert len(set(published)) == len(published)
    assert {volume.split(":")[0] for entry in services.values() for volume in entry["volumes"]} == set(made["volumes"])
    assert {name for entry in services.values() for name in entry.get("depends_on", [])} <= set(services)


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(services=WHOLE), Wanted(services=WHOLE, sizes={"kafka": 3})])
def test_it_is_of_the_compose_specification(wanted: Wanted) -> None:
    """Read by a parser of the specification, which takes no key that is unknown and no value of another form."""
    PyCompose.from_yaml(compose(wanted)).validate()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("healthcheck:", "healthchecks:"),
        ('interval: "10s"', 'interval: "ten"'),
        ("retries: 12", 'retries: "often"'),
        ('"127.0.0.1:9092:9092"', '"127.0.0.1:9092:"'),
        ('"apache/kafka:', '"apache kafka:'),
        ("depends_on:", "depends:"),
        ('"flink-data:/', '"other-data:/'),
    ],
)
def test_what_is_not_of_the_specification_is_noticed(right: str, wrong: str) -> None:
    made = compose(Wanted(services=WHOLE))
    assert right in made
    with pytest.raises(ValueError, match=r"services|volume"):
        PyCompose.from_yaml(made.replace(right, wrong)).validate()


def test_brokers_know_each_other_and_have_the_settings_of_the_stack() -> None:
    made = yaml.safe_load(compose(Wanted(services=("kafka",), sizes={"kafka": 3})))["services"]
    settings = [entry["environment"] for entry in made.values()]
    assert len({each["KAFKA_NODE_ID"] for each in settings}) == 3
    assert {each["KAFKA_CONTROLLER_QUORUM_VOTERS"] for each in settings} == {
        "1@kafka-1:9093,2@kafka-2:9093,3@kafka-3:9093"
    }
    peers = [Server(f"kafka-{n}", "kafka", n, {"client": n, "controller": 10 + n}) for n in (1, 2, 3)]
    here = kafka.properties(peers[0], peers, "data")
    of_place = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
    of_place |= {"inter.broker.listener.name", "listener.security.protocol.map"}
    for key in here.keys() - of_place:
        assert settings[0][f"KAFKA_{key.upper().replace('.', '_')}"] == here[key]


def test_flink_may_write_into_its_volume() -> None:
    made = yaml.safe_load(compose(Wanted(services=("flink",))))["services"]
    for part in ("jobmanager", "taskmanager"):
        entry = made[f"flink-{part}"]
        (volume,) = entry["volumes"]
        script = f"chown flink: {volume.partition(':')[2]} && exec /docker-entrypoint.sh {part}"
        assert entry["entrypoint"] == ["sh", "-c", script]
        assert "command" not in entry


def test_no_password_stands_in_it() -> None:
    environment = yaml.safe_load(compose(Wanted(services=("postgres",))))["services"]["postgres"]["environment"]
    assert environment["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_docker_is_to_put_in_nothing_else() -> None:
    """A dollar sign is the beginning of a variable."""
    assert re.findall(r"\$\S*", compose(Wanted(services=WHOLE))) == ["${POSTGRES_PASSWORD:?put"]
