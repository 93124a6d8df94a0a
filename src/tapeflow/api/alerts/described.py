"""The paths of alerts as the OpenAPI document has them; the form of a rule is read from the structs themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from tapeflow.api.alerts.journal import Delivery
from tapeflow.api.alerts.rules import Draft, Rule, about, shown
from tapeflow.api.formats import JSON

PATH = "/v1/alerts"
EXAMPLE = {
    "name": "BTC at 70k",
    "when": {"kind": "price", "symbol": "BTCUSDT", "crosses": "above", "level": "70000"},
    "targets": [{"type": "webhook", "name": "ops", "url": "https://hooks.example.org/tapeflow", "secret": "s3cret"}],
}
_ID = "9f86d081aa"
_DELIVERED = msgspec.to_builtins(Delivery("delivered", 1, ts=1_767_225_600_100_000)) | {"target": "ops"}
_EVENT = {
    "id": f"{_ID}.trades.BTCUSDT.1234567",
    "rule": _ID,
    "ts": 1_767_225_600_000_000,
    "symbol": "BTCUSDT",
    "value": "70000.01",
    "level": "70000",
    "text": "BTCUSDT 70000.01 crossed above 70000",
    "name": "BTC at 70k",
    "ts_fired": 1_767_225_600_050_000,
    "deliveries": [_DELIVERED],
}
_WATCHED = msgspec.json.decode(b'{"state":"watching"}')
_TRIED = {"target": "ops", "delivered": True, "error": "", "ms": 41, "event": f"{_ID}.test.1767225600000000"}


def schemas() -> dict[str, Any]:
    """The form of what a client sends, by names of our own."""
    _, found = msgspec.json.schema_components([Draft], ref_template="#/components/schemas/Alert{name}")
    return {f"Alert{name}": schema for name, schema in found.items()}


def paths(problem: dict[str, Any]) -> dict[str, Any]:
    """The paths; ``problem`` describes every other answer."""
    row = _row()
    body = {
        "required": True,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/AlertDraft"}, "example": EXAMPLE}},
    }
    nothing = {"required": True, "content": {JSON: {"schema": {"type": "object", "maxProperties": 0}, "example": {}}}}
    query = [
        {"name": "rule", "in": "query", "description": "Only of this rule.", "schema": {"type": "string"}},
        {
            "name": "limit",
            "in": "query",
            "description": "At most so many, the newest.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
        },
    ]
    of_one = {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}

    def operation(summary: str, example: Any, status: str = "200", **more: Any) -> dict[str, Any]:
        content = {JSON: {"schema": {"type": "object"}, "example": example}}
        responses = {status: {"description": summary, "content": content}, "default": problem}
        return {"summary": summary, "responses": responses, **more}

    return {
        PATH: {
            "get": operation("The alert rules; of addresses and secrets only what may be seen.", _listed(row)),
            "post": operation("Keep a rule.", row, "201", requestBody=body),
        },
        f"{PATH}/{{id}}": of_one
        | {
            "get": operation("A rule.", row),
            "put": operation("Replace a rule, which begins anew.", row, requestBody=body),
            "delete": operation("Remove a rule.", row),
        },
        f"{PATH}/{{id}}/test": of_one
        | {"post": operation("Tell its targets of what did not happen.", _listed(_TRIED), requestBody=nothing)},
        f"{PATH}/events": {"get": operation("What fired, and what became of it.", _listed(_EVENT), parameters=query)},
    }


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    return {"data": [row], "next": None}


def _row() -> dict[str, Any]:
    rule = msgspec.convert({"id": _ID, **EXAMPLE}, Rule)
    return {**shown(rule), "about": about(rule.when), **_WATCHED}
