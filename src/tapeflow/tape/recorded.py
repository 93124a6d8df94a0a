"""Recorded input, read in place: the form of a file is recognised by its content.

* raw messages, one a line, bare or in the combined-stream envelope, with or without a leading receive time
  (seconds, with or without a fraction and a colon; milli-, micro- or nanoseconds);
* the ``.cryptofeed`` form: ``<seconds>: <message>``, ``URL <-> t`` a connect, ``URL <- t: ...`` a message sent,
  ``URL -> t: ...`` the answer to a request;
* the venues' public dumps: CSV of trades, aggTrades or klines, the symbol in the file's name;
* any of them in gzip, zstandard or zip.
"""

from __future__ import annotations

import codecs
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tapeflow.domain.errors import InputError
from tapeflow.engine.columns import NONE_TIME
from tapeflow.engine.frames import Frames, split
from tapeflow.tape.streams import open_stream

BLOCK = 4 << 20
#: A line beyond this is cut and quarantined: memory stays bounded whatever a file holds.
LINE_LIMIT = 32 << 20

_NOTE = re.compile(rb"(?:(\S+) (<->|<-|->) ([0-9]+)(?:\.([0-9]+))?(?:: |$)|configuration: )")
_CSV = re.compile(rb"[0-9]+,[0-9.]+,[0-9.]+,[0-9.]+,")
_DUMP_NAME = re.compile(
    r"(?P<symbol>.+?)-(?P<kind>trades|aggTrades|\d+(?:s|m|h|d|w|mo))-\d{4}-\d{2}(?:-\d{2})?", re.ASCII
)


class Recording:
    """A file of recorded messages. ``frames()`` gives them block by block; ``size`` and ``position`` tell progress."""

    def __init__(self, path: Path, symbol: str | None = None) -> None:
        self.path = path
        self.damage = ""
        try:
            self.size = path.stat().st_size
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}; give the path of a recorded file") from error
        try:
            self._stream = open_stream(self._file, path)
            self._head = self._read(1 << 16).removeprefix(codecs.BOM_UTF8)
        except BaseException:
            self._file.close()
            raise
        self._dump = self._dump_request(symbol)

    @property
    def position(self) -> int:
        """Bytes of the file read so far, compressed if it is."""
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def frames(self) -> Iterator[Frames]:
        """The messages in the file's order."""
        rest: bytes | memoryview = self._head
        last = False
        while not last:
            block, last = self._block(rest)
            at = 0
            while at < len(block):
                lines, following = split(block, at, last=last)
                if following == at:
                    break
                at = following
                if len(lines):
                    yield self._frames(block, lines)
            rest = block[at:]
            if len(rest) > LINE_LIMIT:
                yield self._cut(bytes(rest[:BLOCK]))
                rest = self._skip_line()

    def _block(self, rest: bytes | memoryview) -> tuple[memoryview, bool]:
        """What is left of the last block and as much again, in one buffer; True at the end of the file."""
        buffer = memoryview(bytearray(len(rest) + BLOCK))
        buffer[: len(rest)] = rest
        size = self._read_into(buffer[len(rest) :])
        return buffer[: len(rest) + size].toreadonly(), size == 0

    def _cut(self, start: bytes) -> Frames:
        self.damage = f"a line of more than {LINE_LIMIT} bytes"
        return Frames.of([(None, start)], self.path.name)

    def _skip_line(self) -> bytes:
        while block := self._read(BLOCK):
            at = block.find(b"\n")
            if at >= 0:
                return block[at + 1 :]
        return b""

    def _read(self, size: int) -> bytes:
        block = bytearray(size)
        return bytes(block[: self._read_into(memoryview(block))])

    def _read_into(self, room: memoryview) -> int:
        try:
            size = self._stream.read_into(room)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            if isinstance(error, OSError) and error.strerror:
                raise InputError(f"{self.path}: {error.strerror}") from error
            self.damage = f"the compressed data is damaged: {error}"
            return 0
        self.damage = self.damage or self._stream.damage
        return size

    def _dump_request(self, symbol: str | None) -> str | None:
        """What the rows of a public dump answer, or None where the file is none."""
        head = self._head.split(b"\n", 2)
        if not any(_CSV.match(line) for line in head[:2]):
            return None
        named = _DUMP_NAME.match(self.path.name)
        if named is None:
            raise InputError(
                f"{self.path}: a public dump is expected under its own name, such as BTCUSDT-trades-2025-01-01.csv, "
                "because its rows do not say symbol or kind: rename the file"
            )
        return f"dump:{named['kind']}?symbol={symbol or named['symbol']}"

    def _frames(self, buffer: memoryview, lines: npt.NDArray[Any]) -> Frames:
        if self._dump is not None:
            first = np.frombuffer(buffer, np.uint8)[lines["start"]]
            lines = lines[(first >= ord("0")) & (first <= ord("9"))]
            return Frames(buffer, lines, self.path.name, dump=self._dump)
        first = np.frombuffer(buffer, np.uint8)[lines["start"]]
        odd = np.flatnonzero((first != ord("{")) & (first != ord("[")))
        if not len(odd):
            return Frames(buffer, lines, self.path.name)
        return self._with_notes(buffer, lines, odd)

    def _with_notes(self, buffer: memoryview, lines: npt.NDArray[Any], odd: npt.NDArray[Any]) -> Frames:
        """Take the notes of the .cryptofeed form for what they are; any other odd line stays and is quarantined."""
        lines = lines.copy()
        keep = np.ones(len(lines), bool)
        answers: dict[int, str] = {}
        for i in odd.tolist():
            start, end, ts_recv = lines[i].tolist()
            note = _NOTE.match(buffer, start, end) if ts_recv == NONE_TIME else None
            if note is None:
                continue
            if note.group(2) != b"->":
                keep[i] = False
                continue
            fraction = (note.group(4) or b"")[:6].ljust(6, b"0")
            lines[i] = (note.end(), end, int(note.group(3)) * 1_000_000 + int(fraction))
            answers[i] = note.group(1).decode()
        moved = np.cumsum(keep) - 1
        return Frames(buffer, lines[keep], self.path.name, {int(moved[i]): url for i, url in answers.items()})


def merge(recordings: list[Recording]) -> Iterator[tuple[int, Frames, int, int]]:
    """The frames of all recordings by receive time: (which recording, frames, start, stop).

    A file keeps its own order: a frame without a time, or with an earlier one than the frame before it, counts as
    received with that one. Files without receive times come whole, in the order given.
    """
    heads = [_Head(i, recording.frames()) for i, recording in enumerate(recordings)]
    heads = [head for head in heads if head.fill()]
    while heads:
        head = min(heads, key=lambda h: (h.key, h.index))
        others = [(h.key, h.index) for h in heads if h is not head]
        yield from head.take(min(others) if others else None)
        if not head.fill():
            heads.remove(head)


class _Head:
    """The next frames of one recording."""

    def __init__(self, index: int, blocks: Iterator[Frames]) -> None:
        self.index = index
        self._blocks = blocks
        self._frames: Frames | None = None
        self._keys: npt.NDArray[Any] = np.empty(0, np.int64)
        self._at = 0
        self._newest = NONE_TIME

    @property
    def key(self) -> int:
        return int(self._keys[self._at])

    def fill(self) -> bool:
        """Have a frame at hand; False at the end."""
        while self._frames is None or self._at == len(self._frames):
            self._frames = next(self._blocks, None)
            if self._frames is None:
                return False
            self._at = 0
            self._keys = np.maximum(np.maximum.accumulate(self._frames.lines["ts_recv"]), self._newest)
            if len(self._keys):
                self._newest = int(self._keys[-1])
        return True

    def take(self, until: tuple[int, int] | None) -> Iterator[tuple[int, Frames, int, int]]:
        """The frames before the head of the next recording."""
        if self._frames is None:
            return
        stop = len(self._frames)
        if until is not None:
            key, index = until
            stop = int(np.searchsorted(self._keys, key, "right" if self.index < index else "left"))
            stop = max(stop, self._at + 1)
        start, self._at = self._at, stop
        yield self.index, self._frames, start, stop
