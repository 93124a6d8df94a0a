"""Metrics: what is exposed parses, begins at zero, follows the naming rules, and is all that rules and panels name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from served import get
from tapeflow.api.metrics import MEASURES, OF_CONNECTION, OF_HTTP, OF_RUN, Http, render, router

ROOT = Path(__file__).resolve().parents[3]
NAMES = {measure.name for measure in MEASURES}

STATUS: dict[str, Any] = {
    "uptime_s": 12.5,
    "is_live": True,
    "position": 1000,
    "played": 990,
    "committed": 980,
    "lag_ms": 250,
    "rows": 77,
    "symbols": 2,
    "holes": 1,
    "oldest_hole_s": 3.5,
    "tape_error": "",
    "store_error": "disk full",
    "tape_waiting_bytes": 4096,
    "tape": {"records": 1000, "bytes": 5, "commits": 3, "syncs": 2, "slowest_commit_ms": 8.0, "failures": 1},
    "counts": {"frames": 900, "events": 800, "duplicates": 7, "late": 6, "quarantined": 5, "gaps": 3},
    "connections": [
        {"name": "binance-1-3", "is_open": True, "streams": 4, "silent_s": 0.1, "reconnects": 2},
        {"name": "binance-2", "is_open": False, "streams": 4, "silent_s": None, "reconnects": 9},
    ],
    "weight_used": 100,
    "weight_limit": 5400,
    "refused": 1,
    "holes_filled": 8,
    "holes_given_up": 2,
    "clock_offset_s": -0.7,
}  # fmt: skip


def samples(status: dict[str, Any], http: Http | None = None) -> dict[tuple[str, str], float]:
    """The value of each (name, connection) of a scrape."""
    return {
        (sample.name, sample.labels.get("connection", "")): sample.value
        for family in text_string_to_metric_families(render(status, http).decode())
        for sample in family.samples
    }


def test_what_a_run_knows_is_exposed_in_base_units() -> None:
    found = samples(STATUS, Http(requests=5, streams=2))
    assert found["tapeflow_lag_seconds", ""] == 0.25
    assert found["tapeflow_tape_slowest_commit_seconds", ""] == 0.008
    assert found["tapeflow_clock_offset_seconds", ""] == -0.7
    assert (found["tapeflow_tape_failing", ""], found["tapeflow_store_failing", ""]) == (0, 1)
    assert found["tapeflow_quarantined_total", ""] == 5
    assert (found["tapeflow_http_requests_total", ""], found["tapeflow_stream_connections", ""]) == (5, 2)


def test_a_connection_keeps_its_label_when_it_is_made_anew() -> None:
    found = samples(STATUS)
    assert found["tapeflow_connection_reconnects_total", "binance-1"] == 2
    assert found["tapeflow_connection_open", "binance-2"] == 0
    assert ("tapeflow_connection_silent_seconds", "binance-2") not in found


def test_counters_are_there_from_the_beginning_at_zero() -> None:
    found = samples({})
    counters = [one.name for one in (*OF_RUN, *OF_HTTP) if one.kind == "counter"]
    assert len(counters) > 15
    assert all(found[name, ""] == 0 for name in counters)
    assert ("tapeflow_lag_seconds", "") not in found


def test_names_follow_the_rules_and_types_are_told() -> None:
    families = {family.name: family for family in text_string_to_metric_families(render(STATUS).decode())}
    for one in MEASURES:
        assert re.fullmatch(r"tapeflow(_[a-z]+)+", one.name)
        assert one.name.endswith("_total") == (one.kind == "counter"), one.name
        family = families[one.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (one.kind, one.about)
    assert len(NAMES) == len(MEASURES)
    assert not [one.name for one in OF_CONNECTION if not one.name.startswith("tapeflow_connection_")]


def test_every_metric_is_documented_and_no_other() -> None:
    shown = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(tapeflow_\w+)` \|", shown, re.MULTILINE)) == NAMES


def test_the_route_serves_the_text_of_now() -> None:
    app = FastAPI()
    status: dict[str, Any] = {"is_live": False}
    app.include_router(router(lambda: status))
    assert "tapeflow_live 0.0" in get(app, "/metrics").text
    status["is_live"] = True
    answer = get(app, "/metrics")
    assert "tapeflow_live 1.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")


# -- rules and panels -------------------------------------------------------------------------------------


def named(expression: str) -> set[str]:
    """The metrics that a PromQL expression names."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", expression)
    return set(re.findall(r"\b[a-z]\w*\b(?!\s*\()", bare)) - {"or", "and", "unless", "by", "up", "job", "instance"}


def test_rules_parse_and_name_only_metrics_that_are_exposed() -> None:
    read = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8"))
    rules = [rule for group in read["groups"] for rule in group["rules"]]
    assert len(rules) >= 12
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert named(rule["expr"]) <= NAMES, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert is_balanced(rule["expr"])


def test_panels_parse_and_name_only_metrics_that_are_exposed() -> None:
    read = json.loads((ROOT / "deploy" / "grafana" / "tapeflow.json").read_text("utf-8"))
    rows = [panel["title"] for panel in read["panels"] if panel["type"] == "row"]
    assert rows == ["Health", "Feed", "Tape", "Store", "API and stream"]
    assert len({panel["id"] for panel in read["panels"]}) == len(read["panels"])
    shown: set[str] = set()
    for panel in read["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert named(target["expr"])
            assert named(target["expr"]) <= NAMES, panel["title"]
            assert is_balanced(target["expr"])
            shown |= named(target["expr"])
    assert len(shown) > 30
    assert "datasource" in {variable["name"] for variable in read["templating"]["list"]}


@pytest.mark.parametrize("expression", ["rate(tapeflow_x_total[5m]) > 0", 'sum(tapeflow_x_total{a="b"})'])
def test_the_reader_of_expressions_sees_names(expression: str) -> None:
    assert named(expression) == {"tapeflow_x_total"}


def is_balanced(expression: str) -> bool:
    return all(expression.count(left) == expression.count(right) for left, right in ("()", "[]", "{}"))
