"""Single messages to Kafka, of no transaction: what is asked and answered, not what is kept."""

from __future__ import annotations

import threading
from typing import Any

from tapeflow.bus.client import ANSWER_S, LARGEST, Bus, made, module, raised
from tapeflow.domain.errors import BusError


class Sender:
    """Sends from any thread; the client is made when there is something to send."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lock = threading.Lock()
        self._producer: Any = None

    def send(self, topic: str, key: bytes, value: bytes) -> None:
        """Send one message and wait until the brokers have it; raises `BusError`."""
        outcome: list[Any] = []
        kafka = module()
        try:
            producer = self._made()
            producer.produce(topic, value, key, on_delivery=lambda error, _: outcome.append(error))
            producer.flush(ANSWER_S)
        except (kafka.KafkaException, BufferError) as error:
            raise raised("Kafka did not take a message", error) from error
        if not outcome or outcome[0] is not None:
            reason = outcome[0].str() if outcome else f"no answer in {ANSWER_S:.0f} s"
            raise BusError(f"Kafka at {self._bus.servers} did not take a message: {reason}")

    def _made(self) -> Any:
        with self._lock:
            if self._producer is None:
                own: dict[str, Any] = {"acks": "all", "enable_idempotence": True, "compression_type": "lz4"}
                until = int(ANSWER_S * 1000) - 1_000
                own |= {"message_max_bytes": LARGEST, "message_timeout_ms": until}
                self._producer = made(module().Producer, self._bus.properties(**own))
        return self._producer
