"""The client's messages on a WebSocket, and the answers to them."""

from __future__ import annotations

import re
from typing import Any, Protocol

import msgspec

#: Streams of one connection.
STREAM_LIMIT = 1024

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_ID = re.compile(r"[A-Za-z0-9_-]{0,36}")
_WRONG_ID = "Invalid request: request ID must be an unsigned integer"


class Subscriber(Protocol):
    """What a message can change of a connection."""

    combined: bool
    streams: dict[str, None]


class Wrong(Exception):
    """A message that cannot be followed, with the venue's code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Wish(msgspec.Struct, frozen=True):
    """What follows from a message: its answer, and streams that begin or end."""

    answer: bytes
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()


def answer(client: Subscriber, message: bytes, *, flat_errors: bool = False) -> Wish:
    """Follow a message of the client; errors are nested in ``error`` unless ``flat_errors``."""
    id: object = None
    try:
        request = _parse(message)
        id = _id(request)
        begin, end, result = _follow(client, request)
    except Wrong as wrong:
        error: dict[str, Any] = {"code": wrong.code, "msg": str(wrong)}
        body = error if flat_errors else {"error": error}
        return Wish(msgspec.json.encode(body if id is None else {**body, "id": id}))
    return Wish(msgspec.json.encode({"result": result, "id": id}), begin, end)


def _parse(message: bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Wrong(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise Wrong(2, "Invalid request: expected an object at line 1 column 1")
    return request


def _id(request: dict[str, Any]) -> object:
    id = request.get("id")
    whole = isinstance(id, int) and not isinstance(id, bool) and -(1 << 63) <= id < 1 << 63
    if "id" not in request or not (id is None or whole or (isinstance(id, str) and _ID.fullmatch(id))):
        raise Wrong(2, _WRONG_ID)
    return id


def _follow(client: Subscriber, request: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...], object]:
    match request.get("method"):
        case None:
            raise Wrong(2, "Invalid request: missing field `method` at line 1 column 73")
        case "SUBSCRIBE":
            return _subscribe(client, _names(request)), (), None
        case "UNSUBSCRIBE":
            return (), _unsubscribe(client, _names(request)), None
        case "LIST_SUBSCRIPTIONS":
            if request.get("params"):
                raise Wrong(2, "Invalid request: too many parameters")
            return (), (), list(client.streams)
        case "SET_PROPERTY":
            _set(client, request)
            return (), (), None
        case "GET_PROPERTY":
            _property(request, 1)
            return (), (), client.combined
        case other:
            known = ", ".join(f"`{name}`" for name in _METHODS)
            raise Wrong(2, f"Invalid request: unknown variant `{other}`, expected one of {known} at line 1 column 28")


def _names(request: dict[str, Any]) -> list[str]:
    names = request.get("params")
    if not isinstance(names, list):
        raise Wrong(2, "Invalid request: streams must be an array")
    if not all(isinstance(name, str) for name in names):
        raise Wrong(2, "Invalid request: stream name must be a string")
    return names


def _subscribe(client: Subscriber, names: list[str]) -> tuple[str, ...]:
    new = tuple(dict.fromkeys(name for name in names if name not in client.streams))
    if len(client.streams) + len(new) > STREAM_LIMIT:
        raise Wrong(2, f"Invalid request: too many streams, at most {STREAM_LIMIT} on one connection")
    client.streams.update(dict.fromkeys(new))
    return new


def _unsubscribe(client: Subscriber, names: list[str]) -> tuple[str, ...]:
    gone = tuple(dict.fromkeys(name for name in names if name in client.streams))
    for name in gone:
        del client.streams[name]
    return gone


def _property(request: dict[str, Any], most: int) -> list[Any]:
    params = request.get("params")
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise Wrong(2, "Invalid request: property name must be a string")
    if len(params) > most:
        raise Wrong(2, "Invalid request: too many parameters")
    if params[0] != "combined":
        raise Wrong(0, "Unknown property")
    return params


def _set(client: Subscriber, request: dict[str, Any]) -> None:
    params = _property(request, 2)
    if len(params) < 2 or not isinstance(params[1], bool):
        raise Wrong(1, "Invalid value type: expected Boolean")
    client.combined = params[1]
