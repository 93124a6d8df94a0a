"""A flow as a job of a cluster: what the settings of a run say to an engine that is not ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tapeflow import venues
from tapeflow.app.collector import bus, bus_settings
from tapeflow.app.published import event_topics
from tapeflow.bus.follower import has_rows
from tapeflow.bus.topics import TopicSpec, ensure
from tapeflow.domain.errors import SettingsError, StackError
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

#: What logs in. The connector that a job takes along has Kafka's client in it, under another name than its own.
_LOGIN = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security"
_MODULES = {
    "PLAIN": f"{_LOGIN}.plain.PlainLoginModule",
    "SCRAM-SHA-256": f"{_LOGIN}.scram.ScramLoginModule",
    "SCRAM-SHA-512": f"{_LOGIN}.scram.ScramLoginModule",
}
#: What our client can be told, and Flink's cannot.
_OURS_ALONE = {
    **dict.fromkeys(
        ("ssl.certificate.location", "ssl.certificate.pem", "ssl.key.location", "ssl.key.pem"),
        "Flink's client takes certificate and key as one PKCS#12 file: give ssl.keystore.location, the same path "
        "here and where Flink runs, and ssl.keystore.password",
    ),
    "enable.ssl.certificate.verification": "Flink's client always verifies; give the certificate as ssl.ca.location",
}
#: What has another name or another form in Java.
_TRANSLATED = frozenset(
    ("security.protocol", "ssl.endpoint.identification.algorithm", "sasl.mechanisms", "sasl.mechanism")
    + ("sasl.username", "sasl.password", "ssl.ca.location", "ssl.ca.pem")
)


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
    place, service = Place(cache, cache), flink.Flink()
    if lacking := list(service.lacks(place, ())):
        raise StackError("nothing was submitted:\n  " + "\n  ".join(lacking))
    ensure_topics(settings, spec)
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
    """Properties of our Kafka client as Java's names them; raises `SettingsError` for what it cannot be told.

    What is unknown to it is passed on all the same: it says so in its log and goes on.
    """
    for name in client.keys() & _OURS_ALONE.keys():
        raise SettingsError(f"[bus] client {name}: {_OURS_ALONE[name]}")
    rows = {name: value for name, value in client.items() if name not in _TRANSLATED}
    return rows | _protocol(client) | _login(client) | _certificates(client)


def _protocol(client: Mapping[str, str]) -> dict[str, str]:
    rows = {}
    if protocol := client.get("security.protocol"):
        rows["security.protocol"] = protocol.upper()
    if (checked := client.get("ssl.endpoint.identification.algorithm")) is not None:
        rows["ssl.endpoint.identification.algorithm"] = "" if checked == "none" else checked
    return rows


def _login(client: Mapping[str, str]) -> dict[str, str]:
    """By which mechanism, and as whom."""
    mechanism = client.get("sasl.mechanisms", client.get("sasl.mechanism", ""))
    rows = {"sasl.mechanism": mechanism} if mechanism else {}
    if (user := client.get("sasl.username")) is not None:
        if mechanism not in _MODULES:
            known = " or ".join(_MODULES)
            raise SettingsError(
                f"[bus] client sasl.mechanisms: expected {known} for a user, got {mechanism!r}"
                " (which Flink's client cannot be told)"
            )
        password = client.get("sasl.password", "")
        rows["sasl.jaas.config"] = f"{_MODULES[mechanism]} required username={_java(user)} password={_java(password)};"
    return rows


def _certificates(client: Mapping[str, str]) -> dict[str, str]:
    """Whom to trust, as text: the job brings it along, and no file need be where Flink runs. And who we are."""
    rows = {}
    if trusted := client.get("ssl.ca.pem") or _read(client.get("ssl.ca.location")):
        rows = {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": trusted}
    if "ssl.keystore.location" in client:
        rows["ssl.keystore.type"] = "PKCS12"
    return rows


def _read(authority: str | None) -> str:
    """The certificates of a file; empty where the system's own are meant."""
    if authority is None or authority == "probe":
        return ""
    try:
        return Path(authority).read_text("ascii")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"[bus] client ssl.ca.location: expected a file of PEM, got {authority}: {error}"
        ) from error


def _java(text: str) -> str:
    """A text as it stands in a login configuration."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _ms(span: str) -> int:
    return max(1, parse_span(span) // 1000)
