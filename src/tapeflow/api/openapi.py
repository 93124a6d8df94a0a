"""The OpenAPI document: written from the same values as the routes, with an example of every parameter and answer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from tapeflow import indicators
from tapeflow._version import version
from tapeflow.api import symbols
from tapeflow.api.alerts import described as alerts
from tapeflow.api.formats import ARROW, CSV, JSON, NDJSON, PARQUET
from tapeflow.api.limits import Limits
from tapeflow.api.page import About
from tapeflow.api.problem import MEDIA
from tapeflow.api.resources import BOOK, DEPTH, FORMAT, LATEST_QUOTE, RESOURCES, SYMBOL, VENUE, Param, Q
from tapeflow.api.studies import Catalogue
from tapeflow.stores.channels import CHANNELS, Channel, Kind

_TS = 1_767_225_600_000_000
_KINDS: dict[Kind, tuple[dict[str, Any], Any]] = {
    "text": ({"type": ["string", "null"]}, "text"),
    "id": ({"type": ["string", "null"], "pattern": "^[0-9]+$"}, "1234567"),
    "int": ({"type": "integer"}, 3),
    "float": ({"type": ["number", "null"]}, 64123.45),
    "bool": ({"type": "boolean"}, True),
    "bytes": ({"type": "string", "contentEncoding": "base64"}, "e30="),
    "time": ({"type": ["integer", "null"], "description": "Microseconds since 1970 UTC."}, _TS),
    "price": ({"$ref": "#/components/schemas/Exact"}, "64123.45"),
    "size": ({"$ref": "#/components/schemas/Exact"}, "0.015"),
    "quote": ({"$ref": "#/components/schemas/Exact"}, "961.85175"),
    "levels": (
        {"type": "array", "items": {"type": "array", "items": {"$ref": "#/components/schemas/Exact"}}},
        [["64123.45", "0.015"]],
    ),
    "values": ({"type": "object", "additionalProperties": {"type": ["number", "null"]}}, {"sma": 64123.45}),
}
_EXAMPLES: dict[str, Any] = {
    "venue": "binance",
    "symbol": "BTCUSDT",
    "interval": "1s",
    "side": "buy",
    "source": "trades",
    "name": "sma_20",
    "stream": "trades",
    "state": "complete",
    "reason": None,
    "guarantee": "sequence",
    "ts_end": _TS + 1_000_000,
    "window_ms": 3000,
    "slide_ms": 500,
    "revision": 0,
}
_EXACT = {
    "type": ["string", "null"],
    "pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$",
    "description": "An exact decimal, canonical: no exponent, no needless zeros.",
}


@lru_cache
@lru_cache(4)
def document(limits: Limits) -> bytes:
    """The document, as JSON."""
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Tapeflow",
                "version": version(),
                "description": "Live market analytics. Times: microseconds since 1970 UTC; exact: decimal texts.",
            },
            "servers": [{"url": "/"}],
            "paths": _paths(limits),
            "components": {"schemas": _schemas(), "securitySchemes": _SECURITY},
            "security": _ANY,
        }
    )


_ANY: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"key": []}]
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `tapeflow key create`: tf_..."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def _paths(limits: Limits) -> dict[str, Any]:
    paths = {
        resource.path: {
            "get": _operation(
                resource.summary, resource.params, _page(CHANNELS[resource.channel]), limits, resource.channel
            )
        }
        for resource in RESOURCES
    }
    symbol = Param("symbol", SYMBOL.description, example=SYMBOL.example, is_required=True)
    for latest, params in ((LATEST_QUOTE, (VENUE, symbol, FORMAT)), (BOOK, (VENUE, symbol, DEPTH, FORMAT))):
        paths[latest.path] = {
            "get": _operation(latest.summary, params, _page(CHANNELS[latest.channel]), limits, latest.channel)
        }
    alone = Param("symbol", SYMBOL.description, example=SYMBOL.example)
    paths["/v1/symbols"] = {
        "get": _operation("What is followed, and what its numbers mean.", (VENUE, alone, FORMAT), _SYMBOLS, limits),
        "post": _changed("Follow a symbol from now on, also after a restart.") | {"requestBody": _WANTED},
    }
    paths[symbols.PATH] = {"get": _listed(limits)}
    gone = {"name": "symbol", "in": "path", "required": True, "schema": {"type": "string"}, "example": "SOLUSDT"}
    paths["/v1/symbols/{symbol}"] = {
        "delete": _changed("Follow a symbol no more.") | {"parameters": [gone, _parameter(VENUE, limits)]}
    }
    shown = {"title": "What is followed", "kind": "sh", "text": "curl -sS 'http://127.0.0.1:8600/v1/symbols'"}
    paths["/v1/examples"] = {"get": _plain("Lines to paste, for this instance.", [shown]) | {"security": _ANY}}
    about = _plain("What is served here.", _ABOUT) | {"security": _ANY}
    about["responses"]["200"]["content"][JSON]["schema"] = {"$ref": "#/components/schemas/About"}
    paths["/v1/about"] = {"get": about}
    catalogue = _plain("The kinds of indicators there are, with their parameters.", _CATALOGUE) | {"security": _ANY}
    catalogue["responses"]["200"]["content"][JSON]["schema"] = {"$ref": "#/components/schemas/Catalogue"}
    paths["/v1/catalogue"] = {"get": catalogue}
    paths["/v1/sql"] = _sql(limits)
    if limits.has_alerts:
        paths |= alerts.paths(_PROBLEM)
    check = {"status": "ok", "checks": [{"name": "pipeline", "status": "ok", "detail": "0 records behind"}]}
    paths["/healthz"] = {"get": _plain("Whether the run does its work.", check)}
    paths["/readyz"] = {"get": _plain("Whether answers are those of now.", check)}
    paths["/metrics"] = {"get": _plain("How the run is doing, for Prometheus.", "tapeflow_up 1\n", "text/plain")}
    paths["/openapi.json"] = {"get": _plain("This document.", {"openapi": "3.1.0"})}
    return paths


def _changed(summary: str) -> dict[str, Any]:
    """An operation that answers with the symbol's row, if there still is one."""
    answer = {"description": "The symbol.", "content": {JSON: {"schema": _envelope("", _SYMBOLS), "example": _SYMBOLS}}}
    return {"summary": summary, "responses": {"200": answer, "default": _PROBLEM}}


def _listed(limits: Limits) -> dict[str, Any]:
    made = _plain("What the venue lists, by a part of the name.", _LISTED) | {"security": _ANY}
    made["responses"]["200"]["content"][JSON]["schema"] = {"$ref": "#/components/schemas/Listing"}
    made["parameters"] = [_parameter(param, limits) for param in symbols.PARAMS]
    limit = next(param for param in made["parameters"] if param["name"] == "limit")
    limit["schema"] |= {"maximum": symbols.MOST, "default": symbols.LIMIT}
    return made


_LISTED = msgspec.to_builtins(symbols.Listing([symbols.Listed("binance", "SOLUSDT", "TRADING", is_followed=False)]))
_WANTED = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["symbol"],
                "properties": {"symbol": {"type": "string"}, "venue": {"type": ["string", "null"]}},
                "additionalProperties": False,
            },
            "example": {"symbol": "SOLUSDT"},
        }
    },
}


def _operation(
    summary: str, params: tuple[Param, ...], example: Any, limits: Limits, channel: str = ""
) -> dict[str, Any]:
    schema = _envelope(channel, example)
    rows = {"schema": {"type": "string"}}
    content: dict[str, Any] = {JSON: {"schema": schema, "example": example}}
    content |= {NDJSON: rows, CSV: rows}
    content |= {media: {"schema": {"type": "string", "format": "binary"}} for media in (ARROW, PARQUET)}
    return {
        "summary": summary,
        "parameters": [_parameter(param, limits) for param in params],
        "responses": {
            "200": {
                "description": "The rows.",
                "content": content,
                "headers": {"ETag": {"schema": {"type": "string"}}},
            },
            "304": {"description": "Nothing has changed since the `If-None-Match` given."},
            "default": _PROBLEM,
        },
    }


def _envelope(channel: str, example: dict[str, Any]) -> dict[str, Any]:
    item = {"$ref": f"#/components/schemas/{channel}"} if channel else {"type": "object"}
    return {
        "type": "object",
        "required": list(example),
        "properties": {
            "data": {"type": "array", "items": item},
            "next": {"type": ["string", "null"]},
            "coverage": {"$ref": "#/components/schemas/Coverage"},
            "ts_watermark": {"type": ["integer", "null"]},
        },
    }


def _parameter(param: Param, limits: Limits) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {"int": {"type": "integer"}, "flag": {"type": "boolean"}}
    schema: dict[str, Any] = dict(kinds.get(param.kind, {"type": "string"}))
    if param.name == "limit":
        schema |= {"minimum": 1, "maximum": limits.rows_most, "default": limits.rows}
    elif param.name == "depth":
        schema |= {"minimum": 1, "maximum": 5000, "default": 20}
    elif param.kind == "int":
        schema |= {"minimum": 0, "maximum": 10**18 - 1}
    if param.choices:
        schema["enum"] = list(param.choices)
    made: dict[str, Any] = {"name": param.name, "in": "query", "description": param.description, "schema": schema}
    if param.is_required:
        made["required"] = True
    if param.example:
        made["example"] = int(param.example) if param.kind == "int" else param.example
    return made


def _page(channel: Channel) -> dict[str, Any]:
    return {
        "data": [_row(channel)],
        "next": None,
        "coverage": {"complete": True, "gaps": [], "guarantee": "sequence"},
        "ts_watermark": _TS + 5_000_000,
    }


def _row(channel: Channel) -> dict[str, Any]:
    return {name: _EXAMPLES.get(name, _KINDS[kind][1]) for name, kind in channel.fields}


def _schemas() -> dict[str, Any]:
    span = {name: {"type": "integer"} for name in ("ts_start", "ts_end")} | {"reason": {"type": "string"}}
    coverage = {
        "complete": {"type": "boolean"},
        "gaps": {"type": "array", "items": {"type": "object", "properties": span}},
        "guarantee": {"type": "string", "examples": ["sequence", "none"]},
    }
    problem: dict[str, Any] = {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}}
    problem |= {"detail": {"type": "string"}, "nearest": {"type": "array", "items": {"type": "string"}}}
    channels = {resource.channel for resource in (*RESOURCES, BOOK)}
    return {
        "Exact": _EXACT,
        "Coverage": {"type": "object", "properties": coverage},
        "Problem": {"type": "object", "properties": problem, "required": ["type", "title", "status", "detail"]},
        **{name: _schema(CHANNELS[name]) for name in sorted(channels)},
        **msgspec.json.schema_components(
            [About, Catalogue, symbols.Listing], ref_template="#/components/schemas/{name}"
        )[1],
        **alerts.schemas(),
    }


def _schema(channel: Channel) -> dict[str, Any]:
    return {"type": "object", "properties": {name: _KINDS[kind][0] for name, kind in channel.fields}}


_PROBLEM = {
    "description": "A problem (RFC 9457): its `detail` says what to do.",
    "content": {
        MEDIA: {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "example": {
                "type": "urn:tapeflow:problem:unknown_symbol",
                "title": "Unknown symbol",
                "status": 404,
                "detail": "no symbol 'BTCUSD'; did you mean BTCUSDT?",
                "nearest": ["BTCUSDT"],
            },
        }
    },
}
_ABOUT = {
    "version": "0.1.0",
    "venue": "binance",
    "channels": ["trades", "candles"],
    "intervals": ["1s", "1m"],
    "indicators": ["sma_20", "rsi_14"],
    "timezone": "UTC",
    "has_sql": True,
    "has_alerts": True,
    "needs_key": False,
}
_CATALOGUE = msgspec.to_builtins(Catalogue(indicators.catalogue()[:1]))
_SYMBOLS = {
    "data": [
        {
            "venue": "binance",
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "size_unit": "BTC",
            "tick": "0.01",
            "step": "0.00001",
            "lot": "1",
            "multiplier": "1",
            "valid_from": _TS,
        }
    ],
    "next": None,
    "coverage": {"complete": True, "gaps": [], "guarantee": "none"},
    "ts_watermark": None,
}


def _sql(limits: Limits) -> dict[str, Any]:
    example = {"data": [{"n": 3}], "next": None, "truncated": False}
    get = _operation("The rows of one statement that reads.", (Q, FORMAT), example, limits)
    get["responses"]["200"]["content"][JSON]["schema"] = {
        "type": "object",
        "properties": {"data": {"type": "array"}, "next": {"type": "null"}, "truncated": {"type": "boolean"}},
    }
    post = get | {"parameters": [_parameter(FORMAT, limits)], "summary": "The same, the statement as body."}
    post["requestBody"] = {
        "required": True,
        "content": {"text/plain": {"schema": {"type": "string"}, "example": Q.example}},
    }
    return {"get": get, "post": post}


def _type_of(example: Any) -> str:
    if isinstance(example, list):
        return "array"
    return "object" if isinstance(example, dict) else "string"


def _plain(summary: str, example: Any, media: str = JSON) -> dict[str, Any]:
    content = {media: {"schema": {"type": _type_of(example)}, "example": example}}
    return {
        "summary": summary,
        "security": [{}],
        "responses": {"200": {"description": summary, "content": content}, "default": _PROBLEM},
    }
