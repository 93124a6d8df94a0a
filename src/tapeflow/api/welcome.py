"""The first page: how the run is doing, and lines to paste. Made from the routes; no script, nothing from elsewhere."""

from __future__ import annotations

import time
from html import escape
from typing import Any
from urllib.parse import urlencode

from tapeflow.api.examples import Example, examples, symbol
from tapeflow.api.limits import Limits
from tapeflow.api.resources import BOOK, LATEST_QUOTE, RESOURCES, Resource
from tapeflow.api.source import Source

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}pre{overflow:auto;padding:.75rem;border:1px solid #8886;border-radius:.4rem}code{font-size:.9em}"
    "td,th{padding:.15rem 1rem .15rem 0;vertical-align:top;text-align:left}h3{margin:1.2rem 0 .2rem;font-size:1rem}"
)
#: Symbols in the table at most.
_SHOWN = 50


def page(source: Source, limits: Limits, address: str) -> bytes:
    """The page, as HTML; what only those with a key may know is left out where keys are needed."""
    shown = symbol(source)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Tapeflow</title><style>{_STYLE}</style><h1>Tapeflow</h1>",
        "<p>A key is needed here: <code>tapeflow key create NAME</code> makes one.</p>"
        if limits.needs_key
        else _state(source),
        "<p><a href='/v1/symbols'>Symbols</a> · <a href='/readyz'>readiness</a> · <a href='/metrics'>metrics</a> · "
        "<a href='/openapi.json'>OpenAPI</a> · <a href='/v1/examples'>these examples as JSON</a></p>",
        "<h2>Try it</h2>",
        *(_example(one) for one in examples(source, limits, address)),
        "<h2>Paths</h2><table>",
        *(_row(resource, shown) for resource in (*RESOURCES, LATEST_QUOTE, BOOK)),
        "</table></html>",
    ]
    return "".join(parts).encode()


def _state(source: Source) -> str:
    """How it is doing, in a line and a table of what is followed."""
    status = source.status()
    rows = [row for row in source.symbols() if row.get("status") != "not_followed"]
    words = [f"Following <b>{len(rows)}</b> symbols of <b>{escape(source.venue)}</b>"]
    words.append("live" if status.get("is_live") else "catching up")
    if "uptime_s" in status:
        words.append(f"up for {_span(float(status['uptime_s']))}")
    if status.get("holes"):
        words.append(f"{status['holes']} holes are being filled")
    cells = "".join(_symbol(source, row) for row in rows[:_SHOWN])
    head = "<tr><th>symbol<th>status<th>trades complete up to<th>candles"
    return f"<p>{', '.join(words)}.</p><table>{head}{cells}</table>"


def _symbol(source: Source, row: dict[str, Any]) -> str:
    name = str(row["symbol"])
    mark = source.watermark(name)
    age = "nothing yet" if mark is None else f"{_span(max(0.0, time.time() - mark / 1e6))} ago"
    links = " ".join(
        f"<a href='/v1/candles?{escape(urlencode({'symbol': name, 'interval': one, 'limit': 100}))}'>{escape(one)}</a>"
        for one in source.intervals
    )
    return f"<tr><td>{escape(name)}<td>{escape(str(row.get('status', '')))}<td>{age}<td>{links}"


def _span(seconds: float) -> str:
    """About how long, for people.

    >>> _span(3.24), _span(75), _span(7300)
    ('3.2 s', '1 min', '2 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _example(one: Example) -> str:
    return f"<h3>{escape(one.title)}</h3><pre><code>{escape(one.text)}</code></pre>"


def _row(resource: Resource, shown: str) -> str:
    given = {param.name: param.example for param in resource.params if param.is_required} | {"symbol": shown}
    link = escape(f"{resource.path}?{urlencode(given)}")
    return f"<tr><td><a href='{link}'><code>{link}</code></a><td>{escape(resource.summary)}"
