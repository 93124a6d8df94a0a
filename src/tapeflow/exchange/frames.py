"""WebSocket frames as a server sends them: unmasked, whole."""

from __future__ import annotations

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """The payload behind its header."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def combined(stream: str, payload: str) -> bytes:
    """The payload of a combined stream."""
    return f'{{"stream":"{stream}","data":{payload}}}'.encode()
