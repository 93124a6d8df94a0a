"""Frames: a block of raw messages as they lie in a buffer, with their receive times."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tapeflow.engine.columns import LINE, NONE_TIME
from tapeflow.engine.kernels import COMPILED

SPLIT_LIMIT = 1 << 16

_RECEIVE_TIME = re.compile(rb"([0-9]{9,19})(?:\.([0-9]{1,12}))?:?[ \t]+(?=[^ \t])", re.ASCII)


class Frames:
    """Messages ``lines[i]`` = (start, end, receive time or NONE_TIME) in ``buffer``.

    ``requests`` names the request that a message answers, for those that are answers; ``dump`` is the request that
    all of them, rows of a public dump, answer. ``came`` tells when an answer came where its receive time is left out,
    since that says nothing about when what it tells happened. ``owners`` numbers the connection of each message among
    names, where they came by several.
    """

    __slots__ = ("_answers", "_came", "_connection", "_owners", "buffer", "dump", "lines", "packed", "requests")

    def __init__(
        self,
        buffer: bytes | memoryview,
        lines: npt.NDArray[Any],
        connection: str = "",
        requests: dict[int, str] | None = None,
        dump: str | None = None,
        owners: tuple[npt.NDArray[Any], list[str]] | None = None,
        came: Mapping[int, int] | None = None,
    ) -> None:
        self.buffer = buffer
        self.lines = lines
        self.packed = lines.tobytes()
        self._connection = connection
        self._owners = owners
        self._came = came or {}
        self.requests = requests or {}
        self._answers = sorted(self.requests)
        self.dump = dump

    @classmethod
    def of(cls, messages: list[tuple[int | None, bytes]], connection: str = "") -> Frames:
        """Frames of (receive time, message) pairs."""
        lines, at = [], 0
        for ts_recv, message in messages:
            lines.append((at, at + len(message), NONE_TIME if ts_recv is None else ts_recv))
            at += len(message)
        return cls(b"".join(message for _, message in messages), np.array(lines, LINE), connection)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, i: int) -> bytes:
        line = self.lines[i]
        return bytes(self.buffer[line["start"] : line["end"]])

    def connection(self, i: int) -> str:
        """The connection that message ``i`` came by."""
        if self._owners is None:
            return self._connection
        numbers, names = self._owners
        return names[int(numbers[i])]

    def next_answer(self, start: int, stop: int) -> int:
        """The first message of ``start..stop`` that answers a request, ``stop`` if none does."""
        at = bisect_left(self._answers, start)
        return min(self._answers[at], stop) if at < len(self._answers) else stop

    def request(self, i: int) -> str | None:
        """The request that message ``i`` answers, if it does."""
        return self.dump or self.requests.get(i)

    def came(self, i: int) -> int | None:
        """When message ``i`` came, for what depends on that alone: whether a candle that it tells had ended."""
        return self._came.get(i, self.ts_recv(i))

    def ts_recv(self, i: int) -> int | None:
        ts = int(self.lines[i]["ts_recv"])
        return None if ts == NONE_TIME else ts


def split(
    buffer: bytes | memoryview, start: int, *, last: bool, limit: int = SPLIT_LIMIT
) -> tuple[npt.NDArray[Any], int]:
    """Up to ``limit`` lines of ``buffer`` from ``start``, and where to go on; the torn last line only if ``last``."""
    if COMPILED is not None:
        packed, following = COMPILED.split(buffer, start, last, limit)
        return np.frombuffer(packed, LINE), following
    return _portable_split(bytes(buffer), start, last=last, limit=limit)


def _portable_split(buffer: bytes, start: int, *, last: bool, limit: int) -> tuple[npt.NDArray[Any], int]:
    lines: list[tuple[int, int, int]] = []
    while len(lines) < limit and start < len(buffer):
        stop = buffer.find(b"\n", start)
        if stop < 0:
            if not last:
                break
            stop = len(buffer)
        line = buffer[start:stop]
        text = line.rstrip(b"\r \t")
        body = text.lstrip(b" \t")
        begin, end = start + len(text) - len(body), start + len(text)
        start = min(stop + 1, len(buffer))
        if body:
            ts_recv, skip = _receive_time(body)
            lines.append((begin + skip, end, ts_recv))
    return np.array(lines, LINE), start


def _receive_time(line: bytes) -> tuple[int, int]:
    """Receive time before a message and how many bytes it takes: ``digits[.digits][:]`` and space, else none.

    The unit follows from the digits of the whole part: seconds below 12, then milli-, micro- and nanoseconds.
    """
    match = _RECEIVE_TIME.match(line)
    if match is None:
        return NONE_TIME, 0
    whole, fraction = match.groups()
    if fraction is not None and len(whole) > 11:
        return NONE_TIME, 0
    value = int(whole)
    if len(whole) >= 18:
        ts = value // 1000
    elif len(whole) >= 15:
        ts = value
    elif len(whole) >= 12:
        ts = value * 1000
    else:
        ts = value * 1_000_000 + int((fraction or b"")[:6].ljust(6, b"0"))
    return ts, match.end()
