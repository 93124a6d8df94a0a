"""A flow as a job of a cluster: what the settings of a run say to an engine that is not ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tapeflow import venues
from tapeflow.app.collector import bus, bus_settings
from tapeflow.app.published import event_topics
from tapeflow.bus.follower import has_rows
from tapeflow.bus.topics import TopicSpec, ensure
from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import parse_span
from tapeflow.feed.recorder import Say
from tapeflow.runners.flink.spec import Spec, folds_of
from tapeflow.runners.flink.submit import Client
from tapeflow.runners.flink.submit import submit as submitted
from tapeflow.settings import RunSettings
from tapeflow.stack import flink
from tapeflow.stack.service import Place
from tapeflow.stack.stack import Bar

SOURCE = "trades"

_LOGIN = "org.apache.kafka.common.security"


def flink_spec(settings: RunSettings) -> Spec:
    """The job of a flow on Flink; raises `SettingsError`."""
    flow, kafka, chosen = settings.make_flow(), bus_settings(settings), settings.flink
    venue = venues.create(settings.venue)
    folds = folds_of(flow, venue.price_scale, venue.size_scale)
    return Spec(
        name=f"tapeflow-{kafka.prefix}{flow.name}",
        folds=folds,
        source=kafka.topic(SOURCE),
        topics={channel: kafka.topic(channel) for channel in folds.channels},
        bootstrap=chosen.brokers or kafka.servers,
        pushes=kafka.topic("klines"),
        client=java_client(kafka.client),
        guarantee=chosen.guarantee,
        checkpoint_ms=_ms(chosen.checkpoint),
        latency_ms=_ms(chosen.latency),
        parallelism=chosen.parallelism or kafka.partitions,
        outage_us=parse_span(chosen.outage),
    )


def submit(
    settings: RunSettings,
    server: str,
    cache: Path,
    say: Say,
    bar: Bar,
    *,
    savepoint: str = "",
    anew: bool = False,
) -> str:
    """Run the flow on the Flink whose REST is ``server``; the id of the job. Raises `TapeflowError`s.

    What compiles it is fetched into the cache, once.
    """
    spec = flink_spec(settings)
    ensure_topics(settings, spec)
    place, service = Place(Path(), cache), flink.Flink()
    if service.missing_bytes(place):
        say(f"flink: fetching what compiles a flow into {cache}, {service.missing_bytes(place) >> 20} MiB, once")
        with bar("flink") as progress:
            service.fetch(place, progress)
    client = Client(flink.python(cache), flink.connector(cache))
    more = settings.flink.properties
    own = (settings.flow.own_indicators if settings.flow else None) or ""
    written = has_rows(bus(settings), list(spec.topics.values()))
    job = submitted(spec, server, client, say, savepoint=savepoint, anew=anew, more=more, own=own, has_results=written)
    say(f"{spec.name}: runs on {server}, into {', '.join(spec.topics.values())}")
    return job


def ensure_topics(settings: RunSettings, spec: Spec) -> None:
    """Have the topics that a job reads and writes; raises `BusError`, `SettingsError`."""
    kafka = bus_settings(settings)
    keep = parse_span(kafka.keep) // 1000
    read = [topic for topic in event_topics(kafka) if topic.name in (spec.source, spec.pushes)]
    written = [TopicSpec(name, kafka.partitions, keep_ms=keep) for name in spec.topics.values()]
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
