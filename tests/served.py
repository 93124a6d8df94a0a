"""A request to an ASGI application without a socket: what a server would be told."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def get(app: Any, path: str) -> Answered:
    """``GET path``."""

    async def work() -> Answered:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": path}
        scope |= {"raw_path": path.encode(), "query_string": b"", "headers": [], "scheme": "http", "root_path": ""}
        await app(scope | {"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)}, receive, send)
        headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Answered(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))

    return asyncio.run(work())
