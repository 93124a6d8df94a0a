"""What a follower does with what its library says between records."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from tapeflow.bus import follower as module
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import Follower
from tapeflow.domain.errors import BusError


class _Message:
    def __init__(self, at: int, error: KafkaError | None = None) -> None:
        self._at, self._error = at, error

    topic, partition = (lambda _: "trades"), (lambda _: 0)

    def error(self) -> KafkaError | None:
        return self._error

    def offset(self) -> int:
        return self._at

    key = value = lambda _: b"x"


def test_records_that_come_with_an_error_are_given_before_it_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = KafkaError(KafkaError._FAIL)
    batches: list[list[Any]] = [[_Message(0), _Message(0, failed), _Message(1)], [_Message(2)]]
    consumer = SimpleNamespace(
        assign=lambda _: None, get_watermark_offsets=lambda *_, **__: (0, 3), consume=lambda *_: batches.pop(0)
    )
    monkeypatch.setattr(module, "consumer", lambda *_: consumer)
    follower = Follower(Bus("here:1", {}), {("trades", 0): 0})
    assert [record.offset for record in follower.read(10, 0.1)] == [0, 1]
    with pytest.raises(BusError, match="cannot read from Kafka"):
        follower.read(10, 0.1)
    assert [record.offset for record in follower.read(10, 0.1)] == [2]
    assert follower.positions == {("trades", 0): 3}


def test_a_topic_that_not_every_broker_knows_yet_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(partitions={0: None, 1: None})
    answers: list[dict[str, Any]] = [{}, {"a": made}, {"a": made, "b": made}]
    monkeypatch.setattr(module, "_topics", lambda _: answers.pop(0))
    assert module.partitions(Bus("here:1", {}), ["a", "b"]) == {"a": 2, "b": 2}
    assert answers == []


def test_a_topic_that_is_not_there_is_named_with_what_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_topics", lambda _: {})
    monkeypatch.setattr(module, "ANSWER_S", 0.2)
    with pytest.raises(BusError, match="no topic a, b yet; a collector makes"):
        module.partitions(Bus("here:1", {}), ["a", "b"])
