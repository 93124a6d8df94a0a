"""The Compose file is the stack in containers: the same settings, on loopback, with what it keeps in volumes."""

from __future__ import annotations

import re

import pytest
import yaml

from tapeflow.stack import kafka
from tapeflow.stack.compose import compose
from tapeflow.stack.plan import Wanted
from tapeflow.stack.service import Server


@pytest.mark.parametrize(("size", "names"), [(1, ["kafka"]), (3, ["kafka-1", "kafka-2", "kafka-3"])])
def test_it_is_whole(size: int, names: list[str]) -> None:
    made = yaml.safe_load(compose(Wanted(sizes={"kafka": size})))
    assert list(made) == ["services", "volumes"]
    assert list(made["services"]) == [*names, "postgres"]
    mounted = set()
    for entry in made["services"].values():
        assert set(entry) == {"image", "environment", "ports", "volumes", "healthcheck"}
        assert re.fullmatch(r"[a-z/]+:[\d.]+", entry["image"])
        assert all(port.startswith("127.0.0.1:") for port in entry["ports"])
        assert entry["healthcheck"]["test"][0] == "CMD"
        assert all(isinstance(value, str) for value in entry["environment"].values())
        mounted |= {volume.split(":")[0] for volume in entry["volumes"]}
    assert mounted == set(made["volumes"])
    published = [port for entry in made["services"].values() for port in entry["ports"]]
    assert len(set(published)) == len(published)


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


def test_no_password_stands_in_it() -> None:
    environment = yaml.safe_load(compose(Wanted(services=("postgres",))))["services"]["postgres"]["environment"]
    assert environment["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
