"""What a publisher counts as delivered: what is committed, also where the answer to that was lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tapeflow.bus import publisher as module
from tapeflow.bus.client import Bus
from tapeflow.bus.publisher import Publisher, message
from tapeflow.domain.errors import BusError

kafka = pytest.importorskip("confluent_kafka")


class Producer:
    """One whose calls fail by name, once each."""

    failing: list[str]

    def __init__(self, _: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self._call(name)

    def _call(self, name: str) -> None:
        if name in self.failing:
            self.failing.remove(name)
            raise kafka.KafkaException(kafka.KafkaError(kafka.KafkaError._TIMED_OUT))

    def produce_batch(self, _: str, page: list[Any], on_delivery: Any) -> int:
        self._call("produce_batch")
        return len(page)


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    Producer.failing = []
    fake = SimpleNamespace(Producer=Producer, KafkaException=kafka.KafkaException)
    monkeypatch.setattr(module, "module", lambda: fake)
    made = Publisher(Bus("nowhere"), "x")
    made.open()
    return made


BATCH = [("t", [message(b"k", b"v")] * 3)]


def test_what_failed_is_not_delivered_unless_it_was_committed_all_the_same(publisher: Publisher) -> None:
    publisher.commit(BATCH)
    assert publisher.delivered == 3
    for failing in ("produce_batch", "commit_transaction"):
        Producer.failing.append(failing)
        with pytest.raises(BusError):
            publisher.commit(BATCH)
        assert not publisher.is_open
        assert publisher.delivered == 3
        publisher.open()
    publisher.confirm()
    publisher.confirm()
    assert publisher.delivered == 6, "once"


def test_a_batch_that_failed_before_its_end_cannot_be_committed(publisher: Publisher) -> None:
    Producer.failing.append("produce_batch")
    with pytest.raises(BusError):
        publisher.commit(BATCH)
    publisher.confirm()
    assert publisher.delivered == 0
