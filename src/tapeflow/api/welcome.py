"""The first page: what can be asked, with lines to paste. Made from the routes; no script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

from tapeflow.api.resources import BOOK, LATEST_QUOTE, RESOURCES, Resource

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
}

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}pre{overflow:auto;padding:.75rem;border:1px solid #8886;border-radius:.4rem}code{font-size:.9em}"
    "td{padding:.15rem 1rem .15rem 0;vertical-align:top}"
)
_PYTHON = """import json, urllib.request
with urllib.request.urlopen("http://HOST/v1/candles?symbol=BTCUSDT&interval=1m&limit=5") as answer:
    print(json.load(answer)["data"])"""
_SQL = "SELECT ts_start, open, high, low, close FROM candles WHERE interval = '1m' ORDER BY ts_start DESC LIMIT 5"


def page(venue: str) -> bytes:
    """The page, as HTML."""
    rows = "".join(_row(resource) for resource in (*RESOURCES, LATEST_QUOTE, BOOK))
    curl = "curl 'http://HOST/v1/candles?symbol=BTCUSDT&interval=1m&limit=5'"
    sql = f'curl http://HOST/v1/sql --data-binary "{_SQL}"'
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Tapeflow</title><style>{_STYLE}</style><h1>Tapeflow</h1>"
        f"<p>Following <b>{escape(venue)}</b>. <a href='/v1/symbols'>Symbols</a>, <a href='/openapi.json'>OpenAPI</a>, "
        "<a href='/readyz'>readiness</a>. In these lines HOST is the address of this page.</p>"
        f"<h2>curl</h2><pre>{escape(curl)}</pre><h2>Python</h2><pre>{escape(_PYTHON)}</pre>"
        f"<h2>SQL</h2><pre>{escape(sql)}</pre><h2>Paths</h2><table>{rows}</table></html>"
    ).encode()


def _row(resource: Resource) -> str:
    examples = {param.name: param.example for param in resource.params if param.is_required}
    examples = {"symbol": "BTCUSDT"} | examples
    link = escape(f"{resource.path}?{urlencode(examples)}")
    return f"<tr><td><a href='{link}'><code>{link}</code></a><td>{escape(resource.summary)}"
