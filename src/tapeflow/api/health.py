"""``/healthz`` and ``/readyz``: whether a run does its work, judged by what should move and does not.

A connection that answers pings proves nothing: the judge is the stream that has been silent longest against what the
venue sends for it. What cannot be known is not green.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

Status: TypeAlias = Mapping[str, Any]
Verdict: TypeAlias = Literal["ok", "degraded", "failing"]

#: A connection may bring no data for so long. A single stream is judged against its own rhythm: quiet symbols are.
SILENT_S = 60.0
#: A status is told every second; one that is older tells of a loop that hangs, or of a machine that sleeps.
STALE_S = 15.0
#: The pipeline may be behind the tape so far.
LAG_S = 5.0
STUCK_S = 60.0
#: Rows that the store may be behind what was played; it commits every second.
BEHIND = 200_000
#: Bytes that may wait for the tape; at the limit of the settings sockets are not read.
WAITING = 16 << 20
#: A hole may be open so long.
HOLE_S = 600.0

_ORDER: tuple[Verdict, ...] = ("ok", "degraded", "failing")


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at; ``detail`` says what is, and what to do where it is not ``ok``."""

    name: str
    status: Verdict
    detail: str


class Health(msgspec.Struct, frozen=True):
    """The worst of its checks."""

    status: Verdict
    checks: tuple[Check, ...]

    @property
    def code(self) -> int:
        """The HTTP status: 503 only where it does not do its work, so that nobody restarts what heals itself."""
        return 503 if self.status == "failing" else 200


def health(status: Status) -> Health:
    """Judge a status; see `tapeflow.app.run.Run.status` for what is in it."""
    checks = tuple(_checks(status))
    return Health(max((check.status for check in checks), key=_ORDER.index), checks)


def ready(status: Status) -> Health:
    """Whether answers are those of now: the tape was played to its end and the pipeline goes on."""
    return _of(_pipeline(status), _live(status))


def router(status: Callable[[], dict[str, Any]]) -> APIRouter:
    """The routes ``GET /healthz`` and ``GET /readyz``."""
    made = APIRouter()

    async def healthz() -> Response:  # so little needs no thread
        return _answer(health(status()))

    async def readyz() -> Response:
        return _answer(ready(status()))

    made.add_api_route(
        "/healthz", healthz, methods=["GET"], response_class=Response, summary="Whether it does its work"
    )
    made.add_api_route("/readyz", readyz, methods=["GET"], response_class=Response, summary="Whether it is live")
    return made


def _answer(found: Health) -> Response:
    return Response(
        msgspec.json.encode(found),
        status_code=found.code,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _of(*checks: Check) -> Health:
    return Health(max((check.status for check in checks), key=_ORDER.index), checks)


def _checks(status: Status) -> Iterator[Check]:
    yield _pipeline(status)
    yield _live(status, late="degraded")
    yield _connections(status)
    yield _streams(status)
    yield _tape(status)
    yield _store(status)
    yield _lag(status)
    yield _holes(status)


def _pipeline(status: Status) -> Check:
    age = time.time() - status["ts"] / 1e6 if "ts" in status else 0.0
    if age > STALE_S:
        what = (
            f"the feed's loop has not told how it is for {age:.0f} s: it hangs; start `tapeflow run` again, it goes on"
        )
        return Check("pipeline", "failing", what)
    if status.get("is_running") is False or status.get("is_pipeline_alive") is False:
        what = status.get("store_error") or "it ended"
        return Check("pipeline", "failing", f"nothing is computed: {what}; start `tapeflow run` again, it goes on")
    return Check("pipeline", "ok", "computes")


def _live(status: Status, late: Verdict = "failing") -> Check:
    if status.get("is_live"):
        return Check("live", "ok", "in step with the venue")
    played, position = status.get("played", 0), status.get("position", 0)
    return Check("live", late, f"the tape is being played, {played} of {position} records: wait")


def _connections(status: Status) -> Check:
    connections = status.get("connections") or ()
    if not connections:
        return Check("connections", "failing", "none yet: wait, or see with `tapeflow doctor` why none is made")
    closed = [one for one in connections if not one.get("is_open")]
    if not closed:
        paused = sum(bool(one.get("is_paused")) for one in connections)
        if paused:
            return Check("connections", "degraded", f"{paused} are not read because the tape is full: see tape")
        return Check("connections", "ok", f"{len(connections)} open")
    problem = next((one["problem"] for one in closed if one.get("problem")), "being connected again")
    what = f"{len(closed)} of {len(connections)} are down: {problem}; if it stays, run `tapeflow doctor`"
    return Check("connections", "failing" if len(closed) == len(connections) else "degraded", what)


def _streams(status: Status) -> Check:
    opened = [one for one in status.get("connections") or () if one.get("is_open")]
    if not opened:
        return Check("streams", "failing", "no stream is followed: see connections")
    dumb = [one for one in opened if _silence(one) > SILENT_S]
    if dumb:
        what = (
            f"{dumb[0].get('name', '?')} brings nothing for {_silence(dumb[0]):.0f} s, whatever it answers to pings: "
            "see with `tapeflow doctor` whether the venue is reachable"
        )
        return Check("streams", "failing" if len(dumb) == len(opened) else "degraded", what)
    worst = max(opened, key=_overdue)
    age = worst.get("oldest_stream_s") or 0.0
    if _overdue(worst) > 1:
        what = (
            f"a stream of {worst.get('name', '?')} is silent for {age:.0f} s, longer than is its rhythm: another "
            "connection is being tried; if it stays, see whether the venue still trades the symbol"
        )
        return Check("streams", "degraded", what)
    return Check("streams", "ok", f"the most silent one brought something {age:.1f} s ago")


def _silence(one: Status) -> float:
    """Since a connection brought data; pings and acknowledgements are none. Infinite where it is not known."""
    found = one.get("data_silent_s", one.get("oldest_stream_s"))
    return float("inf") if found is None else float(found)


def _overdue(one: Status) -> float:
    """The silence of the oldest stream in its own limit; where that is not known, in `SILENT_S`."""
    found = one.get("overdue")
    return float(found) if found is not None else float(one.get("oldest_stream_s") or 0.0) / SILENT_S


def _tape(status: Status) -> Check:
    waiting = status.get("tape_waiting_bytes", 0)
    if status.get("tape_error"):
        what = f"{status['tape_error']}; free room or mend the disk, {waiting} bytes wait in memory meanwhile"
        return Check("tape", "failing", what)
    if waiting > WAITING:
        return Check("tape", "degraded", f"{waiting} bytes wait: the disk is slow, see `tapeflow doctor`")
    return Check("tape", "ok", f"{waiting} bytes wait")


def _store(status: Status) -> Check:
    if status.get("store_error"):
        what = f"{status['store_error']}; free room or mend the disk, the tape has what is missing"
        return Check("store", "failing", what)
    behind = status.get("played", 0) - status.get("committed", 0)
    if behind > BEHIND:
        return Check("store", "degraded", f"{behind} records behind: the disk is slow, see `tapeflow doctor`")
    return Check("store", "ok", f"{max(0, behind)} records behind")


def _lag(status: Status) -> Check:
    lag = (status.get("lag_ms") or 0) / 1000
    if not status.get("is_live") or lag <= LAG_S:
        return Check("lag", "ok", f"{lag:.1f} s")
    what = f"rows are {lag:.0f} s behind the messages: fewer symbols or indicators, or a faster machine"
    return Check("lag", "failing" if lag > STUCK_S else "degraded", what)


def _holes(status: Status) -> Check:
    number, oldest = status.get("holes", 0), status.get("oldest_hole_s") or 0.0
    if oldest > HOLE_S:
        what = f"{number} open, the oldest for {oldest:.0f} s: the venue does not answer; coverage names them"
        return Check("holes", "degraded", what)
    return Check("holes", "ok", f"{number} open" + (f", about {status.get('refill_s', 0)} s to fill" if number else ""))
