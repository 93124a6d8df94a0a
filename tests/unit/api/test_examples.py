"""Examples are filled in with what is, and with nothing that a client made up."""

from __future__ import annotations

import socket
from typing import Any

import msgspec
import pytest

from serving import Client, serving, source
from tapeflow.api.examples import Example, examples
from tapeflow.api.limits import Limits


def told(ask: Client, **headers: str) -> list[Example]:
    said = ask("/v1/examples", headers)
    assert said.status == 200, said.body
    return msgspec.convert(said.json, list[Example])


def test_they_name_this_instance(ask: Client) -> None:
    found = told(ask)
    assert {one.kind for one in found} == {"sh", "python", "sql"}
    assert len({one.title for one in found}) == len(found)
    assert all(ask.address in one.text for one in found if one.kind == "sh")
    assert any("symbol=BTCUSDT&interval=1m" in one.text for one in found)
    assert all(ask.address.replace("127.0.0.1", "localhost") in one.text
               for one in told(ask, Host=f"localhost:{ask.port}") if one.kind == "sh")  # fmt: skip


def test_the_page_has_them_all_and_no_script(ask: Client) -> None:
    page = ask("/welcome").body.decode()
    for one in told(ask):
        assert one.title in page
    assert "<script" not in page
    assert "Following <b>1</b> symbols" in page
    assert "ETHUSDT" not in page  # it is not followed


@pytest.mark.parametrize("host", ["127.0.0.1/$(touch x)", "127.0.0.1'", "localhost?<script>"])
def test_a_name_that_is_none_is_not_repeated(ask: Client, host: str) -> None:
    with socket.create_connection((ask.host, ask.port), 10) as raw:
        raw.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        got = b"".join(iter(lambda: raw.recv(65536), b"")).decode()
    assert "touch" not in got
    assert "<script" not in got
    assert "127.0.0.1'/v1" not in got


def test_only_what_is_kept_and_switched_on(kept: Any) -> None:
    made = source(*kept)
    assert not [one for one in examples(made, Limits(has_sql=False), "http://x") if "SQL" in one.title]
    made.channels = ("trades",)
    assert [one.title for one in examples(made, Limits(), "http://x")] == ["What is followed"]


def test_where_keys_are_needed_every_example_has_one(kept: Any) -> None:
    limits = Limits(needs_key=True)
    for one in examples(source(*kept), limits, "http://x"):
        assert one.kind == "sql" or "TAPEFLOW_API_KEY" in one.text, one.title
        if one.kind == "python":
            compile(one.text, one.title, "exec")
    with serving(source(*kept), Limits(needs_key=True, requests_per_s=999)) as ask:
        page = ask("/welcome").body.decode()
    assert "A key is needed here" in page
    assert "Following" not in page
