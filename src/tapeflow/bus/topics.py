"""The topics: which there are, how each is kept, made where it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tapeflow.bus.client import ANSWER_S, LARGEST, Bus, made, module, raised
from tapeflow.domain.errors import SettingsError

DAY_MS = 86_400_000

#: An upsert topic is read whole at each start, and a collector writes its position to one many times a second: what is
#: replaced goes soon. Kafka leaves the newest segment as it is, so that is closed when it is this old or this large,
#: which is more than any message is.
SEGMENT_BYTES, SEGMENT_MS = 64 << 20, 600_000


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic. ``is_upsert``: the newest row of each key stays for ever; else every row for ``keep_ms``.

    ``largest`` are the bytes that a message may have.
    """

    name: str
    partitions: int
    is_upsert: bool = False
    keep_ms: int = 7 * DAY_MS
    largest: int = LARGEST


def ensure(bus: Bus, topics: Sequence[TopicSpec], replication: int = 0) -> None:
    """Have the topics; raises `BusError`, and `SettingsError` for one that has another number of partitions."""
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - an extra
    from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415

    kafka = module()
    admin = made(AdminClient, bus.properties())
    try:
        known = admin.list_topics(timeout=ANSWER_S)
    except kafka.KafkaException as error:
        raise raised(f"Kafka at {bus.servers} does not answer", error) from error
    topics = list({one.name: one for one in topics}.values())  # the client does not survive a name that comes twice
    for one in topics:
        found = known.topics.get(one.name)
        if found is not None and len(found.partitions) != one.partitions:
            raise SettingsError(
                f"topic {one.name} has {len(found.partitions)} partitions, [bus] partitions says {one.partitions}: "
                "rows of a symbol would move; set it to what is there, or choose another prefix"
            )
    copies = replication or min(3, len(known.brokers))
    missing = [NewTopic(one.name, one.partitions, copies, config=_config(one, copies)) for one in topics
               if one.name not in known.topics]  # fmt: skip
    if missing:
        _create(admin, missing)


def _create(admin: Any, missing: list[Any]) -> None:
    kafka = module()
    for name, future in admin.create_topics(missing, operation_timeout=30).items():
        try:
            future.result()
        except kafka.KafkaException as error:
            if error.args[0].code() != kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                raise raised(f"topic {name} cannot be made", error) from error


def _config(topic: TopicSpec, copies: int) -> dict[str, str]:
    kept = {"retention.ms": str(topic.keep_ms)}
    if topic.is_upsert:
        kept = {"cleanup.policy": "compact", "segment.bytes": str(SEGMENT_BYTES), "segment.ms": str(SEGMENT_MS)}
    return {**kept, "min.insync.replicas": "2" if copies > 2 else "1", "max.message.bytes": str(topic.largest)}
