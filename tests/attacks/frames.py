"""Mutated frames at the server's own WebSocket.

``python tests/attacks/frames.py http://127.0.0.1:8600 --frames 1000000 [--seed N]`` attacks a run that is going on.
Each connection sends a few frames, most of them wrong in some way, and its end: the server has to end it too, and
whatever it says meanwhile has to be a message of the contract. Between them a client that behaves has to be served.
"""

# ruff: noqa: E501
from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import random
import socket
import struct
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
#: What a client must never be told.
LEAKS = (b"Traceback", b'File "', b"site-packages", b"tapeflow/", b".py", b"Error(", b"object at 0x")
TYPES = {"ack", "error", "snapshot", "update", "heartbeat", "pong", "closing"}
PATIENCE_S = 15.0


def frame(
    payload: bytes, kind: int = TEXT, *, fin: bool = True, bits: int = 0, mask: bool = True, **told: int
) -> bytes:
    """A frame; ``length`` tells another length than it has, ``width`` the bytes in which it is told."""
    length = told.get("length", len(payload))
    width = told.get("width", 0 if length < 126 else 2 if length < 1 << 16 else 8)
    head = bytes([(fin << 7) | (bits << 4) | kind])
    if width == 0:
        head += bytes([(mask << 7) | min(length, 125)])
    else:
        head += bytes([(mask << 7) | (126 if width == 2 else 127)])
        head += struct.pack(">H", length & 0xFFFF) if width == 2 else struct.pack(">Q", length & (1 << 64) - 1)
    key = b"\x37\xfa\x21\x3d"
    body = bytes(byte ^ key[at & 3] for at, byte in enumerate(payload))
    return head + (key + body if mask else payload)


def requests(symbol: str) -> list[dict[str, Any]]:
    candles = {"channel": "candles", "symbols": [symbol], "interval": "1s", "snapshot": 1}
    return [
        {"method": "ping", "req_id": 1},
        {"method": "list", "params": {}, "req_id": 2},
        {"method": "subscribe", "params": candles, "req_id": 3},
        {"method": "subscribe", "params": candles | {"resume": {symbol: "x.1"}}, "req_id": 4},
        {"method": "subscribe", "params": {"channel": "trades", "symbol": symbol, "snapshot": 2}, "req_id": "a"},
        {"method": "subscribe", "params": {"channel": "moving_average", "symbols": ["*"], "window_ms": 3000}},
        {"method": "subscribe", "params": {"channel": "coverage", "symbols": [symbol]}},
        {"method": "unsubscribe", "params": candles, "req_id": 5},
        {"method": "auth", "params": {"key": "tf_aaaaaaaa_" + "a" * 43}, "req_id": 6},
    ]


_VALUES = [
    "null", "true", "-1", "0", "1e308", "1e400", "-0.0", "9" * 40, "9" * 5000, "NaN", "Infinity", '""', '"\\ud800"',
    '"\\u0000"', '"' + "x" * 5000 + '"', "[]", "{}", "[[]]", '{"a":{}}', "[" * 500 + "]" * 500, "[" * 9000 + "]" * 9000,
    '{"a":' * 300 + "1" + "}" * 300, '["*"]', '["*","*"]', '"*"', "[null]", "18446744073709551616", "0x10", "1_0",
    '"\u202e\U0001f4a3"', '"../../etc/passwd"', "[1,2", '{"__class__":"x"}',
]  # fmt: skip


def mutated(pick: random.Random, symbol: str) -> bytes:
    """A request that is wrong in one place or more."""
    text = json.dumps(pick.choice(requests(symbol)))
    for _ in range(pick.randint(1, 3)):
        way = pick.randrange(6)
        tokens = [at for at, sign in enumerate(text) if sign in ':,[{}]"'] or [0]
        at = pick.choice(tokens)
        if way == 0:  # another value
            colon = pick.choice([at for at, sign in enumerate(text) if sign == ":"] or [0])
            end = min((text.find(sign, colon) for sign in ",}" if text.find(sign, colon) > 0), default=len(text))
            text = text[: colon + 1] + pick.choice(_VALUES) + text[end:]
        elif way == 1:  # one more field, or one given twice
            name = pick.choice(["method", "params", "req_id", "resume", "snapshot", "interval", "symbols", "zzz"])
            text = "{" + f'"{name}":{pick.choice(_VALUES)},' + text[1:]
        elif way == 2:
            text = text[:at] + pick.choice('{}[]":,\\\x00 x1') + text[at:]
        elif way == 3:
            text = text[:at] + text[at + 1 :]
        elif way == 4:
            text = text.replace('"params": {', '"params": {' + f'"{pick.choice(["name", "interval", "symbols", "resume", "snapshot", "channel"])}":{pick.choice(_VALUES)},', 1)  # fmt: skip
        else:
            text = text[:at]
    return text.encode("utf-8", "surrogatepass")


def attack(pick: random.Random, symbol: str) -> bytes:
    """The bytes of one mutated frame."""
    good = json.dumps(pick.choice(requests(symbol))).encode()
    way = pick.randrange(20)
    if way < 8:
        return frame(mutated(pick, symbol))
    made = {
        8: lambda: frame(good, mask=False),
        9: lambda: frame(good, bits=pick.randint(1, 7)),
        10: lambda: frame(good, length=pick.choice([0, 1, len(good) - 1, len(good) + 1, 125, 126, 65535])),
        11: lambda: frame(
            good, width=8, length=pick.choice([len(good), 1 << 16, 1 << 31, 1 << 32, 1 << 62, (1 << 64) - 1])
        ),
        12: lambda: frame(good[:9], fin=False) + frame(good[9:], 0, fin=pick.random() < 0.7),
        13: lambda: frame(b"p" * pick.choice([126, 1000]), pick.choice([PING, PONG, CLOSE])),
        14: lambda: frame(b"p" * pick.randint(0, 125), pick.choice([PING, PONG, CLOSE]), fin=False),
        15: lambda: frame(pick.choice([b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b'{"method":"\xff"}', b"\xf8\x88"])),
        16: lambda: frame(good[:9], fin=False) + frame(b"", PING) + frame(good, TEXT) + frame(good[9:], 0),
        17: lambda: frame(good)[: pick.randint(1, len(good))],
        18: lambda: pick.randbytes(pick.randint(1, 300)),
        19: lambda: frame(pick.randbytes(pick.randint(0, 40)), pick.choice([0, 2, 3, 5, 7, CLOSE, 11, 15])),
    }
    return made[way]()


def handshake(host: str, port: int, *lines: str) -> tuple[socket.socket, bytes]:
    """A connection and the answer to its handshake, with what came after it."""
    made = socket.create_connection((host, port), timeout=PATIENCE_S)
    key = base64.b64encode(os.urandom(16)).decode()
    head = [
        "GET /v1/stream HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *lines, "", "",
    ]  # fmt: skip
    made.sendall("\r\n".join(head).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = made.recv(65536)
        if not part:
            break
        answer += part
    return made, answer


def said(data: bytes) -> tuple[list[Any], int | None]:
    """The messages of the server, and the code with which it closed."""
    messages, at = [], 0
    while at + 2 <= len(data):
        kind, length, size = data[at] & 15, data[at + 1], 2
        assert data[at] & 0x70 == 0, "reserved bits of the server"
        if length >= 126:
            size = 4 if length == 126 else 10
            length = int.from_bytes(data[at + 2 : at + size], "big")
        payload = data[at + size : at + size + length]
        at += size + length
        if at > len(data):
            break
        if kind == CLOSE:
            return messages, int.from_bytes(payload[:2], "big") if payload else 1005
        if kind == TEXT:
            messages.append(json.loads(payload))
        else:
            assert kind in (PING, PONG), kind
    return messages, None


def volley(host: str, port: int, frames: list[bytes]) -> tuple[list[Any], int | None]:
    """Send frames and the end; what the server said. It has to end the connection in time."""
    made, answer = handshake(host, port)
    with made:
        assert answer.startswith(b"HTTP/1.1 101"), answer[:200]
        data = answer.partition(b"\r\n\r\n")[2]
        with contextlib.suppress(ConnectionError):
            made.sendall(b"".join(frames))
            made.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := made.recv(1 << 18):
                data += part
    for leak in LEAKS:
        assert leak not in data, (leak, data[:2000])
    messages, code = said(data)
    for message in messages:
        assert message["type"] in TYPES, message
        recovered = message.get("result", {}).get("recovered", {}) if message["type"] == "ack" else {}
        assert not any(recovered.values()), message  # no cursor here is one of a server
    return messages, code


def behaves(host: str, port: int) -> None:
    """One that behaves is served."""
    messages, code = volley(host, port, [frame(b'{"method":"ping","req_id":77}'), frame(b"\x03\xe8", CLOSE)])
    assert any(one["type"] == "pong" and one["req_id"] == 77 for one in messages) or code == 1000, (messages, code)


def main(address: str, frames: int, seed: int, symbol: str = "BTCUSDT", seconds: float = 0.0) -> Counter[str]:
    """Send so many frames, for so long at most; what became of the connections."""
    pick = random.Random(seed)
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 80
    ends: Counter[str] = Counter()
    sent, end = 0, time.monotonic() + (seconds or float("inf"))
    while sent < frames and time.monotonic() < end:
        is_wellformed = pick.random() < 0.5  # else the first wrong frame is the last that is read
        make = (lambda: frame(mutated(pick, symbol))) if is_wellformed else (lambda: attack(pick, symbol))
        batch = [make() for _ in range(pick.randint(1, 20))]
        try:
            messages, code = volley(host, port, batch)
        except (AssertionError, TimeoutError, ValueError) as error:
            raise AssertionError(f"seed {seed}, after {sent} frames: {error!r}; frames: {batch!r}"[:6000]) from error
        ends[f"closed {code}"] += 1
        for one in messages:
            ends[one["type"]] += 1
            ends["internal_error"] += one["type"] == "error" and one["error"]["code"] == "internal_error"
        sent += len(batch)
        if len(batch) == 20:
            behaves(host, port)
    ends["frames"] = sent
    return ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8600")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--symbol", default="BTCUSDT")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    print(dict(main(given.address, given.frames, given.seed, given.symbol)))
