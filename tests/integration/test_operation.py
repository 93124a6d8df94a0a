"""The commands of whoever operates a run: keys, settings, doctor, and what a run says, as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from feeding import serving
from live.running import Live, Venue
from tapeflow.api.keys import KeyFile


def tapeflow(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tapeflow", *map(str, arguments)],
        capture_output=True, encoding="utf-8", timeout=90, check=False, cwd=cwd,
    )  # fmt: skip


@contextmanager
def answering(status: int, body: str = "{}") -> Iterator[str]:
    """A real server on a port of its own that answers everything alike; its address without the scheme."""
    ready, done = threading.Event(), threading.Event()
    address = ""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, content_type="application/json")

    async def work() -> None:
        nonlocal address
        async with serving(answer) as found:
            address = found.partition("://")[2]
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        assert ready.wait(20)
        yield address
    finally:
        done.set()
        thread.join()


def config(folder: Path, address: str, more: str = "") -> Path:
    path = folder / "run.toml"
    head = f'symbols = ["BTCUSDT"]\ndata = "{folder / "data"}"\n'
    head += f'[endpoints]\nrest = "http://{address}"\nwebsocket = "ws://{address}"\n[tape]\nkeep_bytes = 1_048_576\n'
    path.write_text(head + (more or "[api]\nport = 0\n"))
    return path


def examined(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status of a doctor, and its findings by name."""
    done = tapeflow("doctor", path, "--json")
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["is_well"] == (done.returncode == 0)
    return done.returncode, {check["check"]: check for check in found["checks"]}


# -- keys and settings --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    made = tapeflow("key", "create", "laptop", "--scopes", "read,sql", "--expires", "90d", "--data", tmp_path)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert made.stdout == f"{token}\n"
    assert "not shown again" in made.stderr
    assert token not in made.stderr
    assert KeyFile(tmp_path).verify(token) == {"read", "sql"}
    row = json.loads(tapeflow("key", "ls", "--data", tmp_path, "--json").stdout)
    assert (row["name"], row["scopes"], row["is_expired"]) == ("laptop", ["read", "sql"], False)
    assert row["expires"] - row["created"] == 90 * 86_400_000_000
    assert "hash" not in row
    shown = tapeflow("key", "ls", "--data", tmp_path).stdout
    assert row["prefix"] in shown
    assert token not in shown
    assert tapeflow("key", "revoke", row["prefix"], "--data", tmp_path).returncode == 0
    assert KeyFile(tmp_path).verify(token) is None
    again = tapeflow("key", "revoke", row["prefix"], "--data", tmp_path)
    assert (again.returncode, "there are: none" in again.stderr) == (2, True)


@pytest.mark.slow
def test_an_example_is_written_checked_and_shown(tmp_path: Path) -> None:
    written = tapeflow("config", "example")
    (tmp_path / "run.toml").write_text(written.stdout)
    checked = tapeflow("config", "check", "run.toml", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
    shown = tapeflow("config", "show", "run.toml", cwd=tmp_path)
    assert 'host = "127.0.0.1"' in shown.stdout
    (tmp_path / "run.toml").write_text(written.stdout.replace("give_up", "giveup").replace("sql_rows", "rows"))
    wrong = tapeflow("config", "check", "run.toml", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "[feed] giveup: no such key; did you mean give_up?" in wrong.stderr
    assert "[api] rows: no such key" in wrong.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "config check"])
def test_an_address_that_others_reach_needs_a_key_at_the_start(tmp_path: Path, command: str) -> None:
    path = config(tmp_path, "127.0.0.1:1", '[api]\nhost = "0.0.0.0"\nport = 0\n')
    done = tapeflow(*command.split(), path)
    assert done.returncode == 2
    assert "create a key with `tapeflow key create" in done.stderr
    assert "bind 127.0.0.1" in done.stderr


# -- doctor ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_doctor_finds_nothing_wrong_beside_a_simulated_venue(tmp_path: Path) -> None:
    venue = Venue(tmp_path, "--symbols", "2", "--days", "1")
    try:
        code, found = examined(config(tmp_path, venue.rest.partition("://")[2]))
    finally:
        venue.stop()
    assert code == 0, found
    assert found["venue rest"]["state"] == found["venue websocket"]["state"] == "ok"
    assert found["clock"]["state"] == "ok"
    assert not (tmp_path / "data").exists()  # it changes nothing


@pytest.mark.slow
def test_a_doctor_looks_at_a_run_and_knows_when_it_was_killed(tmp_path: Path) -> None:
    venue = Venue(tmp_path, "--symbols", "2", "--days", "1")
    live = Live(tmp_path, venue, ["BTCUSDT"], "[api]\nport = 0\n[tape]\nkeep_bytes = 1_048_576\n")
    try:
        live.start()
        status = live.until_live()
        assert status["is_pipeline_alive"]
        assert status["data_free_bytes"] > 0
        assert {"data_silent_s", "overdue"} <= status["connections"][0].keys()
        assert abs(live.until(lambda s: s["clock_offset_s"] is not None)["clock_offset_s"]) < 0.5
        code, found = examined(live.config)
        assert (code, found["run"]["state"]) == (0, "ok"), found
        live.kill()
        (tmp_path / "data" / "keys.json").write_text("{}")
        (tmp_path / "data" / "keys.json").chmod(0o644)
        os.utime(tmp_path / "data" / "status.json", (1, 1))
        live.config.write_text(live.config.read_text().replace("port = 0", "port = 0\nrequire_key = true"))
        code, found = examined(live.config)
    finally:
        live.kill()
        venue.stop()
    assert code == 1
    assert found["run"]["state"] == "warn"
    assert "it goes on" in found["run"]["advice"]
    assert "chmod 600" in found["keys"]["detail"]


@pytest.mark.slow
def test_a_doctor_says_what_to_do_where_the_venue_cannot_be_reached(tmp_path: Path) -> None:
    path = config(tmp_path, "127.0.0.1:1")
    code, found = examined(path)
    assert code == 1
    assert "cannot be reached" in found["venue rest"]["detail"]
    assert "firewall" in found["venue websocket"]["advice"]
    text = tapeflow("doctor", path)
    assert text.returncode == 1
    assert "wrong   venue rest" in text.stdout


@pytest.mark.slow
def test_a_doctor_explains_a_region_that_is_refused_and_a_port_in_use(tmp_path: Path) -> None:
    with answering(451, '{"code":0,"msg":"Service unavailable from a restricted location"}') as address:
        port = address.rpartition(":")[2]
        code, found = examined(config(tmp_path, address, f"[api]\nport = {port}\n"))
    assert code == 1
    for check in ("venue rest", "venue websocket"):
        assert "HTTP 451" in found[check]["detail"]
        assert "https://data-api.binance.vision" in found[check]["detail"]
        assert "wss://data-stream.binance.vision" in found[check]["detail"]
    assert found["api port"]["state"] == "wrong"


@pytest.mark.slow
def test_a_doctor_tells_of_a_clock_that_is_off(tmp_path: Path) -> None:
    with answering(200, '{"serverTime":1700000000000}') as address:
        _, found = examined(config(tmp_path, address))
    assert found["clock"]["state"] == "warn"
    assert "NTP" in found["clock"]["advice"]


# -- what a run says ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_in_a_region_that_is_refused_explains_it_once_and_in_json(tmp_path: Path) -> None:
    with answering(451) as address:
        path = config(tmp_path, address, '[api]\nport = 0\n[log]\nformat = "json"\n')
        process = subprocess.Popen([sys.executable, "-m", "tapeflow", "run", str(path)], stderr=subprocess.PIPE)
        assert process.stderr is not None
        rows = []
        try:
            while sum("HTTP 451" in row["event"] for row in rows) < 3:
                rows.append(json.loads(process.stderr.readline()))
        finally:
            process.terminate()
            process.wait(30)
            process.stderr.close()
    assert {"ts", "level", "event"} <= rows[0].keys()
    told = [row for row in rows if "data-api.binance.vision" in row["event"]]
    assert [row["level"] for row in told] == ["warning"]
    assert any("see above" in row["event"] for row in rows)
