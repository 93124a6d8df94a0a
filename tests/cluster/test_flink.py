"""Real Kafka and Flink give what the embedded engine gives; also when they are killed in the middle."""

from __future__ import annotations

import pytest

from cluster.flink_answer import Bus, check, first_rows
from servers import Servers
from tapeflow.stack.stack import Stack
from topic import RESULTS, market

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flink")]


def flink(servers: Servers) -> tuple[Bus, str, Stack]:
    kafka = servers.kafka()
    return Bus(kafka), servers.flink(), servers.stack


def test_one_answer(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    assert check(bus, address, "late", market(2, 3000, late=0.05, late_s=120.0, doubled=0.1, coarse=0.1), 2) == []


def test_kills_of_task_manager_and_job_manager_lose_and_double_nothing(servers: Servers) -> None:
    bus, address, stack = flink(servers)
    killed = (stack, ("flink-taskmanager", "flink-jobmanager"))
    assert check(bus, address, "killed", market(6, 3000, late=0.05, late_s=60.0), 1, killed=killed) == []


def test_rows_come_without_a_checkpoint(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    assert first_rows(bus, address, market(7, 2000, late=0.0)) == set(RESULTS)
