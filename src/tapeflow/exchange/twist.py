"""What becomes of data frames while something is wrong: lost, late, twice, out of order, damaged."""

from __future__ import annotations

import heapq
import re

from tapeflow.exchange.clock import seconds
from tapeflow.exchange.connection import Connection
from tapeflow.exchange.faults import Fault, Faults
from tapeflow.exchange.frames import BINARY, TEXT, frame
from tapeflow.sim.chance import Chance

#: A frame that waits to be overtaken waits no longer than this.
_PATIENCE = 0.1
#: No more frames than these wait at a time; beyond it they go out at once.
_MOST_WAITING = 200_000
_PRICE = re.compile(rb'"(p|q|b|B|c|o)":"[0-9.]+"')
_KEY = re.compile(rb'"(p|q|t|a|u|b|U|k|c)":("[^"]*"|[0-9]+)')


class Twist:
    """`put` in the place of `Connection.put`; what waits is let go by `release`."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._waiting: list[tuple[float, int, Connection, bytes]] = []
        self._overtaken: dict[Connection, list[tuple[float, bytes]]] = {}
        self._latest: dict[Connection, float] = {}
        self._number = 0

    def put(self, client: Connection, stream: str, data: bytes) -> None:
        """Send a frame, or what the faults make of it."""
        chance = self._faults.chance
        copies, wait, behind = [data], 0.0, False
        for fault in self._faults.on_frames():
            if not fault.fits(stream) or not chance.hits(fault.permille):
                continue
            match fault.kind:
                case "drop" | "silent":
                    return
                case "duplicate":
                    copies = copies * 2
                case "malformed":
                    copies = [damaged(copy, chance) for copy in copies]
                case "delay":
                    wait += _jittered(fault, chance)
                case "reorder":
                    behind = True
        for copy in copies:
            self._put(client, copy, wait, behind=behind)

    def release(self) -> None:
        """Let go what has waited long enough."""
        now = seconds()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, client, data = heapq.heappop(self._waiting)
            client.put(data)
        for client, held in list(self._overtaken.items()):
            if held and held[0][0] <= now:
                del self._overtaken[client]
                for _, data in held:
                    client.put(data)
        if not self._waiting:
            self._latest.clear()

    def _put(self, client: Connection, data: bytes, wait: float, *, behind: bool) -> None:
        now = seconds()
        due = max(now + wait, self._latest.get(client, 0.0))
        if due > now and len(self._waiting) < _MOST_WAITING:
            self._latest[client] = due
            self._number += 1
            heapq.heappush(self._waiting, (due, self._number, client, data))
        elif behind:
            self._overtaken.setdefault(client, []).append((now + _PATIENCE, data))
        else:
            client.put(data)
            for _, held in self._overtaken.pop(client, ()):
                client.put(held)


def _jittered(fault: Fault, chance: Chance) -> float:
    return fault.ms * (500 + chance.below(1000)) / 1_000_000


def damaged(data: bytes, chance: Chance) -> bytes:
    """The frame with one thing wrong: cut, not a number, negative, a field missing or of another type, not text."""
    payload = _payload(data)
    match chance.below(8):
        case 0:
            return frame(payload[: chance.below(max(1, len(payload)))])
        case 1:
            return frame(_PRICE.sub(rb'"\1":"NaN"', payload, count=1))
        case 2:
            return frame(_PRICE.sub(rb'"\1":"-1.00000000"', payload, count=1))
        case 3:
            return frame(_KEY.sub(rb'"gone":0', payload, count=1))
        case 4:
            return frame(_KEY.sub(rb'"\1":{"wrong":[1,2]}', payload, count=1))
        case 5:
            return frame(_PRICE.sub(rb'"\1":1e999', payload, count=1))
        case 6:
            middle = len(payload) // 2
            return frame(payload[:middle] + b"\xff\xfe" + payload[middle:], TEXT)
        case _:
            return frame(payload, BINARY)


def _payload(data: bytes) -> bytes:
    size = data[1]
    return data[2:] if size < 126 else data[4:] if size == 126 else data[10:]
