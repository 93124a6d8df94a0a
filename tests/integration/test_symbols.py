"""Symbols followed and left while a run goes on, and what a venue that refuses a region is told as."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from live.running import Live, Venue
from live.truth import compare
from serving import Client

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="SIGINT ends the run")]

SETTINGS = "[api]\nport = 0\n"


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    made = Venue(tmp_path, "--symbols", "5", "--rate", "200", "--days", "1")
    yield made
    made.stop()


def started(live: Live) -> Client:
    live.start()
    status = live.until(lambda s: s.get("api") and s["is_live"])
    live.until_whole()
    return Client(status["api"])


def command(live: Live, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tapeflow", "symbols", *words, "--data", str(live.data)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def followed(ask: Client) -> list[str]:
    return [row["symbol"] for row in ask.rows("/v1/symbols") if row["status"] != "not_followed"]


def searched(ask: Client, text: str = "") -> dict[str, bool]:
    """What the venue lists with this text in its name, and whether it is followed."""
    return {row["symbol"]: row["is_followed"] for row in ask.rows("/v1/symbols/listed", search=text)}


def until_candles(ask: Client, symbol: str, after: int = 0) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        said = ask("/v1/candles", symbol=symbol, interval="1s", limit=500)
        if said.status == 200 and any(
            row["source"] == "trades" and row["ts_start"] > after for row in said.json["data"]
        ):
            return
        time.sleep(0.1)
    raise AssertionError(f"no candles of {symbol}")


def until_past(ask: Client, symbol: str) -> None:
    until = time.monotonic() + 60
    while len(ask.rows("/v1/candles", symbol=symbol, interval="1m", limit=500)) < 400:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_symbols_come_and_go_while_it_runs_and_stay_so_after_a_restart(tmp_path: Path, venue: Venue) -> None:
    first, second, third, fourth = venue.symbols[:4]
    live = Live(tmp_path, venue, [first, second], SETTINGS)
    try:
        ask = started(live)
        assert searched(ask) == dict.fromkeys(venue.symbols, False) | {first: True, second: True}
        assert searched(ask, third[:-1].lower()) == {third: False}
        said = ask("/v1/symbols", method="POST", body=json.dumps({"symbol": third.lower()}))
        assert (said.status, said.json["data"][0]["symbol"]) == (200, third), said.body
        assert searched(ask, third) == {third: True}
        until_candles(ask, third)
        until_past(ask, third)
        assert command(live, "add", fourth).returncode == 0
        until_candles(ask, fourth)
        assert ask(f"/v1/symbols/{second}", method="DELETE").status == 200
        assert command(live, "remove", fourth).returncode == 0
        assert sorted(followed(ask)) == sorted([first, third])
        assert searched(ask, second) == {second: False}
        assert ask.rows("/v1/trades", symbol=second)  # what was stored stays
        listed = [json.loads(line) for line in command(live, "ls", "--json").stdout.splitlines()]
        assert {row["symbol"]: row["status"] for row in listed}[second] == "not_followed"
        live.until_whole()
        assert live.stop() == 0

        ask = started(live)
        assert sorted(followed(ask)) == sorted([first, third])
        until_candles(ask, third, after=time.time_ns() // 1000)
        live.until_whole()
    finally:
        assert live.stop() == 0
    found = compare(live.data, venue.rest)
    assert (found.gaps, found.wrong) == ([], [])
    assert "no run serves" in command(live, "ls").stderr


def test_what_the_venue_does_not_list_is_refused_with_what_was_perhaps_meant(tmp_path: Path, venue: Venue) -> None:
    first, second = venue.symbols[:2]
    live = Live(tmp_path, venue, [first], SETTINGS)
    try:
        ask = started(live)
        said = ask("/v1/symbols", method="POST", body=json.dumps({"symbol": second[:-1] + "X"}))
        assert (said.status, said.json["type"]) == (404, "urn:tapeflow:problem:unknown_symbol")
        assert second in said.json["nearest"]
        done = command(live, "add", "NOTHINGUSDT")
        assert done.returncode == 2
        assert "the venue does not list it" in done.stderr
        last = ask(f"/v1/symbols/{first}", method="DELETE")
        assert (last.status, last.json["type"]) == (409, "urn:tapeflow:problem:last_symbol")
        assert followed(ask) == [first]
        assert not (live.data / "symbols.json").exists()
    finally:
        assert live.stop() == 0


class Refusing(BaseHTTPRequestHandler):
    """451 for REST and for the handshake of a WebSocket."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"code":0,"msg":"Service unavailable from a restricted location"}'
        self.send_response(451)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_run_that_is_refused_for_its_region_says_what_to_do(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    config, port = tmp_path / "run.toml", server.server_address[1]
    config.write_text(
        f'symbols = ["BTCUSDT"]\n[endpoints]\nrest = "http://127.0.0.1:{port}"\nwebsocket = "ws://127.0.0.1:{port}"\n'
        "[api]\nport = 0\n"
    )
    run = subprocess.Popen([sys.executable, "-m", "tapeflow", "run", str(config)], stderr=subprocess.PIPE, text=True)
    try:
        assert run.stderr is not None
        said = ""
        for line in run.stderr:
            said += line
            if "cannot connect" in said and "see above" in said:
                break
        run.send_signal(2)
        said += run.communicate(timeout=60)[1]
    finally:
        run.kill()
        run.wait()
        server.shutdown()
        server.server_close()
        thread.join()
    assert run.returncode == 0, said
    assert said.count("data-api.binance.vision") == 1, said
    assert "tapeflow simulate binance" in said
    assert said.count("refuses your region (HTTP 451), see above") >= 1, said


@pytest.mark.parametrize("name", ["binance", "simulated"])
def test_the_example_files_can_be_used(name: str) -> None:
    path = Path(__file__).resolve().parents[2] / "examples" / f"{name}.toml"
    done = subprocess.run(
        [sys.executable, "-m", "tapeflow", "config", "check", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
