"""Health: green only where data moves; red only where a person has to do something."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from fastapi import FastAPI

from served import get
from tapeflow.api.health import health, ready, router

GOOD: dict[str, Any] = {
    "is_running": True,
    "is_pipeline_alive": True,
    "is_live": True,
    "position": 1000,
    "played": 1000,
    "committed": 990,
    "lag_ms": 300,
    "holes": 0,
    "oldest_hole_s": 0.0,
    "tape_error": "",
    "store_error": "",
    "tape_waiting_bytes": 0,
    "connections": [
        {"name": "binance-1-1", "is_open": True, "is_paused": False, "silent_s": 0.1, "oldest_stream_s": 2.0,
         "data_silent_s": 0.1, "overdue": 0.2, "problem": ""},
        {"name": "binance-2-1", "is_open": True, "is_paused": False, "silent_s": 0.1, "oldest_stream_s": 2.0,
         "data_silent_s": 0.1, "overdue": 0.2, "problem": ""},
    ],
}  # fmt: skip

DOWN = {"is_open": False, "silent_s": None, "oldest_stream_s": None, "data_silent_s": None, "overdue": None}


def but(of_all: dict[str, Any] | None = None, of_first: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A good status with changes: of the run, of its first connection, of all."""
    status = copy.deepcopy(GOOD) | changes
    for number, one in enumerate(status["connections"]):
        one |= (of_all or {}) | ((of_first or {}) if number == 0 else {})
    return status


TABLE = [
    (but(), "ok", None),
    # a heartbeat goes on, data does not: pings keep silent_s low
    (but({"data_silent_s": 70.0, "silent_s": 0.1, "oldest_stream_s": 70.0}), "failing", "streams"),
    (but(of_first={"data_silent_s": 70.0, "silent_s": 0.1}), "degraded", "streams"),
    # nothing has ever come: no stream has an age yet
    (but({"data_silent_s": 61.0, "oldest_stream_s": 0.0, "overdue": 0.0}), "failing", "streams"),
    (but({"data_silent_s": None, "oldest_stream_s": None}), "failing", "streams"),
    # one stream stands while the others go on
    (but(of_first={"overdue": 1.5, "oldest_stream_s": 30.0}), "degraded", "streams"),
    # a quiet symbol within its rhythm
    (but(of_first={"overdue": 0.6, "oldest_stream_s": 300.0}), "ok", None),
    (but(DOWN), "failing", "connections"),
    (but(of_first=DOWN | {"problem": "refuses your region (HTTP 451)"}), "degraded", "connections"),
    (but(of_first={"is_paused": True}), "degraded", "connections"),
    (but(connections=[]), "failing", "connections"),
    (but(is_live=False, played=10), "degraded", "live"),
    (but(tape_error="No space left on device"), "failing", "tape"),
    (but(tape_waiting_bytes=20 << 20), "degraded", "tape"),
    (but(store_error="disk full"), "failing", "store"),
    (but(played=1_000_000, committed=0), "degraded", "store"),
    (but(lag_ms=8000), "degraded", "lag"),
    (but(lag_ms=90_000), "failing", "lag"),
    (but(lag_ms=90_000, is_live=False), "degraded", "live"),
    (but(is_pipeline_alive=False), "failing", "pipeline"),
    (but(is_running=False), "failing", "pipeline"),
    (but(holes=2, oldest_hole_s=30.0, refill_s=1.0), "ok", None),
    (but(holes=2, oldest_hole_s=700.0), "degraded", "holes"),
    (but(ts=1_700_000_000_000_000), "failing", "pipeline"),
    ({}, "failing", "connections"),
]


@pytest.mark.parametrize(("status", "verdict", "check"), TABLE)
def test_a_status_is_judged(status: dict[str, Any], verdict: str, check: str | None) -> None:
    found = health(status)
    assert found.status == verdict
    assert found.code == (503 if verdict == "failing" else 200)
    bad = {one.name: one for one in found.checks if one.status != "ok"}
    assert (check in bad) if check else not bad
    assert all(len(one.detail) > 20 for one in bad.values())


def test_ready_is_when_results_are_those_of_now() -> None:
    assert ready(but()).code == 200
    assert ready(but(is_live=False)).code == 503
    assert ready(but(is_pipeline_alive=False)).code == 503
    assert ready(but(connections=[])).code == 200  # a venue that is away makes no answer wrong: coverage says so
    assert ready({}).code == 503


def test_the_routes_answer_with_every_check() -> None:
    app = FastAPI()
    status = but()
    app.include_router(router(lambda: status))
    assert get(app, "/healthz").json()["status"] == "ok"
    assert get(app, "/readyz").status == 200
    status["tape_error"] = "No space left on device"
    answer = get(app, "/healthz")
    assert answer.status == 503
    assert answer.headers["cache-control"] == "no-store"
    tape = next(check for check in answer.json()["checks"] if check["name"] == "tape")
    assert tape["status"] == "failing"
    assert "free room" in tape["detail"]
