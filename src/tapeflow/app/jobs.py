"""A flow as a job of a cluster: what the settings of a run say to an engine that is not ours."""

from __future__ import annotations

from collections.abc import Mapping

from tapeflow import venues
from tapeflow.app.collector import bus, bus_settings
from tapeflow.app.published import event_topics
from tapeflow.bus.topics import TopicSpec, ensure
from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import parse_span
from tapeflow.runners.flink.spec import Spec, folds_of
from tapeflow.settings import RunSettings

SOURCE = "trades"

_LOGIN = "org.apache.kafka.common.security"


def flink_spec(settings: RunSettings) -> Spec:
    """The job of a flow on Flink; raises `SettingsError`."""
    flow, kafka, flink = settings.make_flow(), bus_settings(settings), settings.flink
    venue = venues.create(settings.venue)
    folds = folds_of(flow, venue.price_scale, venue.size_scale)
    return Spec(
        name=f"tapeflow-{kafka.prefix}{flow.name}",
        folds=folds,
        source=kafka.topic(SOURCE),
        topics={channel: kafka.topic(channel) for channel in folds.channels},
        bootstrap=flink.brokers or kafka.servers,
        pushes=kafka.topic("klines"),
        client=java_client(kafka.client),
        guarantee=flink.guarantee,
        checkpoint_ms=_ms(flink.checkpoint),
        latency_ms=_ms(flink.latency),
        parallelism=flink.parallelism or kafka.partitions,
        outage_us=parse_span(flink.outage),
    )


def ensure_topics(settings: RunSettings, spec: Spec) -> None:
    """Have the topics that a job reads and writes; raises `BusError`, `SettingsError`."""
    kafka = bus_settings(settings)
    read = [topic for topic in event_topics(kafka) if topic.name in (spec.source, spec.pushes)]
    written = [TopicSpec(name, kafka.partitions, is_upsert=True) for name in spec.topics.values()]
    ensure(bus(settings), [*read, *written], kafka.replication)


def java_client(client: Mapping[str, str]) -> dict[str, str]:
    """Properties of our Kafka client as Java's names them; raises `SettingsError` for what it cannot be told."""
    rows = dict(client)
    user, password = rows.pop("sasl.username", None), rows.pop("sasl.password", None)
    mechanism = rows.pop("sasl.mechanisms", rows.pop("sasl.mechanism", ""))
    if mechanism:
        rows["sasl.mechanism"] = mechanism
    if user is not None:
        module = f"{_LOGIN}.{'plain.Plain' if mechanism == 'PLAIN' else 'scram.Scram'}LoginModule"
        rows["sasl.jaas.config"] = f"{module} required username={_java(user)} password={_java(password or '')};"
    authority = rows.pop("ssl.ca.location", None)
    if authority is not None:
        rows |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": authority}
    for name in ("ssl.certificate.location", "ssl.key.location"):
        if name in rows:
            raise SettingsError(
                f"[bus] client {name}: Flink's client takes certificate and key in one file; give ssl.keystore.type = "
                '"PEM" and ssl.keystore.location by [flink] properties'
            )
    return rows


def _java(text: str) -> str:
    """A text as it stands in a login configuration."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _ms(span: str) -> int:
    return max(1, parse_span(span) // 1000)
