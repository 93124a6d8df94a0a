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
