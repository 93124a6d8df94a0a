"""The desk of alerts: rules come and go while it judges."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from fastapi import FastAPI

from feeding import until
from tapeflow.api.alerts import desk as module
from tapeflow.api.alerts import routes
from tapeflow.api.alerts.desk import Bounds, Desk
from tapeflow.api.alerts.journal import Journal
from tapeflow.api.alerts.rulebook import Rulebook
from tapeflow.api.alerts.rules import Apprise, Draft, Stale, Target
from tapeflow.api.guard import NoKeys
from tapeflow.api.hub import Hub
from tapeflow.api.limits import Limits
from tapeflow.api.problem import BY_ERROR
from tapeflow.api.server import Server
from tapeflow.api.topics import Topic


class Quiet:
    """A run of which nothing is heard, and whose store is empty."""

    def is_live(self) -> bool:
        return True

    def find(self, asked: dict[str, Any]) -> list[Topic]:
        return [self.topic(asked)]

    def topic(self, asked: dict[str, Any]) -> Topic:
        return Topic(asked["channel"], asked["symbol"])

    def newest(self, symbol: str, stream: str) -> int | None:
        return None

    def epoch(self, _: Topic) -> str:
        return "e"

    async def ready(self) -> None: ...

    async def since(self, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
        return []

    async def number(self, topic: Topic) -> int:
        return 0

    async def forming_rows(self, topic: Topic) -> list[bytes]:
        return []


def made(folder: Path, *, has_apprise: bool = False) -> Desk:
    run = Quiet()
    hub = Hub("binance", run, lambda _: None)
    return Desk(Rulebook(folder), Journal(folder), hub, run, Bounds(has_apprise=has_apprise))


def test_a_rule_that_goes_while_another_is_written_down_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.1)

    async def run() -> None:
        desk = made(tmp_path)
        write = desk.journal.write

        def slow(line: bytes, *, sync: bool) -> None:
            write(line, sync=sync)
            time.sleep(0.3 if sync else 0.0)

        monkeypatch.setattr(desk.journal, "write", slow)
        await desk.begin()
        await until(lambda: desk._is_open)
        first, second, third = [await desk.add(Draft(Stale(name, 1))) for name in "ABC"]
        await until(lambda: desk.journal.entries)  # the first is being written
        await desk.remove(second.id)
        await until(lambda: {one.event.rule for one in desk.journal.entries.values()} == {first.id, third.id})
        assert not any(task.done() for task in desk._tasks)
        await desk.end()

    asyncio.run(run())


def test_a_target_is_looked_at_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def check(target: Target, *, has_apprise: bool) -> None:
        assert target.url == "json://h"
        threads.append(threading.current_thread())

    monkeypatch.setattr(module, "check_target", check)

    async def run() -> None:
        desk = made(tmp_path, has_apprise=True)
        draft = Draft(Stale("A", 1), targets=(Apprise("a", "json://h"),))
        await desk.look_at_targets(draft, None)
        rule = await desk.add(draft)
        await desk.look_at_targets(Draft(Stale("A", 2), targets=(Apprise("a"),)), rule)

    asyncio.run(run())
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def test_a_rule_that_goes_while_its_new_form_comes_is_not_made_again(tmp_path: Path) -> None:
    desk = made(tmp_path)
    app = FastAPI(exception_handlers=BY_ERROR)
    routes.add(app, desk)
    server = Server(app, "127.0.0.1", 0, limits=Limits(), keys=NoKeys(), parts=(desk,))
    server.start()
    host, port = server.address.removeprefix("http://").split(":")
    body = b'{"when":{"kind":"stale","symbol":"A","seconds":9}}'
    try:
        asked = Request(f"{server.address}/v1/alerts", body, {"Content-Type": "application/json"}, method="POST")
        with urlopen(asked, timeout=4) as answer:
            id = json.loads(answer.read())["id"]
        with socket.create_connection((host, int(port)), 4) as raw:
            head = f"PUT /v1/alerts/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            raw.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:9])
            time.sleep(0.2)
            urlopen(Request(f"{server.address}/v1/alerts/{id}", method="DELETE"), timeout=4).close()
            raw.sendall(body[9:])
            assert raw.recv(1 << 16).startswith(b"HTTP/1.1 404")
        assert not desk.book.rules
    finally:
        server.stop()
