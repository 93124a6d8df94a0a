"""Attacks on the API and the stream of a live run: one test for each line of what is feared.

After each of them the run is alive and serves, after all of them it is as small as it was and its log has no traceback;
no answer tells of files, tracebacks or the insides of the database.

More of it: ``TAPEFLOW_CONNECTIONS=2000 pytest tests/attacks -k storms``, ``python tests/attacks/frames.py ADDRESS --frames 1000000`` and
``schemathesis run ADDRESS/openapi.json --exclude-checks positive_data_acceptance --max-examples 1000``.
"""

# ruff: noqa: E501 - attacks are long
from __future__ import annotations

import asyncio
import contextlib
import gzip
import inspect
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from attacks import frames
from live.serving import Running
from serving import Said
from tapeflow.api import keys

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGINT ends the run"),
]

API = "port = 0\nrequests_per_s = 100000\nconnections_per_address = 20000\nconnections = 20000\nmessages_per_s = 100000\nsql_seconds = 2\n"
GROWTH = 300 << 20
#: 2,000 of them take a minute.
CONNECTIONS = int(os.environ.get("TAPEFLOW_CONNECTIONS", "400"))
LEAKS = (
    "Traceback", 'File "', "site-packages", ".py\"", "Stack Trace", "INTERNAL Error", "duckdb::", "object at 0x",
    "/tmp/", "/home/", str(Path(__file__).resolve().parents[2]), "results.duckdb",
)  # fmt: skip


class Attacked(Running):
    """A live run under attack, and what it was like before."""

    def __init__(self, folder: Path, more: str = API) -> None:
        super().__init__(folder, f"[api]\n{more}")
        self.host, self.port = self.ask.host, self.ask.port
        assert self.live.process is not None
        self.process = psutil.Process(self.live.process.pid)
        self.resident = self.process.memory_info().rss
        self.files = self.process.num_fds()

    def is_well(self) -> None:
        """It serves, and takes what the venue sends."""
        assert self.live.process is not None
        assert self.live.process.poll() is None, self.live.text()
        before = self.live.status()["position"]
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                said = self.ask("/healthz")
                if said.status == 200 and self.live.status()["position"] > before:
                    break
            assert time.monotonic() < end, (before, self.live.status(), self.log[-20_000:])
            time.sleep(0.1)
        assert self.ask("/v1/trades", symbol=self.symbol, limit=1).json["data"]
        assert "Traceback" not in self.log, self.live.text()

    @property
    def log(self) -> str:
        return "\n".join(line for _, line in self.live.said)

    def raw(self, data: bytes, wait: float = 3.0, *, ends: bool = False) -> bytes:
        """What is answered to bytes, until the server closes or says nothing for so long."""
        got = b""
        with socket.create_connection((self.host, self.port), timeout=wait) as made:  # noqa: SIM117
            with contextlib.suppress(ConnectionError, TimeoutError):
                made.sendall(data)
                if ends:
                    made.shutdown(socket.SHUT_WR)
                end = time.monotonic() + 3 * wait  # an endless answer is read in part
                while time.monotonic() < end and (part := made.recv(1 << 18)):
                    got += part
        clean(got, self)
        return got

    def get(self, target: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
        """The answer to a request as it is written here, after which the connection ends."""
        given = {line.partition(":")[0].lower() for line in lines}
        own = [] if "host" in given else [f"Host: {self.host}:{self.port}"]
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *own, "Connection: close", *lines, "", ""])
        return self.raw(head.encode("utf-8", "surrogateescape") + body)


def clean(answer: bytes | Said, running: Attacked) -> None:
    text = (answer if isinstance(answer, bytes) else answer.body).decode("utf-8", "replace")
    for leak in (*LEAKS, str(running.folder)):
        assert leak not in text, (leak, text[:1000])


def status(answer: bytes) -> int:
    """0 if nothing was answered."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    made = Attacked(tmp_path_factory.mktemp("attacks"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def well(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "running" in request.fixturenames:
        request.getfixturevalue("running").is_well()


# -- SQL ----------------------------------------------------------------------------------------------------------

ESCAPES = [
    "SELECT getenv('HOME')", "SELECT/**/getenv/* x */('PATH')", 'SELECT "getenv"(\'HOME\')', "SELECT main.getenv('HOME')",
    "SELECT system.main.getenv('HOME')", "SELECT list_transform(['HOME'], lambda x: getenv(x))",
    "SELECT 'HOME'.getenv()", "SELECT current_setting('temp_directory')", "SELECT getvariable('x')",
    "COPY trades TO '/tmp/x.csv'", "CoPy (SELECT 1) TO '/dev/stdout'", "ATTACH '/tmp/x.db' AS x", "ATTACH ':memory:'",
    "INSTALL httpfs", "LOAD httpfs", "PRAGMA database_list", "SET threads = 64", "SET memory_limit='99GB'", "RESET ALL",
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM read_text('/etc/passwd')", "FROM glob('/*')",
    "SELECT * FROM read_csv_auto(['/etc/passwd'])", "FROM '/etc/passwd.csv'", "FROM 'x.csv'", "FROM 'x.json'",
    'FROM "/etc/passwd"', "FROM 'http://127.0.0.1/x.parquet'", "SELECT (SELECT count(*) FROM 'x.parquet')",
    "SELECT * FROM query('SELECT getenv(''HOME'')')", "FROM query_table('trades')", "FROM sqlite_scan('x', 'y')",
    "FROM duckdb_settings()", "FROM duckdb_secrets()", "FROM pg_settings", "FROM duckdb_databases",
    "SELECT 1; SELECT 2", "SELECT 1;\n-- x\nDROP TABLE trades", "SELECT 1 /* ; */; DELETE FROM trades", ";", "", "--",
    "WITH x AS (DELETE FROM trades RETURNING id) SELECT * FROM x",
    "WITH x AS (INSERT INTO meta VALUES ('a', 'b') RETURNING name) SELECT * FROM x",
    "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x", "EXPLAIN ANALYZE DELETE FROM trades",
    "EXPLAIN SELECT * FROM read_text('/etc/passwd')", "\ufeffDROP TABLE trades", "\u00a0DROP\u00a0TABLE\u00a0trades",
    "\uff33\uff25\uff2c\uff25\uff23\uff34 1", "SELECT '\u202e'; DROP TABLE trades", "SELECT 1\x00; DROP TABLE trades",
    "CALL pragma_version()", "CHECKPOINT", "FORCE CHECKPOINT", "EXPORT DATABASE 'x'", "IMPORT DATABASE 'x'",
    "CREATE MACRO m() AS getenv('HOME')", "PREPARE p AS SELECT 1", "USE system", "DETACH results", "SELECT nextval('s')",
    "SELECT write_log('x')", "SELECT json_execute_serialized_sql('{}')", "SELECT * FROM json_execute_serialized_sql('{}')",
    "FROM parquet_metadata('/x')", "FROM sniff_csv('/etc/passwd')", "FROM duckdb_logs()", "FROM duckdb_memory()",
    "FROM duckdb_temporary_files()", "FROM which_secret('x', 's3')", "FROM pragma_storage_info('trades')",
    "FROM pragma_database_size()", "VACUUM", "COMMENT ON TABLE trades IS 'x'", "SUMMARIZE '/etc/passwd'",
    "DESCRIBE SELECT * FROM '/etc/passwd.csv'", "SHOW DATABASES", "FROM read_duckdb('x.db')",
]  # fmt: skip
#: What would take all the time or memory there is, in the database or before it.
BOMBS = [
    "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range % 7 = b.range % 5",
    "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b, range(1000000) c",
    "SELECT len(list(range)) FROM range(1000000000)", "SELECT histogram(range) FROM range(100000000)",
    "SELECT length(string_agg('abcdefghijklmnop', '')) FROM range(1000000000)", "SELECT range(1000000000)",
    "SELECT repeat('x', 1000000000)", "SELECT rpad('x', 1000000000, 'y')", "SELECT bitstring('1', 2000000000)",
    "SELECT range r FROM range(10000000000) ORDER BY hash(range)", "SELECT levenshtein(repeat('x', 60000), 'y')",
    "SELECT levenshtein('" + "a" * 30000 + "', '" + "b" * 30000 + "') FROM range(100000)",
    "SELECT length(replace(replace('" + "a" * 999 + "', 'a', '" + "b" * 9999 + "'), 'b', '" + "c" * 9999 + "'))",
    "SELECT length(replace(s, 'a', s)) FROM (SELECT '" + "a" * 30000 + "' s)",
    "SELECT length(s) FROM " + "(SELECT s||s||s||s||s||s||s||s s FROM " * 9 + "(SELECT 'abcdefghij' s)" + ")" * 9,
    "WITH RECURSIVE t AS (SELECT 'abcdefghij' s UNION ALL SELECT s||s FROM t WHERE length(s) < 3000000000) FROM t",
    "WITH RECURSIVE t AS (SELECT 1 i UNION ALL SELECT i + 1 FROM t) SELECT max(i) FROM t",
    "WITH t0 AS (FROM trades)," + ",".join(f"t{n} AS (FROM t{n - 1} a, t{n - 1} b)" for n in range(1, 40)) + " FROM t39",
    "SELECT " + "(" * 30000 + "1" + ")" * 30000, "SELECT " + "(" * 30000, "SELECT " + "[" * 30000,
    "SELECT " + "(/*)*/" * 8000, "SELECT " + "('))'," * 8000, "SELECT '\u00e9\u00e9'," + "(" * 9000,
    "SELECT * FROM " + "(" * 9000 + "trades" + ")" * 9000, "WITH a AS (" * 5000, "SELECT " + "CASE WHEN " * 6000,
    "SELECT " + "1+" * 30000 + "1", "SELECT " + "1+" * 900 + "1", "SELECT " + "NOT " * 15000 + "true",
    "SELECT " + "abs(" * 900 + "1" + ")" * 900, "SELECT a" + ".b" * 30000, "SELECT count(*) FROM a" + ".b" * 30000,
    "SELECT count(*) FROM " + ",".join(f"trades c{n}" for n in range(1500)), "SELECT " + "- " * 30000 + "1",
    "SELECT * FROM " + "(SELECT * FROM " * 3000 + "trades" + ")" * 3000, "SELECT 1 " + "UNION ALL SELECT 1 " * 3000,
    "SELECT strftime(now()::TIMESTAMP + to_seconds(range), '" + "%c" * 20000 + "') FROM range(5000)",
]  # fmt: skip


def test_sql_does_not_get_out_and_does_not_take_all(running: Attacked) -> None:
    before = running.ask.rows("/v1/sql", q="SELECT count(*) AS n FROM trades")[0]["n"]
    for statement in ESCAPES:
        for said in (
            running.ask("/v1/sql", q=statement),
            running.ask("/v1/sql", method="POST", body=statement.encode()),
        ):
            clean(said, running)
            if said.status == 200:  # names that are ours to show
                assert statement == "SHOW DATABASES", (statement, said.body[:500])
            else:
                assert said.status == 400, (statement, said.status, said.body)
                assert said.headers["Content-Type"] == "application/problem+json"
    for statement in BOMBS:
        began = time.monotonic()
        said = running.ask("/v1/sql", method="POST", body=statement.encode())
        clean(said, running)
        assert said.status in (200, 400), (statement[:80], said.body)
        assert len(said.body) < 100 << 20
        assert time.monotonic() - began < 12, statement[:80]
    large = running.ask("/v1/sql", q="SELECT range, hash(range) h FROM range(10000000)")
    assert (len(large.json["data"]), large.json["truncated"]) == (100_000, True)
    assert running.ask.rows("/v1/sql", q="SELECT count(*) AS n FROM trades")[0]["n"] >= before
    assert not list(Path("/tmp").glob("x.csv"))


# -- size ---------------------------------------------------------------------------------------------------------


def test_huge_bodies_and_heads_are_refused_early(running: Attacked) -> None:
    at = f"Host: {running.host}:{running.port}\r\n"
    post = f"POST /v1/sql HTTP/1.1\r\n{at}".encode()
    for length in ("65537", "1073741824", "9" * 19, "9" * 30, "-1", "1e3", "0x10", "+5", "5, 6", "\u0665"):
        began = time.monotonic()
        answer = running.raw(post + f"Content-Length: {length}\r\n\r\nx".encode(), 5)
        assert status(answer) in (400, 413), (length, answer[:300])
        assert time.monotonic() - began < 5
    with socket.create_connection((running.host, running.port), timeout=20) as made:  # chunked, without an end
        made.sendall(post + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            while sent < 64 << 20:
                made.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        assert sent < 32 << 20, "nobody stopped it"
    with socket.create_connection((running.host, running.port), timeout=20) as made:  # what is allowed, in dribbles
        made.sendall(post + b"Content-Length: 60000\r\n\r\n")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError, TimeoutError):
            while time.monotonic() - began < 20:
                made.sendall(b"x")
                time.sleep(0.2)
        assert time.monotonic() - began < 15, "it was waited for"
    assert status(running.get("/v1/symbols", "X: " + "x" * 70000)) in (0, 400, 431)
    assert status(running.get("/v1/symbols", *(f"X-{n}: {n}" for n in range(10000)))) in (0, 400, 431)
    assert status(running.get("/v1/symbols?" + "&".join(f"a{n}=1" for n in range(10000)))) in (0, 400, 414, 431)
    assert status(running.get("/v1/symbols?" + "&".join("a=" for _ in range(4000)))) == 400
    assert status(running.get("/" + "x" * 1_000_000)) in (0, 400, 414, 431)
    assert status(running.get("/" + "x" * 10_000)) == 404


# -- slowness -----------------------------------------------------------------------------------------------------


def test_slow_clients_are_closed_and_hold_up_nobody(running: Attacked) -> None:
    at = f"Host: {running.host}:{running.port}\r\n".encode()
    with contextlib.ExitStack() as stack:

        def open_(data: bytes, *, small: bool = False) -> socket.socket:
            made = stack.enter_context(socket.socket())
            if small:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.settimeout(20)
            made.connect((running.host, running.port))
            made.sendall(data)
            return made

        readers = [open_(b"GET /v1/sql?q=FROM+range(90000) HTTP/1.1\r\n" + at + b"\r\n", small=True) for _ in range(20)]
        readers += [
            open_(b"GET /v1/stream?channel=trades&symbol=*&snapshot=1000 HTTP/1.1\r\n" + at + b"\r\n", small=True)
            for _ in range(100)
        ]
        halves = [open_(b"GET /v1/symbols HTTP/1.1\r\n" + at) for _ in range(300)]
        shakes = [
            open_(b"GET /v1/stream HTTP/1.1\r\n" + at + b"Upgrade: websocket\r\nConnection: Upgrade\r\n")
            for _ in range(200)
        ]
        tcp = [open_(b"") for _ in range(200)]
        followers = []
        for _ in range(50):  # of the stream, who follow all and read nothing
            made, answer = frames.handshake(running.host, running.port)
            stack.enter_context(made)
            assert b" 101 " in answer[:20]
            params = {"channel": "trades", "symbols": ["*"], "snapshot": 1000}
            made.sendall(frames.frame(json.dumps({"method": "subscribe", "params": params}).encode()))
            followers.append(made)
        began = time.monotonic()
        assert running.ask("/v1/symbols").status == 200
        assert time.monotonic() - began < 3
        running.is_well()
        time.sleep(max(0.0, began + 12 - time.monotonic()))
        for made in (*halves, *shakes, *tcp):  # whose requests did not come: closed, without an answer
            made.settimeout(8)
            with contextlib.suppress(ConnectionError):
                assert made.recv(10) in (b"", b"HTTP/1.1 4"), "still open"
        assert running.ask("/v1/symbols").status == 200
    assert readers
    assert followers


# -- who asks -----------------------------------------------------------------------------------------------------


def test_pages_of_others_and_names_of_others_may_not_ask(running: Attacked) -> None:
    own = f"{running.host}:{running.port}"
    for origin in ("http://evil.example", "null", "", f"http://{running.host}", f"http://{own}.evil.example", "file://",
                   f"http://{own}@evil.example", f"ftp://{own}", f"http://{own}/", f"http://evil.example#{own}",
                   f"http://{own} http://evil.example", "http://localhost", f"HTTP://{own}", "chrome-extension://x"):  # fmt: skip
        answer = running.get("/v1/symbols", f"Origin: {origin}")
        assert status(answer) == 403, (origin, answer)
        assert b"access-control-allow-origin" not in answer.lower()
        made, answer = frames.handshake(running.host, running.port, f"Origin: {origin}")
        made.close()
        assert status(answer) == 403, (origin, answer)
        preflight = running.get("/v1/sql", f"Origin: {origin}", "Access-Control-Request-Method: POST", method="OPTIONS")
        assert status(preflight) == 403
    assert status(running.get("/v1/symbols", f"Origin: http://{own}")) == 200
    for host in ("evil.example", f"evil.example:{running.port}", "", "localhost.evil.example", "localhost.", "0.0.0.0", "2130706433",
                 "user@localhost", "user:x@127.0.0.1:80", "localhost:80:80", "localhost:x", "localhost:99999", "[::1", "::1",
                 "[::1%25eth0]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:2]", "localhost/x", "localhost?x", "localhost#x",
                 "evil.example#@localhost", "localhost, evil.example", "127.0.0.1.nip.io", "127.1", "0x7f.1", "local host",
                 "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3", "169.254.169.254"):  # fmt: skip
        answer = running.get("/v1/symbols", f"Host: {host}")
        assert status(answer) in (400, 421), (host, answer)
        shake = running.get("/v1/stream", f"Host: {host}", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")  # fmt: skip
        assert status(shake) in (400, 421), (host, shake)
    for host in ("localhost", "LOCALHOST:1", "[::1]", "[::1]:80", "127.0.0.1"):
        assert status(running.get("/v1/symbols", f"Host: {host}")) == 200, host
    assert status(running.get("/v1/symbols", f"Host: {own}", "Host: evil.example")) == 400
    assert status(running.get("/v1/symbols", "Host: evil.example", f"Host: {own}")) == 400
    assert status(running.get("http://evil.example/v1/symbols", f"Host: {own}")) in (400, 404, 421)
    assert status(running.get(f"http://{own}/v1/symbols", "Host: evil.example")) in (400, 421)
    assert status(running.get("/v1/symbols", "Host: evil.example", f"X-Forwarded-Host: {own}")) == 421
    assert status(running.raw(b"GET /v1/symbols HTTP/1.1\r\nConnection: close\r\n\r\n")) == 400
    assert status(running.raw(b"GET /v1/symbols HTTP/1.0\r\n\r\n")) == 421


# -- HTTP ---------------------------------------------------------------------------------------------------------


def test_paths_methods_and_requests_of_odd_shapes(running: Attacked) -> None:
    for path in ("/../etc/passwd", "/v1/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/%2e%2e%2fetc%2fpasswd", "//v1/symbols",
                 "//evil.example/v1/symbols", "/v1//symbols", "/v1/symbols/", "/v1/symbols%00", "/v1/symbols/%00", "/v1\\symbols",
                 "/v1/%5c..%5c..%5cwindows", "/v1/symbols%2f..", "/.%00./x", "/v1/%c0%ae%c0%ae/x", "/%ff%fe", "/v1/%252e%252e/x",
                 "/v1/symbols;x=1", "/static/../../../../etc/passwd", "/assets/..%2f..%2f..%2fetc%2fpasswd", "/assets//etc/passwd",
                 "/.git/config", "/.env", "/status.json", "/data/keys.json", "/v1/%e2%80%ae", "/V1/SYMBOLS", "/v1/stream/..",
                 "/%0d%0aSet-Cookie:%20x=1", "/index.html/../keys.json", "*", "v1/symbols", "/page/%2e%2e/%2e%2e/setup.py"):  # fmt: skip
        answer = running.get(path)
        assert status(answer) in (0, 400, 404, 405), (path, answer[:300])
        assert b"root:" not in answer
        assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()
    for method in ("TRACE", "CONNECT", "PUT", "PATCH", "DELETE", "PROPFIND", "NONSENSE", "get", "OPTIONS", "X" * 5000):
        answer = running.get("/v1/candles", "X-Secret: 123456789", method=method)
        assert status(answer) in (400, 405), (method, answer[:300])
        assert b"123456789" not in answer, "echoed"
    assert status(running.raw(b"GET /\r\n", 2)) in (0, 400)  # HTTP/0.9
    assert status(running.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, 2)) in (0, 400)  # TLS
    assert status(running.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 2)) in (0, 400, 404, 405, 421)
    assert status(running.raw(b"\x00" * 70000, 2)) in (0, 400)
    at = f"Host: {running.host}:{running.port}\r\n".encode()
    one = b"GET /healthz HTTP/1.1\r\n" + at + b"\r\n"
    many = running.raw(one * 200 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 10)
    assert many.count(b"HTTP/1.1 200") == 201  # pipelined: each answered once, in order
    # Shapes by which one request is made two: refused, or one answer and the end; the second is never answered as ours.
    hidden = b"GET /v1/symbols HTTP/1.1\r\n" + at + b"\r\n"
    for head in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                 b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: chunked, identity\r\n", b"Transfer-Encoding : chunked\r\n",
                 b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", b"Transfer-Encoding:\x0bchunked\r\n",
                 b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length : 5\r\n", b" Content-Length: 5\r\n",
                 b"X: y\n Content-Length: 5\r\n", b"X: \x00\r\n", b"X: a\rTransfer-Encoding: chunked\r\n", b"\r: x\r\n"):  # fmt: skip
        answer = running.raw(b"POST /v1/sql HTTP/1.1\r\n" + at + head + b"\r\n0\r\n\r\n" + hidden, 1)
        assert b"HTTP/1.1 200" not in answer, (head, answer)
    assert b"200 OK" not in running.raw(
        b"POST /v1/sql HTTP/1.1\r\n" + at + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx", 1
    )
    running.raw(
        b"GET /healthz HTTP/1.1\n" + at.replace(b"\r\n", b"\n") + b"\n", 1
    )  # bare LF: read as one line end or refused


def test_what_is_compressed_is_not_unpacked(running: Attacked) -> None:
    bomb = gzip.compress(b"SELECT 1 -- " + b"x" * (32 << 20))
    assert len(bomb) < 64 << 10
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        answer = running.get(
            "/v1/sql", f"Content-Encoding: {coding}", f"Content-Length: {len(bomb)}", method="POST", body=bomb
        )
        assert status(answer) in (400, 415), answer[:300]
    for offer in (
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits; server_no_context_takeover",
        "x-webkit-deflate-frame",
    ):
        made, answer = frames.handshake(running.host, running.port, f"Sec-WebSocket-Extensions: {offer}")
        with made:
            assert status(answer) == 101
            assert b"sec-websocket-extensions" not in answer.lower()
            made.sendall(frames.frame(gzip.compress(b"x"), bits=4) + frames.frame(b'{"method":"ping"}'))
            made.shutdown(socket.SHUT_WR)
            data = answer.partition(b"\r\n\r\n")[2]
            while part := made.recv(65536):
                data += part
            messages, code = frames.said(data)
            assert (messages, code) == ([], 1002)


# -- the stream ---------------------------------------------------------------------------------------------------


def test_storms_of_subscriptions_and_connections(running: Attacked) -> None:
    topics: list[dict[str, Any]] = [
        {"channel": "trades"},
        {"channel": "candles", "interval": "1s"},
        {"channel": "quotes"},
    ]
    topics += [{"channel": "moving_average"}, {"channel": "candles.forming", "interval": "1s"}, {"channel": "coverage"}]

    async def storm(ws: aiohttp.ClientWebSocketResponse, requests: int, at_once: int) -> int:
        answered = 0
        for first in range(0, requests, at_once):
            for number in range(first, first + at_once):
                params = topics[number % len(topics)] | {"symbols": ["*"]}
                method = "unsubscribe" if number % 2 else "subscribe"
                if method == "subscribe":
                    params["snapshot"] = 1
                await ws.send_json({"method": method, "params": params, "req_id": number})
            left = at_once
            while left:
                message = await asyncio.wait_for(ws.receive(), 30)
                if message.type != aiohttp.WSMsgType.TEXT:
                    return answered
                got = json.loads(message.data)
                assert got["type"] != "error", got
                left -= got["type"] == "ack"
                answered += got["type"] == "ack"
        return answered

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.ws_connect(f"{running.url}/v1/stream", max_msg_size=0) as ws:
                assert await storm(ws, 10_000, 50) == 10_000
            async with session.ws_connect(f"{running.url}/v1/stream", max_msg_size=0) as ws:
                with contextlib.suppress(ConnectionError):  # more than wait their turn: closed, not kept
                    await storm(ws, 10_000, 10_000)
                assert ws.closed
            many = []
            for _ in range(CONNECTIONS // 100):
                made = await asyncio.gather(*(session.ws_connect(f"{running.url}/v1/stream") for _ in range(100)))
                many += made
            assert len(many) == CONNECTIONS
            for ws in many:
                await ws.send_json(
                    {"method": "subscribe", "params": {"channel": "candles", "symbols": ["*"], "interval": "1s"}}
                )
            for ws in many:
                while (kind := json.loads((await asyncio.wait_for(ws.receive(), 60)).data)["type"]) != "ack":
                    assert kind == "heartbeat"
            await asyncio.to_thread(running.is_well)
            for ws in many:
                assert ws._writer.transport is not None
                ws._writer.transport.abort()
            assert running.process.memory_info().rss < running.resident + 2 * GROWTH

    asyncio.run(run())


def test_resumes_are_never_untrue(running: Attacked) -> None:
    pick = random.Random(7)

    async def run() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def resume(cursor: Any, channel: str = "trades", **more: Any) -> tuple[bool, list[Any]]:
                """Whether it was said to be recovered, and the first data message if any came at once."""
                async with session.ws_connect(f"{running.url}/v1/stream", max_msg_size=0) as ws:
                    params = {
                        "channel": channel,
                        "symbols": [running.symbol],
                        "resume": {running.symbol: cursor},
                    } | more
                    await ws.send_json({"method": "subscribe", "params": params, "req_id": 1})
                    got: list[Any] = []
                    while len(got) < 2:
                        message = await asyncio.wait_for(ws.receive(), 30)
                        assert message.type == aiohttp.WSMsgType.TEXT, message
                        read = json.loads(message.data)
                        if read["type"] == "error":
                            assert read["error"]["code"] == "bad_request", read
                            return False, []
                        got += [read] if read["type"] != "heartbeat" else []
                    return got[0]["result"].get("recovered", {}).get(running.symbol, False), got[1:]

            _, first = await resume(None)
            good = first[0]["cursor"]
            epoch, _, number = good.partition(".")
            answers = await asyncio.gather(*(resume(f"{epoch}.{n % 3 + 1}") for n in range(20)))  # of long ago
            for is_recovered, (data,) in answers:
                assert data["type"] == ("update" if is_recovered else "snapshot")
                if is_recovered:
                    assert data["prev"] in {f"{epoch}.{n}" for n in (1, 2, 3)}, data["prev"]
            wrong = [
                f"{epoch}.{10**9}", f"{epoch}.{10**18}", f"{epoch}.{2**63}", f"{epoch}.{2**64 + int(number)}", f"{epoch}.-1",
                f"{epoch}." + "9" * 5000, f"{epoch}.{number}.", f"{epoch}..{number}", f"{epoch}.0{number}", f"{epoch}.+{number}",
                f"{epoch}. {number}", f"{epoch}.{number} ", f"{epoch}.{number}\x00", f"{epoch}.1_0", f"{epoch}.1e1", f"{epoch}.",
                epoch, f".{number}", number, "", ".", "l.1", f"x{epoch}.{number}", f"{epoch.upper()}x.{number}", f"{epoch}.c{number}",
                f"{epoch}.\u0661", f"{epoch}.\u00b2", f"{epoch}.0x1", f"{epoch}.{number}" * 100, 1, -1, None, [], {}, [good], {"a": good}, True,
            ]  # fmt: skip
            wrong += [
                good[:at] + chr(pick.randrange(0x20, 0x7F)) + good[at + 1 :]
                for at in (pick.randrange(len(epoch)) for _ in range(40))
            ]
            wrong += [pick.randbytes(pick.randint(1, 30)).decode("latin-1") for _ in range(40)]
            for cursor in wrong:
                if cursor == good:
                    continue
                is_recovered, got = await resume(cursor)
                assert not is_recovered, cursor
                assert not got or got[0]["type"] == "snapshot"
                for channel, more in (("candles", {"interval": "1s"}), ("coverage", {}), ("quotes", {})):
                    if cursor in wrong[:12]:
                        assert not (await resume(cursor, channel, **more))[0], (cursor, channel)
            is_recovered, _ = await resume(good)
            assert is_recovered

    asyncio.run(run())
    for cursor in ("x.1", "9" * 5000, "a." + "9" * 5000, "\u00e9", ""):
        head = f"GET /v1/stream?channel=trades&symbol={running.symbol} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {cursor}\r\n\r\n"
        answer = running.raw(head.encode("latin-1"), 0.5)
        assert status(answer) == 200
        assert b"event: snapshot" in answer


def test_mutated_frames(running: Attacked) -> None:
    seed = int(os.environ.get("TAPEFLOW_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    ends = frames.main(running.url, 20_000, seed, running.symbol, seconds=120)
    print(dict(ends))
    assert ends["frames"] >= 20_000, ends
    assert ends["internal_error"] == 0, ends


# -- keys ---------------------------------------------------------------------------------------------------------


def test_keys_are_not_guessed(running: Attacked, tmp_path: Path) -> None:
    token = "tf_abcdefgh_" + "a" * 43
    for target in (
        f"/v1/symbols?key={token}",
        f"/v1/symbols?symbol={token}",
        f"/v1/symbols?API_KEY=x&x={token}",
        f"/v1/stream?token={token}",
    ):
        answer = running.get(target)
        assert status(answer) == 400
        assert b"key_in_url" in answer
        assert token.encode() not in answer
    assert token not in running.log
    assert "compare_digest" in inspect.getsource(keys.KeyFile.verify)
    (tmp_path / "locked").mkdir()
    made = [sys.executable, "-m", "tapeflow", "key", "create", "one", "--data", str(tmp_path / "locked" / "data")]
    subprocess.run(made, capture_output=True, timeout=60, check=True)
    locked = Attacked(tmp_path / "locked", "port = 0\nrequire_key = true\nrequests_per_s = 20\n")
    try:
        pick = random.Random(3)
        found = [
            locked.ask(
                "/v1/symbols", {"Authorization": f"Bearer tf_{pick.randbytes(4).hex()}_{pick.randbytes(22).hex()[:43]}"}
            ).status
            for _ in range(300)
        ]
        assert set(found) == {401, 429}, found
        assert found.count(401) < 150, "not bounded"
        for header in (
            "Bearer",
            "Bearer ",
            "Basic dGY6eA==",
            "Bearer \x00",
            "bearer tf_",
            "Bearer " + "x" * 9000,
            "Bearer tf__",
            "\u00e9",
        ):
            assert status(locked.get("/v1/symbols", f"Authorization: {header}")) in (400, 401, 429), header
        made, answer = frames.handshake(locked.host, locked.port)  # the stream: one guess of a key, then another
        with made:
            while status(answer) == 429:
                time.sleep(1)
                made, answer = frames.handshake(locked.host, locked.port)
            guess = frames.frame(json.dumps({"method": "auth", "params": {"key": token}}).encode())
            made.sendall(guess * 1000)
            data = answer.partition(b"\r\n\r\n")[2]
            with contextlib.suppress(ConnectionError):
                while part := made.recv(65536):
                    data += part
            messages, code = frames.said(data)
            assert code == 4029
            assert all(one["type"] == "error" for one in messages)
            assert len(messages) <= 100
            made.close()
    finally:
        locked.stop()
    public = tmp_path / "public.toml"
    public.write_text(f'data = "public"\nsymbols = ["{running.symbol}"]\n[api]\nport = 0\nhost = "0.0.0.0"\n')
    run = [sys.executable, "-m", "tapeflow", "run", str(public)]
    refused = subprocess.run(run, capture_output=True, timeout=60, text=True, check=False)
    assert refused.returncode not in (0, None)
    assert "key" in refused.stderr
    assert "Traceback" not in refused.stderr


# -- the document ---------------------------------------------------------------------------------------------------


def test_answers_are_as_documented_whatever_is_asked(running: Attacked, tmp_path: Path) -> None:
    """Whatever the document allows and what it does not; of texts it says less than the checks of the routes."""
    run = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{running.url}/openapi.json", "--no-color", "--continue-on-failure",
        "--exclude-checks", "positive_data_acceptance,negative_data_rejection", "--max-examples", "6", "--max-time", "45", "--generation-database", "none",
        "--exclude-method", "DELETE", "--warnings", "off",
    ]  # fmt: skip
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, timeout=140, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


# -- after all of it --------------------------------------------------------------------------------------------------


def test_afterwards_it_is_as_it_was(running: Attacked) -> None:
    end = time.monotonic() + 30
    while (grown := running.process.memory_info().rss - running.resident) >= GROWTH and time.monotonic() < end:
        time.sleep(0.5)
    assert grown < GROWTH, f"{grown >> 20} MB more"
    while running.process.num_fds() > running.files + 50 and time.monotonic() < end:
        time.sleep(0.5)
    assert running.process.num_fds() <= running.files + 50
    assert "Traceback" not in running.log
    assert "never retrieved" not in running.log
    running.live.until_whole()
    assert running.ask("/readyz").status == 200
