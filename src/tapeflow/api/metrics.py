"""``/metrics``: how a run is doing, for Prometheus. Made from its status at each scrape; nothing is kept here.

Base units, ``_total`` for what only grows. A counter is there from the beginning, at 0, so that its first increase is
one; what is not known yet (a lag before the first message) has no sample. docs/reference/metrics.md has every name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from tapeflow.api.health import BEHIND, WAITING

Status: TypeAlias = Mapping[str, Any]


class Http(msgspec.Struct, frozen=True):
    """What the API has done since it began; ``streams`` and ``subscriptions`` are those open now."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    streams: int = 0
    subscriptions: int = 0
    messages: int = 0
    slow: int = 0


class Measure(msgspec.Struct, frozen=True):
    """One metric: its name, its kind, what it means, and how it is read; None where it is not known."""

    name: str
    kind: Literal["gauge", "counter"]
    about: str
    read: Callable[[Any], float | None]


def _at(path: str, factor: float = 1.0) -> Callable[[Status], float | None]:
    """Reads a number of the status; a gauge that is missing has no sample."""

    def read(status: Status) -> float | None:
        value = _find(status, path)
        return None if value is None else float(value) * factor

    return read


def _count(path: str) -> Callable[[Status], float]:
    """Reads a counter; 0 from the beginning."""
    return lambda status: float(_find(status, path) or 0)


def _is(path: str) -> Callable[[Status], float]:
    """1 if the status says so, else 0."""
    return lambda status: float(bool(_find(status, path)))


def _find(status: Status, path: str) -> Any:
    found: Any = status
    for word in path.split("."):
        found = found.get(word) if isinstance(found, Mapping) else None
    return found


OF_RUN = (
    Measure("tapeflow_up", "gauge", "1: the process answers.", lambda _: 1.0),
    Measure("tapeflow_uptime_seconds", "gauge", "Since the start of the run.", _at("uptime_s")),
    Measure("tapeflow_live", "gauge", "1: the tape was played to its end, the run is in step.", _is("is_live")),
    Measure("tapeflow_symbols", "gauge", "Symbols met.", _count("symbols")),
    Measure("tapeflow_lag_seconds", "gauge", "From the receipt of a message to its row.", _at("lag_ms", 0.001)),
    Measure("tapeflow_tape_position_records", "gauge", "The position of the next record.", _count("position")),
    Measure("tapeflow_tape_played_records", "gauge", "Up to here the tape was played.", _count("played")),
    Measure("tapeflow_tape_records_total", "counter", "Records put.", _count("tape.records")),
    Measure("tapeflow_tape_bytes_total", "counter", "Bytes written.", _count("tape.bytes")),
    Measure("tapeflow_tape_commits_total", "counter", "Commits.", _count("tape.commits")),
    Measure("tapeflow_tape_syncs_total", "counter", "Calls of fsync.", _count("tape.syncs")),
    Measure("tapeflow_tape_failures_total", "counter", "Commits or syncs that the disk refused.",
            _count("tape.failures")),
    Measure("tapeflow_tape_waiting_bytes", "gauge", "In memory, not written yet.", _count("tape_waiting_bytes")),
    Measure("tapeflow_tape_waiting_limit_bytes", "gauge", "So much may wait: beyond it `/healthz` is degraded.",
            lambda _: float(WAITING)),
    Measure("tapeflow_tape_slowest_commit_seconds", "gauge", "The slowest commit since the start.",
            _at("tape.slowest_commit_ms", 0.001)),
    Measure("tapeflow_tape_failing", "gauge", "1: the tape cannot be written.", _is("tape_error")),
    Measure("tapeflow_store_committed_records", "gauge", "Rows of the tape up to here are in the store.",
            _count("committed")),
    Measure("tapeflow_store_behind_limit_records", "gauge", "So far the store may be behind: as above.",
            lambda _: float(BEHIND)),
    Measure("tapeflow_store_rows_total", "counter", "Rows written to the store.", _count("rows")),
    Measure("tapeflow_store_failing", "gauge", "1: the store cannot be written.", _is("store_error")),
    Measure("tapeflow_data_free_bytes", "gauge", "Free where the data folder is.", _at("data_free_bytes")),
    Measure("tapeflow_frames_total", "counter", "Messages read.", _count("counts.frames")),
    Measure("tapeflow_answers_total", "counter", "REST answers read.", _count("counts.answers")),
    Measure("tapeflow_events_total", "counter", "New events in them.", _count("counts.events")),
    Measure("tapeflow_duplicates_total", "counter", "Trades that had been seen.", _count("counts.duplicates")),
    Measure("tapeflow_late_total", "counter", "Trades beyond the horizon.", _count("counts.late")),
    Measure("tapeflow_quarantined_total", "counter", "Frames that cannot be used.", _count("counts.quarantined")),
    Measure("tapeflow_unknown_fields_total", "counter", "Fields that the venue's documentation does not have.",
            _count("counts.unknown_fields")),
    Measure("tapeflow_gaps_total", "counter", "Holes in the ids that were met.", _count("counts.gaps")),
    Measure("tapeflow_holes_open", "gauge", "Holes that are being filled.", _count("holes")),
    Measure("tapeflow_holes_filled_total", "counter", "Holes filled.", _count("holes_filled")),
    Measure("tapeflow_holes_given_up_total", "counter", "Holes given up; coverage names them.",
            _count("holes_given_up")),
    Measure("tapeflow_hole_oldest_seconds", "gauge", "Age of the oldest open hole; 0 without one.",
            _count("oldest_hole_s")),
    Measure("tapeflow_refill_remaining_seconds", "gauge", "About how long the open holes take.", _count("refill_s")),
    Measure("tapeflow_history_waiting", "gauge", "Requests for candles of the past still to be answered.",
            _count("history_waiting")),
    Measure("tapeflow_request_weight_used", "gauge", "Weight of the venue used in this minute.",
            _count("weight_used")),
    Measure("tapeflow_request_weight_limit", "gauge", "Weight a minute that we allow ourselves.",
            _count("weight_limit")),
    Measure("tapeflow_requests_total", "counter", "Requests to the venue.", _count("requests")),
    Measure("tapeflow_requests_refused_total", "counter", "Answers 429 or 418 of the venue.", _count("refused")),
    Measure("tapeflow_requests_blocked_seconds", "gauge", "So long nothing may be asked.", _count("blocked_s")),
    Measure("tapeflow_clock_offset_seconds", "gauge", "Our clock less the venue's: at least so much; 0 while it fits.",
            _at("clock_offset_s")),
)  # fmt: skip

#: Of each connection; label ``connection``, which stays when it is made anew.
OF_CONNECTION = (
    Measure("tapeflow_connection_open", "gauge", "1: it is open.", _is("is_open")),
    Measure("tapeflow_connection_paused", "gauge", "1: not read, the tape is full.", _is("is_paused")),
    Measure("tapeflow_connection_streams", "gauge", "Streams asked for.", _count("streams")),
    Measure("tapeflow_connection_frames", "gauge", "Messages since it was opened.", _count("frames")),
    Measure("tapeflow_connection_silent_seconds", "gauge", "Since anything came.", _at("silent_s")),
    Measure("tapeflow_connection_oldest_stream_seconds", "gauge", "Since the most silent stream brought a message.",
            _at("oldest_stream_s")),
    Measure("tapeflow_connection_data_silent_seconds", "gauge", "Since any stream brought a message.",
            _at("data_silent_s")),
    Measure("tapeflow_connection_overdue_ratio", "gauge", "The silence of the most overdue stream, in its own limit.",
            _at("overdue")),
    Measure("tapeflow_connection_reconnects_total", "counter", "Times it was made anew.", _count("reconnects")),
)  # fmt: skip

OF_ALERTS = (
    Measure("tapeflow_alert_rules", "gauge", "Rules.", _count("alerts.rules")),
    Measure("tapeflow_alert_rules_not_judged", "gauge", "Rules that cannot be judged: `/v1/alerts` says why.",
            _count("alerts.not_judged")),
    Measure("tapeflow_alerts_fired_total", "counter", "Events that fired.", _count("alerts.fired")),
    Measure("tapeflow_alerts_delivered_total", "counter", "Events that a target took.", _count("alerts.delivered")),
    Measure("tapeflow_alerts_failures_total", "counter", "Attempts that a target did not take.",
            _count("alerts.failures")),
    Measure("tapeflow_alerts_failed_total", "counter", "Events given up for a target.", _count("alerts.failed")),
    Measure("tapeflow_alerts_waiting", "gauge", "Events that a target has not taken yet.", _count("alerts.waiting")),
    Measure("tapeflow_alerts_failing", "gauge", "1: the journal of alerts cannot be written.", _is("alerts.problem")),
)  # fmt: skip

OF_HTTP = (
    Measure("tapeflow_http_requests_total", "counter", "Requests to our API.", lambda http: http.requests),
    Measure("tapeflow_http_refused_total", "counter", "Refused: no key, too many, wrong host.", lambda h: h.refused),
    Measure("tapeflow_http_failed_total", "counter", "Answers 5xx.", lambda http: http.failed),
    Measure("tapeflow_stream_connections", "gauge", "Streams open.", lambda http: http.streams),
    Measure("tapeflow_stream_subscriptions", "gauge", "Keys that they follow.", lambda http: http.subscriptions),
    Measure("tapeflow_stream_messages_total", "counter", "Messages sent to them.", lambda http: http.messages),
    Measure("tapeflow_stream_slow_closed_total", "counter", "Streams closed because they were too slow.",
            lambda http: http.slow),
)  # fmt: skip

MEASURES = (*OF_RUN, *OF_CONNECTION, *OF_ALERTS, *OF_HTTP)


def render(status: Status, http: Http | None = None) -> bytes:
    """The text of a scrape.

    >>> b"tapeflow_live 1.0" in render({"is_live": True})
    True
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(status, http or Http()))
    return generate_latest(registry)


def router(status: Callable[[], dict[str, Any]], http: Callable[[], Http] = Http) -> APIRouter:
    """The route ``GET /metrics``."""
    made = APIRouter()

    async def metrics() -> Response:  # so little needs no thread
        return Response(render(status(), http()), media_type=CONTENT_TYPE_LATEST)

    made.add_api_route(
        "/metrics", metrics, methods=["GET"], response_class=Response, summary="How it is doing, for Prometheus"
    )
    return made


class _Scrape(Collector):
    def __init__(self, status: Status, http: Http) -> None:
        self._status = status
        self._http = http

    def collect(self) -> Iterable[Metric]:
        for measure in OF_RUN:
            yield _family(measure, [((), measure.read(self._status))])
        named = [((_slot(str(one["name"])),), one) for one in self._status.get("connections", ())]
        for measure in OF_CONNECTION:
            yield _family(measure, [(labels, measure.read(one)) for labels, one in named], ("connection",))
        for measure in OF_ALERTS:
            yield _family(measure, [((), measure.read(self._status))])
        for measure in OF_HTTP:
            yield _family(measure, [((), measure.read(self._http))])


def _family(
    measure: Measure, samples: Iterable[tuple[tuple[str, ...], float | None]], labels: tuple[str, ...] = ()
) -> Metric:
    make = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    family = make(measure.name, measure.about, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


def _slot(name: str) -> str:
    """The share of the streams that a connection serves: each new connection would else be a new series for ever."""
    return re.sub(r"^(.*-\d+)-\d+$", r"\1", name)
