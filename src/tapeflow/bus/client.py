"""How every client of ours reaches Kafka, and what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tapeflow.domain.errors import BusError, OwnerError, SettingsError

#: The largest message: the book of a thousand levels of each side takes 100 kB, an answer of a venue is 16 MiB at most.
LARGEST = 16 << 20
#: How long a question to a broker may take.
ANSWER_S = 10.0


class Bus(msgspec.Struct, frozen=True):
    """Where Kafka is; ``client`` are further properties of every client, such as those of TLS and SASL."""

    servers: str
    client: Mapping[str, str] = {}

    def properties(self, **own: Any) -> dict[str, Any]:
        """The properties of a client; `_` in a name of ``own`` stands for `.`."""
        named = {name.replace("_", "."): value for name, value in own.items()}
        return {"bootstrap.servers": self.servers, "client.id": "tapeflow", "log_level": 2, **named, **self.client}


def module() -> Any:
    """The client library, which is an extra; raises `SettingsError` where it is not installed."""
    try:
        import confluent_kafka  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError("Kafka needs its client: pip install 'tapeflow[kafka]'") from error
    return confluent_kafka


def made(kind: Any, properties: Mapping[str, Any]) -> Any:
    """A client of a kind of the library's; raises `SettingsError` for properties that it does not take."""
    try:
        return kind(properties)
    except module().KafkaException as error:
        told = error.args[0]
        raise SettingsError(f"[bus] client: {told.str() if hasattr(told, 'str') else told}") from error


def raised(what: str, error: Any) -> BusError | OwnerError:
    """The error of ours for one of Kafka's."""
    kafka = module()
    told = error.args[0] if error.args else error
    fenced = (kafka.KafkaError._FENCED, kafka.KafkaError.PRODUCER_FENCED, kafka.KafkaError.INVALID_PRODUCER_EPOCH)  # noqa: SLF001 - the library's own name
    if getattr(told, "code", lambda: None)() in fenced:
        return OwnerError(f"{what}: another process of the same name has taken over; run only one, or give it another")
    text = told.str() if hasattr(told, "str") else str(told)
    return BusError(f"{what}: {text}")
