"""The API of a live run, put together: source, limits, keys, server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tapeflow.api import sse
from tapeflow.api.alerts import routes as alert_routes
from tapeflow.api.alerts.desk import Desk
from tapeflow.api.app import create
from tapeflow.api.counts import Counts
from tapeflow.api.keys import KeyFile, is_required, open_keys
from tapeflow.api.limits import Limits
from tapeflow.api.metrics import Http
from tapeflow.api.server import Server
from tapeflow.api.stream import Rules, Streams
from tapeflow.app.alerts import GatewayPresent, RunPresent, open_desk
from tapeflow.app.live import RunLive
from tapeflow.app.source import RunSource
from tapeflow.flow.nodes import Candles, Indicator
from tapeflow.settings import ApiSettings

if TYPE_CHECKING:
    from tapeflow.app.gateway import Gateway
    from tapeflow.app.gateway_source import GatewaySource
    from tapeflow.app.run import Run
    from tapeflow.app.served import Served


class RunKeys:
    """The keys of a data folder, as the guard asks for them."""

    def __init__(self, file: KeyFile, *, is_required: bool) -> None:
        self._file = file
        self.is_required = is_required

    def verify(self, token: str) -> frozenset[str] | None:
        return self._file.verify(token)


def server(run: Run, served: Served) -> Server:
    """The server of a run whose store and pipeline are there; raises `SettingsError` where keys are missing."""
    api = run.settings.api
    limits = _limits(api)
    keys = RunKeys(open_keys(run.folder.root, api), is_required=is_required(api))
    source = _source(run, api, served.live)
    rules = Rules(
        served.topics,
        known=lambda: {*run.followed(), *served.hub.names},
        watermarks=lambda: run.pipeline.progress.watermarks,
        verify=keys.verify,
        subscriptions=api.subscriptions_per_connection,
        messages_per_s=api.messages_per_s,
    )
    streams = served.streams = Streams(served.hub, rules)
    counts = Counts()
    app = create(source, limits, run.reach(), lambda: _http(counts, streams))
    sse.add(app, streams)
    desk = open_desk(run.settings, served.hub, RunPresent(run.pipeline, served.topics, rules.known))
    alert_routes.add(app, desk)
    served.alerts = desk.status
    return Server(app, api.host, api.port, limits=limits, keys=keys, streams=streams, counts=counts, parts=(desk,))


def gateway_server(gateway: Gateway, source: GatewaySource, *, has_alerts: bool) -> Server:
    """The server of a gateway; raises `SettingsError` where keys are missing."""
    api = gateway.settings.api
    limits = msgspec.structs.replace(_limits(api), has_sql=source.has_sql, has_alerts=has_alerts)
    keys = RunKeys(open_keys(Path(gateway.settings.data), api), is_required=is_required(api))
    rules = Rules(
        gateway.topics,
        known=lambda: {*gateway.followed(), *gateway.hub.names},
        watermarks=lambda: gateway.present.watermarks,
        verify=keys.verify,
        subscriptions=api.subscriptions_per_connection,
        messages_per_s=api.messages_per_s,
    )
    streams, counts = Streams(gateway.hub, rules), Counts()
    app = create(source, limits, gateway.asker, lambda: _http(counts, streams))
    sse.add(app, streams)
    parts: list[Desk] = []
    if has_alerts:
        desk = open_desk(gateway.settings, gateway.hub, GatewayPresent(gateway, rules.known))
        alert_routes.add(app, desk)
        gateway.alerts = desk.status
        parts.append(desk)
    return Server(app, api.host, api.port, limits=limits, keys=keys, streams=streams, counts=counts, parts=tuple(parts))


def _http(counts: Counts, streams: Streams) -> Http:
    now = streams.status()
    return Http(
        requests=counts.requests,
        refused=counts.refused,
        failed=counts.failed,
        streams=now["clients"],
        subscriptions=now["subscriptions"],
        messages=now["sent"],
        slow=now["too_slow"],
    )


def _limits(api: ApiSettings) -> Limits:
    return Limits(
        hosts=api.allowed_hosts,
        origins=api.allowed_origins,
        requests_per_s=api.requests_per_s,
        connections_per_address=api.connections_per_address,
        connections=api.connections,
        has_sql=api.sql,
        has_alerts=True,
        needs_key=is_required(api),
    )


def _source(run: Run, api: ApiSettings, live: RunLive) -> RunSource:
    settings, pipeline = run.settings, run.pipeline
    return RunSource(
        run.store,
        live,
        venue=settings.venue,
        channels=settings.store.channels,
        intervals=tuple(node.interval for node in run.flow.of(Candles)),
        indicators=tuple(dict.fromkeys(node.step.name for node in run.flow.of(Indicator))),
        timezone=run.wire.timezone,
        scales=run.scales,
        followed=run.followed,
        instrument=pipeline.instrument,
        status=lambda: run.latest,
        sql_rows=api.sql_rows,
        sql_seconds=api.sql_seconds,
    )
