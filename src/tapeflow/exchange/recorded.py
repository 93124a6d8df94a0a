"""Recorded messages as a venue would send them again: their streams, their times, and both moved to now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from tapeflow.domain.errors import InputError
from tapeflow.sim.wire import MILLI
from tapeflow.tape.recorded import Recording

Payload = dict[str, Any]

_MICRO_FROM = 10**14
#: Times at the top of a payload, by event; ``E`` everywhere.
_TIMES = ("E", "T", "O", "C")
_EVENTS = {"24hrMiniTicker": "miniTicker", "24hrTicker": "ticker"}
_PLAIN = ("trade", "aggTrade", "avgPrice", "blockTrade", "referencePrice")


class Message(msgspec.Struct, frozen=True):
    """A payload, when it came, and the streams that carry it. A book that REST answered has no stream."""

    ts: int
    names: tuple[str, ...]
    payload: Payload
    symbol: str


def messages(path: Path) -> Iterator[Message]:
    """All messages of a recording that a spot venue's streams could have carried, in its order."""
    recording = Recording(path)
    try:
        newest = 0
        for frames in recording.frames():
            for i in range(len(frames)):
                found = _message(frames[i], frames.request(i))
                if found is None:
                    continue
                names, payload, symbol = found
                newest = max(newest, frames.ts_recv(i) or event_time(payload) or newest)
                yield Message(newest, names, payload, symbol)
    finally:
        recording.close()
    if not newest:
        raise InputError(f"{path}: expected recorded messages of Binance spot, found none: give another file")


def event_time(payload: Payload) -> int | None:
    """The payload's own time in microseconds; None if it has none."""
    ts = payload.get("E", payload.get("T"))
    return None if not isinstance(ts, int) else ts if ts >= _MICRO_FROM else ts * MILLI


def moved(payload: Payload, shift_us: int, unit: int) -> bytes:
    """The payload as JSON, its times later by ``shift_us`` and in the unit of the connection."""
    changed: Payload = {
        key: _moved(payload[key], shift_us, unit) for key in _TIMES if isinstance(payload.get(key), int)
    }
    bar = payload.get("k")
    if isinstance(bar, dict):
        times = {"t": _moved(bar["t"], shift_us, unit), "T": _moved(bar["T"] + 1, shift_us, unit) - 1}
        changed["k"] = {**bar, **times}
    return msgspec.json.encode({**payload, **changed})


def _moved(ts: int, shift_us: int, unit: int) -> int:
    return ((ts if ts >= _MICRO_FROM else ts * MILLI) + shift_us) // unit


def _message(raw: bytes, request: str | None) -> tuple[tuple[str, ...], Payload, str] | None:
    try:
        if request is not None and request.startswith("dump:"):
            return _dumped(raw, request)
        payload = msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError):
        return None
    if not isinstance(payload, dict):
        return None
    if request is not None:
        return ((), payload, _query(request).get("symbol", "")) if "lastUpdateId" in payload else None
    if isinstance(payload.get("stream"), str) and isinstance(payload.get("data"), dict):
        name = payload["stream"]
        return (name,), payload["data"], name.partition("@")[0].upper()
    return _bare(payload)


def _bare(payload: Payload) -> tuple[tuple[str, ...], Payload, str] | None:
    """A payload without its stream's name: the kind of event tells it."""
    if "lastUpdateId" in payload:
        return (), payload, ""
    symbol, event = payload.get("s"), payload.get("e")
    if not isinstance(symbol, str):
        return None
    low = symbol.lower()
    if event is None:
        return ((f"{low}@bookTicker",), payload, symbol) if "u" in payload else None
    if event == "depthUpdate":
        return (f"{low}@depth", f"{low}@depth@100ms"), payload, symbol
    if event == "kline" and isinstance(payload.get("k"), dict):
        return (f"{low}@kline_{payload['k'].get('i')}",), payload, symbol
    kind = event if event in _PLAIN else _EVENTS.get(event)
    return None if kind is None else ((f"{low}@{kind}",), payload, symbol)


def _dumped(raw: bytes, request: str) -> tuple[tuple[str, ...], Payload, str] | None:
    """A row of a public dump of trades or aggregates, as the stream would have sent it."""
    kind, symbol = urlsplit(request).path.removeprefix("dump:"), _query(request).get("symbol", "")
    cells = raw.decode().split(",")
    low = symbol.lower()
    if kind == "trades" and len(cells) >= 6:
        ts = int(cells[4])
        head = {"e": "trade", "E": ts, "s": symbol, "t": int(cells[0]), "p": cells[1], "q": cells[2], "T": ts}
        return (f"{low}@trade",), {**head, "m": _is_true(cells[5]), "M": True}, symbol
    if kind == "aggTrades" and len(cells) >= 7:
        ts = int(cells[5])
        ids = {"a": int(cells[0]), "p": cells[1], "q": cells[2], "f": int(cells[3]), "l": int(cells[4])}
        return (
            (f"{low}@aggTrade",),
            {"e": "aggTrade", "E": ts, "s": symbol, **ids, "T": ts, "m": _is_true(cells[6]), "M": True},
            symbol,
        )
    return None


def _is_true(text: str) -> bool:
    return text.strip().lower() == "true"


def _query(request: str) -> dict[str, str]:
    return {key: values[-1] for key, values in parse_qs(urlsplit(request).query).items()}
