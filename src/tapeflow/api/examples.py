"""Lines to paste: for the running instance, address and symbol filled in, each tried as it stands by a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec
from starlette.requests import Request

from tapeflow.api.limits import Limits
from tapeflow.api.source import Source

#: Where examples find the key that they need: nobody pastes one into a line that a history keeps.
KEY = "TAPEFLOW_API_KEY"

_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


class Example(msgspec.Struct, frozen=True):
    """``kind`` is what reads ``text``: a shell, Python, or `/v1/sql` and `tapeflow query`."""

    title: str
    kind: Literal["sh", "python", "sql"]
    text: str


class _About(msgspec.Struct, frozen=True):
    """What examples are filled in with."""

    address: str
    symbol: str
    interval: str
    needs_key: bool

    def url(self, path: str, **params: str | int) -> str:
        query = "&".join(f"{name}={value}" for name, value in params.items())
        return f"{self.address}{path}" + (f"?{query}" if query else "")

    def curl(self, url: str, more: str = "") -> str:
        key = f' -H "Authorization: Bearer ${KEY}"' if self.needs_key else ""
        return f"curl -sS{key} '{url}'{more}"


def address(request: Request) -> str:
    """Where the client found us, such as ``http://127.0.0.1:8600``; what it says of itself is not believed blindly."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        name, port = request.scope.get("server") or ("127.0.0.1", 80)
        host = f"{name}:{port}"
    return f"{request.url.scheme}://{host}"


def examples(source: Source, limits: Limits, at: str) -> list[Example]:
    """The examples that work here: of channels that are kept, with what is switched on."""
    about = _About(at, symbol(source), _interval(source), limits.needs_key)
    has_candles = "candles" in source.channels
    sql = _sql(about) if has_candles and limits.has_sql else ()
    return [*_rest(source, about), *sql, *(_live(about) if has_candles else ())]


def symbol(source: Source) -> str:
    """The symbol that is shown: the first that is followed."""
    rows = source.symbols()
    followed = [str(row["symbol"]) for row in rows if row.get("status") != "not_followed"]
    named = [name for name in followed if re.fullmatch(r"[A-Za-z0-9:._-]+", name)]
    return "BTCUSDT" if "BTCUSDT" in named or not named else named[0]


def _interval(source: Source) -> str:
    return "1m" if "1m" in source.intervals or not source.intervals else source.intervals[0]


def _rest(source: Source, about: _About) -> Iterator[Example]:
    pair: dict[str, str | int] = {"symbol": about.symbol, "interval": about.interval}
    yield Example("What is followed", "sh", about.curl(about.url("/v1/symbols")))
    if "candles" in source.channels:
        yield Example("The last candles", "sh", about.curl(about.url("/v1/candles", **pair, limit=5)))
        csv = about.curl(about.url("/v1/candles", **pair, limit=1000, format="csv"), " -o candles.csv")
        yield Example("A thousand of them as CSV", "sh", csv)
        yield Example("The same in Python, without any package", "python", _python(about, pair))
    if "indicators" in source.channels:
        yield Example("Indicators", "sh", about.curl(about.url("/v1/indicators", **pair, limit=5)))
    if "quotes" in source.channels:
        yield Example("Best bid and ask", "sh", about.curl(about.url("/v1/quotes/latest", symbol=about.symbol)))
    if "coverage" in source.channels:
        whole = about.curl(about.url("/v1/coverage", symbol=about.symbol))
        yield Example("What was seen, and what is missing", "sh", whole)


def _python(about: _About, pair: dict[str, str | int]) -> str:
    url = about.url("/v1/candles", **pair, limit=5)
    if not about.needs_key:
        ask = f'with urllib.request.urlopen("{url}") as answer:'
        return f'import json, urllib.request\n\n{ask}\n    for row in json.load(answer)["data"]:\n        {_SHOW}'
    return (
        "import json, os, urllib.request\n\n"
        f'key = {{"Authorization": "Bearer " + os.environ["{KEY}"]}}\n'
        f'with urllib.request.urlopen(urllib.request.Request("{url}", headers=key)) as answer:\n'
        f'    for row in json.load(answer)["data"]:\n        {_SHOW}'
    )


_SHOW = 'print(row["ts_start"], row["open"], row["high"], row["low"], row["close"], row["volume"])'


def _sql(about: _About) -> Iterator[Example]:
    of = f"symbol = '{about.symbol}' AND interval = '{about.interval}'"
    last = f"SELECT ts_start, open, high, low, close, volume FROM candles\nWHERE {of} ORDER BY ts_start DESC LIMIT 10"
    daily = (
        "SELECT symbol, date_trunc('day', ts_start) AS day, min(low) AS low, max(high) AS high, "
        "sum(volume) AS volume\nFROM candles WHERE interval = '1h' GROUP BY 1, 2 ORDER BY 1, 2"
    )
    yield Example("SQL: the last candles", "sql", last)
    yield Example("SQL: ranges and volumes day by day", "sql", daily)
    counts = "SELECT symbol, count(*) AS candles FROM candles GROUP BY symbol ORDER BY symbol"
    yield Example("SQL with curl", "sh", about.curl(about.url("/v1/sql"), f' --data-binary "{counts}"'))


def _live(about: _About) -> Iterator[Example]:
    """What comes as it is made, by the client and by the stream; each ends after some rows."""
    of = f'"candles", symbol="{about.symbol}", interval="1s"'
    key, load = (f', key=os.environ["{KEY}"]', "import os\n") if about.needs_key else ("", "")
    connect = f'tf.connect("{about.address}"{key})'
    yield Example(
        "Live candles in Python, none lost over interruptions",
        "python",
        f"{load}from itertools import islice\n\nimport tapeflow as tf\n\nclient = {connect}\n"
        f'for row in islice(client.channel({of}), 5):\n    print(row["ts_start"], row["close"], row["volume"])',
    )
    yield Example(
        "The past as a table (Arrow; .polars() and .pandas() as well)",
        "python",
        f"{load}import tapeflow as tf\n\nclient = {connect}\n"
        f'print(client.history("candles", symbol="{about.symbol}", interval="{about.interval}", limit=1000).arrow())',
    )
    yield Example("The stream by WebSocket, with aiohttp", "python", _websocket(about))


def _websocket(about: _About) -> str:
    url = about.url("/v1/stream").replace("http", "ws", 1)
    load, key = "", ""
    if about.needs_key:
        load, key = "import os\n", f', headers={{"Authorization": "Bearer " + os.environ["{KEY}"]}}'
    params = f'{{"channel": "candles", "symbols": ["{about.symbol}"], "interval": "1s"}}'
    return (
        f"import asyncio\n{load}\nimport aiohttp\n\n\nasync def main():\n"
        f'    async with aiohttp.ClientSession() as session, session.ws_connect("{url}"{key}) as stream:\n'
        f'        await stream.send_json({{"method": "subscribe", "params": {params}, "req_id": 1}})\n'
        "        for _ in range(5):\n            print(await stream.receive_json())\n\n\nasyncio.run(main())"
    )
