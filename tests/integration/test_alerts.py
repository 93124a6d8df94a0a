"""Alerts of a real run on the simulated venue, told to a real receiver: each once in the journal, and heard there."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aiohttp import web

from live.running import Live, Venue
from tapeflow.api.alerts.journal import Journal
from tapeflow.app.alert_lock import hold

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="SIGKILL, signals")]

SECRET = "a secret of this test"
SETTINGS = """\
[flow]
trades = true
[flow.candles]
indicators = ["rsi_2"]
[alerts]
allow_private = {}
[api]
port = 0
[feed]
history = 0
"""


class Receiver:
    """A webhook's server, in a thread; ``status`` is what it answers, ``got`` what it was told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._start())

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _take(self, request: web.Request) -> web.Response:
        self.got.append((request.path, dict(request.headers), await request.read()))
        if request.path == "/away":
            raise web.HTTPTemporaryRedirect("/elsewhere")
        return web.Response(status=self.status, text="x" * 100_000)

    def up(self) -> None:
        self._do(self._start())

    def down(self) -> None:
        assert self._runner is not None
        self._do(self._runner.cleanup())

    def close(self) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def events(self, path: str = "/hook") -> list[dict[str, Any]]:
        return [json.loads(body) for at, _, body in list(self.got) if at == path]


def call(live: Live, method: str, path: str, body: Any = None, media: str = "application/json") -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    address = live.until(lambda s: s.get("api"))["api"]
    request = urllib.request.Request(address + path, data, {"Content-Type": media}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def trades(live: Live, least: int = 1) -> list[dict[str, Any]]:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        rows: list[dict[str, Any]] = call(live, "GET", "/v1/trades?symbol=BTCUSDT&limit=200")[1]["data"]
        if len(rows) >= least:
            return rows
        time.sleep(0.2)
    raise AssertionError("no trades came")


def until(what: Any, seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("not so in time")


def hook(receiver: Receiver, path: str = "/hook") -> dict[str, str]:
    url = f"http://127.0.0.1:{receiver.port}{path}"
    return {"type": "webhook", "name": path[1:], "url": url, "secret": SECRET}


def price(level: Any, crosses: str = "above", **more: Any) -> dict[str, Any]:
    return {"when": {"kind": "price", "symbol": "btcusdt", "crosses": crosses, "level": str(level)}, **more}


def is_signed(headers: dict[str, str], body: bytes) -> bool:
    parts = dict(part.split("=", 1) for part in headers["Tapeflow-Signature"].split(","))
    made = hmac.new(SECRET.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(made, parts["v1"]) and abs(time.time() - int(parts["t"])) < 300


# Wherever the made-up market walks, this one comes back to its middle within seconds.
RSI = {"kind": "indicator", "symbol": "BTCUSDT", "interval": "1s", "name": "rsi_2", "field": "rsi"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    made = Venue(tmp_path, "--symbols", "3", "--rate", "150", "--days", "1")
    yield made
    made.stop()


def test_every_crossing_is_told_once_over_kills_and_a_receiver_that_is_down(
    tmp_path: Path, venue: Venue, receiver: Receiver
) -> None:
    live = Live(tmp_path, venue, ["BTCUSDT"], SETTINGS.format("true"))
    live.start()
    try:
        live.until_live()
        rules = watched(live, receiver)
        for number in range(3):
            time.sleep(3)
            if number == 1:
                receiver.down()
            live.kill()
            time.sleep(1)
            live.start()
            live.until_live()
            if number == 1:
                time.sleep(3)
                receiver.up()
            rules |= watched(live, receiver)
        time.sleep(3)
        live.until_whole()
        time.sleep(1)
        until(lambda: live.status()["alerts"]["waiting"] == 0, 60)
    finally:
        live.stop()
    compare(live, receiver, rules)


def watched(live: Live, receiver: Receiver) -> dict[str, tuple[str, str, int]]:
    """Rules about the prices of now: how each crosses, its level, and a trade after which it was there for certain."""
    rules, rows = {}, trades(live, 60)
    prices = sorted({float(row["price"]) for row in rows[-60:]})
    for part in (0.2, 0.5, 0.8):
        for crosses in ("above", "below"):
            level = str(prices[int(part * len(prices))])
            status, made = call(live, "POST", "/v1/alerts", price(level, crosses, targets=[hook(receiver)]))
            assert (status, made["state"]) == (201, "watching"), made
            rules[made["id"]] = (crosses, level)
    time.sleep(2)  # the store is behind: by now it has the trades that came before the rules
    begin = int(trades(live)[-1]["id"])
    return {id: (*rule, begin) for id, rule in rules.items()}


def compare(live: Live, receiver: Receiver, rules: dict[str, tuple[str, str, int]]) -> None:
    with duckdb.connect(str(live.data / "results.duckdb"), read_only=True) as db:
        rows = db.execute("SELECT CAST(id AS BIGINT), price FROM trades WHERE symbol = 'BTCUSDT' ORDER BY 1").fetchall()
    journal = Journal(live.data)
    states, events = journal.states, [entry.event for entry in journal.entries.values()]
    exact = total = 0
    for rule, (crosses, level, begin) in rules.items():
        last, mine = (
            states[rule].last,
            sorted(int(e.id.split(".")[-1].split("-")[-1]) for e in events if e.rule == rule),
        )
        assert last is not None
        beyond = [
            price >= type(price)(level) if crosses == "above" else price <= type(price)(level) for _, price in rows
        ]
        true = [
            rows[n][0] for n in range(1, len(rows)) if beyond[n] and not beyond[n - 1] and begin < rows[n][0] <= last
        ]
        assert len(mine) >= len(true)
        early = len(mine) - len(true)  # of the trades that came while the rules were made
        assert all(told <= begin for told in mine[:early])
        assert all(told >= one for told, one in zip(mine[early:], true, strict=True))
        exact += sum(told == one for told, one in zip(mine[early:], true, strict=True))
        total += len(true)
    assert total > 8
    assert exact > total * 0.6
    heard = [event["id"] for event in receiver.events()]
    assert {event.id for event in events} == set(heard)
    assert all(one.state == "delivered" for entry in journal.entries.values() for one in entry.deliveries.values())
    assert all(is_signed(headers, body) for _, headers, body in receiver.got)
    bodies: dict[str, set[bytes]] = {}
    for _, _, body in receiver.got:
        bodies.setdefault(json.loads(body)["id"], set()).add(body)
    assert all(len(found) == 1 for found in bodies.values())  # the same event at every attempt


def test_rules_targets_and_what_is_refused(tmp_path: Path, venue: Venue, receiver: Receiver) -> None:
    live = Live(tmp_path, venue, ["BTCUSDT"], SETTINGS.format("true"))
    live.start()
    try:
        live.until_live()
        trades(live, 60)
        targets = [hook(receiver), hook(receiver, "/away")]
        one = {"when": RSI | {"crosses": "above", "level": "50"}, "once": True, "name": "once", "targets": targets}
        status, made = call(live, "POST", "/v1/alerts", one)
        assert status == 201
        assert SECRET not in json.dumps(made)
        assert [target["has_secret"] for target in made["targets"]] == [True, True]
        # A test is told and says what happened; a redirect is not followed.
        status, tried = call(live, "POST", f"/v1/alerts/{made['id']}/test", {})
        assert [row["delivered"] for row in tried["data"]] == [True, False]
        assert "redirects are not followed" in tried["data"][1]["error"]
        assert receiver.events()[0]["test"] is True
        assert receiver.events("/elsewhere") == []
        # It fires once, and is done.
        until(lambda: call(live, "GET", f"/v1/alerts/{made['id']}")[1]["state"] == "done", 90)
        until(lambda: len(receiver.events()) > 1)
        time.sleep(2)
        (event,) = call(live, "GET", f"/v1/alerts/events?rule={made['id']}")[1]["data"]
        assert [found["id"] for found in receiver.events()[1:]] == [event["id"]]
        states = {found["target"]: found["state"] for found in event["deliveries"]}
        assert states == {"hook": "delivered", "away": "waiting"}
        # A receiver that is mended by a change of the rule: told at once, by the same id.
        mended = one | {"targets": [{"type": "webhook", "name": "hook"}, hook(receiver, "/back") | {"name": "away"}]}
        assert call(live, "PUT", f"/v1/alerts/{made['id']}", mended)[0] == 200
        until(lambda: event["id"] in [found["id"] for found in receiver.events("/back")])
        refused(live)
        said = subprocess.run(
            [sys.executable, "-m", "tapeflow", "alert", "ls", "--json", "--data", str(live.data)],
            check=True, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert json.loads(said.stdout.splitlines()[0])["id"] == made["id"]
        assert call(live, "DELETE", f"/v1/alerts/{made['id']}")[0] == 200
        assert call(live, "GET", "/v1/alerts")[1]["data"] == []
        document = call(live, "GET", "/openapi.json")[1]
        assert "AlertDraft" in document["components"]["schemas"]
        assert {"get", "post"} <= document["paths"]["/v1/alerts"].keys()
    finally:
        assert live.stop() == 0


def refused(live: Live) -> None:
    for body, kind in (
        (price("1e5"), "bad_alert"),
        (price("1", targets=[{"type": "webhook", "url": "file:///etc/passwd"}]), "bad_alert"),
        (price("1", targets=[{"type": "apprise", "url": "json://localhost"}]), "bad_alert"),
        (price("1", nothing=1), "bad_body"),
        ({"when": {"kind": "price", "symbol": "NOPE", "crosses": "above", "level": "1"}}, "unknown_symbol"),
    ):
        status, said = call(live, "POST", "/v1/alerts", body)
        assert (status, said["type"].split(":")[-1]) == (400, kind), said
    assert call(live, "POST", "/v1/alerts", price("1"), media="text/plain")[0] == 415
    assert call(live, "GET", "/v1/alerts/nope")[0] == 404


def test_a_private_address_is_refused_and_other_rules_fire(tmp_path: Path, venue: Venue, receiver: Receiver) -> None:
    live = Live(tmp_path, venue, ["BTCUSDT"], SETTINGS.format("false"))
    live.start()
    try:
        live.until_live()
        trades(live, 5)
        names = ("127.0.0.1", "localhost", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]")
        urls = [f"http://{name}:{receiver.port}/hook" for name in names]
        targets = [{"type": "webhook", "url": url} for url in urls]
        made = call(live, "POST", "/v1/alerts", price("1", targets=targets))[1]
        tried = call(live, "POST", f"/v1/alerts/{made['id']}/test", {})[1]["data"]
        assert not any(row["delivered"] for row in tried)
        assert all("no public address" in row["error"] or "not a canonical" in row["error"] for row in tried), tried
        assert receiver.got == []
        for crosses in ("above", "below"):
            when = RSI | {"crosses": crosses, "level": "50"}
            assert call(live, "POST", "/v1/alerts", {"when": when})[0] == 201
        call(live, "POST", "/v1/alerts", {"when": {"kind": "coverage", "symbol": "BTCUSDT"}})
        call(live, "POST", "/v1/alerts", {"when": {"kind": "stale", "symbol": "BTCUSDT", "seconds": 2}})
        time.sleep(1)
        live.kill()  # a hole opens: the trades of the time without a run
        time.sleep(3)
        live.start()
        live.until_live()
        kinds = until(lambda: told(live, {"indicators"}), 60)
        assert kinds
        venue.stop()
        until(lambda: told(live, {"stale"}), 30)
    finally:
        live.stop()


def told(live: Live, wanted: set[str]) -> bool:
    """True once events of all these topics are in the journal."""
    found = call(live, "GET", "/v1/alerts/events")[1]["data"]
    return wanted <= {row["id"].split(".")[1] for row in found}


def test_alerts_that_another_process_keeps_are_left_to_it(tmp_path: Path, venue: Venue) -> None:
    """As a gateway of a cluster does in the folder that it was given."""
    live = Live(tmp_path, venue, ["BTCUSDT"])
    held = hold(str(live.data))
    live.start()
    assert live.process is not None
    assert live.process.wait(60) == 1
    until(lambda: "cannot keep the alerts of" in live.text())
    assert f"process {os.getpid()} does so already" in live.text()
    held.release()
    live.start()
    live.until_live()
    assert live.stop() == 0
