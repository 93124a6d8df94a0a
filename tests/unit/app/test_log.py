"""The log: a line for people or an object for machines, and no secret in either."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Iterator

import pytest
import structlog

from tapeflow.app.log import Format, Level, level_of, redact, say, setup

SECRET = "tf_Ab3dE6gH_" + "q" * 43


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def said(format: Format, level: Level = "info") -> io.StringIO:
    out = io.StringIO()
    setup(format, level, out)
    return out


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"Bearer {SECRET}", "Bearer tf_Ab3dE6gH_***"),
        ("Bearer abcdefghi.jkl", "Bearer ***"),
        (f"got {SECRET}, refused", "got tf_Ab3dE6gH_***, refused"),
        ("GET /x?token=abc&symbol=BTCUSDT", "GET /x?token=***&symbol=BTCUSDT"),
        ("api_key=abc apiKey=def listenKey=ghi", "api_key=*** apiKey=*** listenKey=***"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: ***"),
        ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': '***'}"),
        ("wss://me:pw@host:9443/ws", "wss://***@host:9443/ws"),
        ("signature=00ff", "signature=***"),
        ("BTCUSDT; key figures: tf_x monkey", "BTCUSDT; key figures: tf_x monkey"),
    ],
)  # fmt: skip
def test_secrets_are_starred_out(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert redact(clean) == clean


def test_text_is_a_line_for_people() -> None:
    out = said("text")
    say("live after 0.5 s")
    say("opened", symbol="BTCUSDT")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} live after 0.5 s\n\S+ opened symbol=BTCUSDT\n", out.getvalue())


def test_json_is_an_object_a_line() -> None:
    out = said("json")
    say("live after 0.5 s")
    say(
        f"cannot use {SECRET}\nat all", url="https://a:b@c", token="abc", headers={"Authorization": "x"}, n=3, none=None
    )
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first.pop("ts"))
    assert first == {"level": "info", "event": "live after 0.5 s"}
    assert (second["level"], second["event"]) == ("warning", "cannot use tf_Ab3dE6gH_***\nat all")
    assert (second["url"], second["token"], second["headers"]) == ("https://***@c", "***", {"Authorization": "***"})
    assert (second["n"], second["none"]) == (3, None)


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_level_leaves_out_what_is_less(format: Format) -> None:
    out = said(format, "warning")
    say("live after 0.5 s")
    say("the tape cannot be written")
    say("by the way", level="debug")
    assert len(out.getvalue().splitlines()) == 1
    assert "cannot be written" in out.getvalue()


def test_one_and_the_same_fault_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = said("text"), 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    log = logging.getLogger("tapeflow.api.stream")
    for number in range(1000):
        log.error("a request of client %d failed", number)
        log.error("another fault") if number == 500 else None
    lines = out.getvalue().splitlines()
    assert [line for line in lines if "another" not in line][-1].count("client 4") == 1
    assert len(lines) == 5 + 1
    now += 11
    log.error("a request of client %d failed", 1000)
    assert "client 1000 failed (and 995 more of these before)" in out.getvalue().splitlines()[-1]


def test_a_terminal_that_is_closed_stops_nothing_that_is_said_to_it() -> None:
    ours, theirs = os.openpty()
    with io.TextIOWrapper(os.fdopen(theirs, "wb", buffering=0), write_through=True) as terminal:
        setup(file=terminal)
        os.close(ours)
        say("all is well")
        logging.getLogger("library").warning("or not")
        with pytest.raises(OSError, match="Input/output error"):
            os.write(theirs, b"nobody can")


@pytest.mark.parametrize("format", ["text", "json"])
def test_what_libraries_say_takes_the_same_form_and_keeps_no_secret(format: Format) -> None:
    out = said(format)
    logging.getLogger("uvicorn.error").warning("bad token=%s", "abc")
    logging.getLogger("aiohttp").info("chatter")
    try:
        raise ValueError(f"no {SECRET}")
    except ValueError:
        logging.getLogger("asyncio").exception("task failed")
    text = out.getvalue()
    assert "abc" not in text
    assert SECRET not in text
    assert "chatter" not in text
    assert "ValueError" in text
    if format == "json":
        rows = [json.loads(line) for line in text.splitlines()]
        assert [row["level"] for row in rows] == ["warning", "error"]
        assert rows[0]["logger"] == "uvicorn.error"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("following BTCUSDT of binance", "info"),
        ("binance-1: cannot connect (TimeoutError: ); again in 1.0 s", "warning"),
        ("BTCUSD is not listed by binance, nothing will come of it", "warning"),
        ("the tape ended torn, as after a kill", "warning"),
        ("the store can be written again", "info"),
    ],
)
def test_a_sentence_of_trouble_is_a_warning(text: str, level: str) -> None:
    assert level_of(text) == level
