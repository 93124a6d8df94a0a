"""Rows to Kafka, all of a batch or none, by one producer that fences those of its name before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapeflow.bus.client import LARGEST, Bus, made, module, raised
from tapeflow.domain.errors import BusError

#: Given to the library at once; it holds at most `WAITING`.
PAGE, WAITING = 5_000, 200_000
#: How long a transaction may take. A broker outage beyond it fails the batch, which is tried again; and so long readers
#: of its partitions wait after a collector was killed in the middle of one and does not come back.
TRANSACTION_S = 15.0


#: As the library takes it: ``key`` and ``value``. Without a value it deletes what its key had.
Message = dict[str, bytes | None]


def message(key: bytes, value: bytes | None) -> Message:
    """A message for a topic."""
    return {"key": key, "value": value}


class Publisher:
    """Commits batches of messages as transactions under one id. After a failure `open` begins anew."""

    def __init__(self, bus: Bus, id: str) -> None:
        self._bus = bus
        self._id = id
        self._producer: Any = None
        self._doubtful = 0
        #: Messages that are committed, since the start.
        self.delivered = 0

    @property
    def is_open(self) -> bool:
        return self._producer is not None

    def open(self) -> None:
        """Become the one producer of this id: what another has not committed is void. Raises `BusError`."""
        kafka = module()
        self._producer = None
        producer = made(
            kafka.Producer,
            self._bus.properties(
                transactional_id=self._id,
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=1,
                partitioner="murmur2_random",
                message_max_bytes=LARGEST,
                queue_buffering_max_messages=WAITING,
                queue_buffering_max_kbytes=256 << 10,
                transaction_timeout_ms=int(TRANSACTION_S * 1000),
                message_timeout_ms=int(TRANSACTION_S * 1000) - 5_000,
            ),
        )
        try:
            producer.init_transactions(TRANSACTION_S)
        except kafka.KafkaException as error:
            raise raised(f"Kafka at {self._bus.servers} does not answer", error) from error
        self._producer = producer

    def commit(self, batches: Iterable[tuple[str, list[Message]]]) -> int:
        """Write all messages as one, topic by topic; how many. Raises `BusError`, `OwnerError`.

        Nothing was written then, unless brokers failed at the very end: what stands in the batch itself tells.
        """
        kafka = module()
        failures: list[str] = []
        self._doubtful = 0
        try:
            self._producer.begin_transaction()
            count = sum(self._send(topic, messages, failures) for topic, messages in batches)
            _refuse(failures)
            self._doubtful = count
            self._producer.commit_transaction(TRANSACTION_S)
        except kafka.KafkaException as error:
            self._give_up()
            raise raised("Kafka did not take a batch", error) from error
        except BaseException:
            self._give_up()
            raise
        self.confirm()
        return count

    def confirm(self) -> None:
        """The last batch is committed, also if that failed when all of it had been written: it is delivered."""
        self.delivered += self._doubtful
        self._doubtful = 0

    def _send(self, topic: str, messages: list[Message], failures: list[str]) -> int:
        def told(error: Any, sent: Any) -> None:
            if error is not None:
                failures.append(_failure(topic, error, sent.value()))

        for at in range(0, len(messages), PAGE):
            page = messages[at : at + PAGE]
            while page and not failures:
                taken = self._producer.produce_batch(topic, page, on_delivery=told)
                page = [] if taken == len(page) else _waiting(topic, page, failures)
                self._producer.poll(0.05 if page else 0)  # full: let it send
        return len(messages)

    def _give_up(self) -> None:
        """Leave nothing of a batch; whether it could be aborted or not, the next `open` fences what is left."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.purge()
            producer.abort_transaction(5)
        except module().KafkaException:
            pass  # the broker aborts it when it times out, or at the next `open`

    def close(self) -> None:
        """Let go; nothing waits between two batches."""
        self._producer = None


def _waiting(topic: str, page: list[Message], failures: list[str]) -> list[Message]:
    """What the library had no room for just now. What it refuses for another reason, such as its size, is a failure."""
    waiting = []
    for one in page:
        error: Any = one.get("_error")
        if error is None:
            continue
        if error.code() == module().KafkaError._QUEUE_FULL:  # noqa: SLF001 - the library's own name
            waiting.append(message(one["key"] or b"", one["value"]))
        else:
            failures.append(_failure(topic, error, one["value"]))
    return waiting


def _failure(topic: str, error: Any, value: bytes | None) -> str:
    return f"{topic}: {error.str()} (of {len(value or b'')} bytes)"


def _refuse(failures: list[str]) -> None:
    if failures:
        raise BusError(f"Kafka did not take a message: {failures[0]}")
