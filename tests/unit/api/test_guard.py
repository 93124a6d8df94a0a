"""Who may ask, line by line; and connections that take more than their part."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving import Client, Said, serving, source
from tapeflow.api.app import create
from tapeflow.api.buckets import CLIENTS, Buckets
from tapeflow.api.guard import NoKeys
from tapeflow.api.limits import Limits
from tapeflow.api.server import Server
from tapeflow.domain.errors import SettingsError, SlowError, StoreError

READ, SQL, ADMIN = "tf_aaaaaaaa_read", "tf_bbbbbbbb_sql", "tf_cccccccc_admin"
PATH = "/v1/symbols"


class Three:
    is_required = True

    def verify(self, token: str) -> frozenset[str] | None:
        scopes = {READ: {"read"}, SQL: {"read", "sql"}, ADMIN: {"admin"}}.get(token)
        return None if scopes is None else frozenset(scopes)


def kind(said: Said) -> tuple[int, str]:
    assert said.headers["Content-Type"] == "application/problem+json"
    return said.status, said.json["type"].rpartition(":")[2]


@pytest.fixture(scope="module")
def locked(kept: Any) -> Iterator[Client]:
    limits = Limits(hosts=("tape.example",), origins=("https://page.example",), requests_per_s=10_000)
    with serving(source(*kept), limits, Three()) as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "127.0.0.1"])
def test_names_of_this_machine_are_good(ask: Client, host: str) -> None:
    assert ask(PATH, {"Host": host.format(port=ask.port)}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "a b", "x@localhost", "[::1"]
)
def test_another_name_is_refused(ask: Client, host: str) -> None:
    assert kind(ask(PATH, {"Host": host})) == (421, "misdirected_request")
    assert kind(ask("/", {"Host": host})) == (421, "misdirected_request")


def test_a_name_of_the_settings_is_good(locked: Client) -> None:
    assert locked(PATH, {"Host": "Tape.Example", "X-API-Key": READ}).status == 200


def test_pages_of_others_may_not_ask(ask: Client, locked: Client) -> None:
    assert ask(PATH, {"Origin": ask.address}).status == 200
    for origin in ("https://evil.example", "null", f"https://evil.example:{ask.port}", "http://localhost", "file://"):
        assert kind(ask(PATH, {"Origin": origin})) == (403, "foreign_origin")
    said = locked(PATH, {"Origin": "https://page.example", "X-API-Key": READ})
    assert said.status == 200
    assert said.headers["Access-Control-Allow-Origin"] == "https://page.example"
    flight = locked(PATH, {"Origin": "https://page.example"}, method="OPTIONS")
    assert flight.status == 204
    assert "Authorization" in flight.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in ask(PATH, {"Origin": ask.address}).headers


def test_keys_are_asked_for_where_they_are_needed(locked: Client) -> None:
    said = locked(PATH)
    assert kind(said) == (401, "unauthorized")
    assert said.headers["WWW-Authenticate"].startswith("Bearer")
    assert "tapeflow key create" in said.json["detail"]
    assert kind(locked(PATH, {"Authorization": "Bearer tf_wrong"})) == (401, "unauthorized")
    assert locked(PATH, {"Authorization": f"Bearer {READ}"}).status == 200
    assert locked(PATH, {"X-API-Key": READ}).status == 200
    assert kind(locked("/v1/sql", {"X-API-Key": READ}, q="SELECT 1")) == (403, "forbidden")
    assert locked("/v1/sql", {"X-API-Key": SQL}, q="SELECT 1").status == 200
    assert kind(locked(PATH, {"X-API-Key": ADMIN})) == (403, "forbidden")
    assert kind(locked("/metrics")) == (401, "unauthorized")
    for path in ("/", "/readyz", "/openapi.json"):
        assert locked(path).status == 200


def test_an_administrators_path_needs_a_key_everywhere(ask: Client, locked: Client) -> None:
    assert kind(ask("/v1/admin/x")) == (401, "unauthorized")
    assert locked("/v1/admin/x", {"X-API-Key": ADMIN}).status == 404


@pytest.mark.parametrize("name", ["key", "api_key", "token", "access_token", "X-API-Key"])
def test_a_key_in_a_url_is_refused(locked: Client, name: str) -> None:
    said = locked(PATH, {"X-API-Key": READ}, **{name: READ})
    assert kind(said) == (400, "key_in_url")
    assert READ not in said.body.decode()
    secret = "tf_abcdefgh_" + "x" * 43
    assert kind(locked(PATH, {"X-API-Key": READ}, symbol=secret)) == (400, "key_in_url")


def test_what_is_answered_keeps_a_browser_careful(ask: Client) -> None:
    for path in (PATH, "/nothing", "/", "/v1/trades"):
        headers = ask(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "server" not in {name.lower() for name in headers}


def test_rates_are_bounded(kept: Any) -> None:
    with serving(source(*kept), Limits(requests_per_s=1)) as ask:
        answers = [ask("/openapi.json") for _ in range(25)]
    assert [said.status for said in answers[:20]] == [200] * 20
    assert kind(answers[-1]) == (429, "too_many_requests")
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_buckets_fill_again_and_are_forgotten() -> None:
    now = [0.0]
    buckets = Buckets(2, 3, lambda: now[0])
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    now[0] = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("b") == 0
    for number in range(CLIENTS + 5):
        buckets.take(str(number))
    assert len(buckets._left) == CLIENTS


def test_bodies_and_heads_are_bounded(ask: Client) -> None:
    assert kind(ask("/v1/sql", method="POST", body=b"x" * 70_000)) == (413, "too_large")
    assert kind(ask("/v1/sql", method="POST", body=iter([b"SELECT 1 --" + b"x" * 40_000] * 3))) == (413, "too_large")
    assert ask("/v1/sql", method="POST", body=b"\xff").status == 400

    def slowly() -> Iterator[bytes]:
        for _ in range(4):
            yield b"x" * 40_000
            time.sleep(0.05)

    assert kind(ask("/v1/sql", method="POST", body=slowly())) == (413, "too_large"), "heard out, not cut off"
    assert kind(ask("/v1/sql", method="POST", body=slowly(), headers={"Content-Length": "160000"})) == (
        413,
        "too_large",
    )
    with socket.create_connection((ask.host, ask.port), 5) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000)
        assert b" 400 " in raw.recv(1000)


class Failing:
    """A source that fails in a way nobody has thought of."""

    def __init__(self, inner: Any, error: Exception) -> None:
        self._inner, self._error = inner, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, *_: Any, **__: Any) -> Any:
        raise self._error


def test_a_fault_of_ours_tells_a_client_nothing(kept: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serving(Failing(source(*kept), RuntimeError("secret place")), Limits(requests_per_s=99)) as ask:
        with caplog.at_level(logging.ERROR):
            said = ask("/v1/trades", symbol="BTCUSDT")
        assert ask("/readyz").status == 200
    assert kind(said) == (500, "internal_error")
    assert b"secret" not in said.body
    assert b"Traceback" not in said.body
    assert "secret place" in caplog.text


def test_a_store_that_cannot_be_read_is_told(kept: Any) -> None:
    with serving(Failing(source(*kept), StoreError("/secret/place is gone"))) as ask:
        said = ask("/v1/trades", symbol="BTCUSDT")
    assert kind(said) == (503, "store_unavailable")
    assert b"secret" not in said.body


def test_a_store_that_is_slow_is_asked_for_less(kept: Any) -> None:
    with serving(Failing(source(*kept), SlowError("cannot read trades: it took too long; ask for less"))) as ask:
        said = ask("/v1/trades", symbol="BTCUSDT")
    assert kind(said) == (503, "too_slow")
    assert (
        said.json["detail"]
        == "cannot read trades: it took too long; ask for less, such as a shorter range or a lower limit"
    )


def test_slow_reads_have_turns(kept: Any) -> None:
    class Slow(Failing):
        def read(self, *_: Any, **more: Any) -> Any:
            time.sleep(1.0)
            return self._inner.read(*_, **more)

    with serving(Slow(source(*kept), ValueError()), Limits(reads=1, turn_s=0.2, requests_per_s=99)) as ask:
        first = threading.Thread(target=lambda: ask("/v1/trades", symbol="BTCUSDT"))
        first.start()
        time.sleep(0.3)
        said = ask("/v1/trades", symbol="BTCUSDT")
        assert ask("/openapi.json").status == 200
        first.join()
    assert kind(said) == (503, "busy")
    assert said.headers["Retry-After"] == "1"


def test_a_request_that_does_not_come_is_not_waited_for(kept: Any) -> None:
    with serving(source(*kept), Limits(request_s=0.4, requests_per_s=99)) as ask:
        for sent in (
            b"",
            b"GET / HTTP/1.1\r\nHost: ",
            b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nSEL",
        ):
            with socket.create_connection((ask.host, ask.port), 5) as raw:
                raw.sendall(sent)
                began = time.monotonic()
                assert raw.recv(100) == b""
                assert 0.2 < time.monotonic() - began < 3
        with socket.create_connection((ask.host, ask.port), 3) as raw:  # the second on a connection counts too
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert raw.recv(1 << 20).startswith(b"HTTP/1.1 ")
            raw.sendall(b"GET / HTTP/1.1\r\nHost: ")
            while raw.recv(1 << 20):
                pass
        with socket.create_connection((ask.host, ask.port), 5) as raw:  # one kept alive may be silent between requests
            for _ in range(2):
                raw.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert raw.recv(1 << 20).startswith(b"HTTP/1.1 200")
                time.sleep(0.8)
                raw.setblocking(False)
                try:
                    while raw.recv(1 << 20):
                        pass
                    raise AssertionError("closed")
                except BlockingIOError:
                    raw.setblocking(True)


def test_connections_of_one_address_are_bounded(kept: Any) -> None:
    with serving(source(*kept), Limits(connections_per_address=3, requests_per_s=99)) as ask:
        held = [socket.create_connection((ask.host, ask.port), 5) for _ in range(3)]
        time.sleep(0.2)
        said = ask("/openapi.json")
        assert kind(said) == (503, "too_many_connections")
        for one in held:
            one.close()
        time.sleep(0.2)
        assert ask("/openapi.json").status == 200


def test_a_port_that_is_taken_is_told() -> None:
    async def app(*_: Any) -> None: ...

    first = Server(app, "127.0.0.1", 0, limits=Limits(), keys=NoKeys())
    first.start()
    port = int(first.address.rpartition(":")[2])
    try:
        with pytest.raises(SettingsError, match=r"choose another `port` in \[api\]"):
            Server(app, "127.0.0.1", port, limits=Limits(), keys=NoKeys()).start()
        with pytest.raises(SettingsError, match=r"cannot serve on 203\.0\.113\.1"):
            Server(app, "203.0.113.1", 0, limits=Limits(), keys=NoKeys()).start()
    finally:
        first.stop()
    again = Server(app, "127.0.0.1", port, limits=Limits(), keys=NoKeys())
    again.start()
    assert again.address == f"http://127.0.0.1:{port}"
    again.stop()


def test_a_stop_does_not_wait_for_ever() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    server = Server(app, "127.0.0.1", 0, limits=Limits(), keys=NoKeys())
    server.start()
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), 5) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 3.5


def test_answers_wait_for_no_acknowledgement(kept: Any) -> None:
    server = Server(create(source(*kept), Limits()), "127.0.0.1", 0, limits=Limits(), keys=NoKeys())
    server.start()
    try:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 5) as raw:
            raw.sendall(f"GET /openapi.json HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 200")
            assert server._server is not None
            (made,) = server._server.server_state.connections
            assert made.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # type: ignore[union-attr]
    finally:
        server.stop()
