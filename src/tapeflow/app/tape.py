"""Tapes as files of messages and back: what `tapeflow tape export` and `import` do."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard

from tapeflow.domain.errors import InputError, OutputError, SettingsError, TapeError
from tapeflow.engine.columns import NONE_TIME
from tapeflow.engine.frames import Frames
from tapeflow.tape.blocks import Block
from tapeflow.tape.index import entries
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.recorded import Recording, merge
from tapeflow.tape.records import Damage, Kind, Record
from tapeflow.tape.verify import Progress
from tapeflow.tape.writer import BLOCK_BYTES, TapeWriter

_GROUP = 1 << 14
_OK = "200 "
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class Exported(msgspec.Struct):
    """What an export did. Of ``changed`` frames the line ends within were made spaces: a frame is a line."""

    frames: int = 0
    answers: int = 0
    changed: int = 0
    damage: list[Damage] = []


class Imported(msgspec.Struct):
    """What an import did: the positions that the records have, and what was wrong with the files."""

    frames: int
    answers: int
    first: int
    next: int
    damaged: dict[str, str] = {}


def export_tape(
    folder: Path, out: Path, *, start: int | None = None, end: int | None = None, progress: Progress | None = None
) -> Exported:
    """Write the frames received in ``start <= t < end`` as lines ``<receive time us> <frame>``, all or no file.

    An answer is a line ``<request> -> <seconds>: <answer>``, so that `replay` and `import` know its request; answers
    that failed are left out. ``.gz`` and ``.zst`` are packed. Raises `OutputError`, `TapeError`.
    """
    found = entries(folder)
    if not found:
        raise TapeError(f"{folder} holds no tape; expected a folder with files such as tape-00000000000000000000.tape")
    chosen = [e for e in found if start is None or e.ts_max is None or e.ts_max >= start]
    done = Exported()
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with (
            _packed(part, out.suffix) as file,
            TapeReader(folder, chosen[0].first if chosen else found[-1].next) as reader,
        ):
            seen, total = 0, sum(entry.raw for entry in chosen)
            for block in reader.blocks():
                file.write(b"".join(_lines(block, start, end, done)))
                seen += len(block.all_bodies)
                if progress is not None:
                    progress(min(seen, total), total)
            done.damage = reader.damage
        part.replace(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}; choose another --out") from error
    finally:
        part.unlink(missing_ok=True)
    return done


def import_files(files: Sequence[Path], out: Path, progress: Progress | None = None) -> Imported:
    """Append the messages of recorded files, merged by receive time, to a tape; raises `InputError`, `TapeError`.

    The tape is made if it is not there. Replaying it gives what replaying the files gives: a message without a
    receive time has none on the tape.
    """
    if not files:
        raise SettingsError("expected at least one file to import")
    with contextlib.ExitStack() as stack:
        recordings: list[Recording] = []
        for path in files:
            recordings.append(Recording(path))
            stack.callback(recordings[-1].close)
        writer = stack.enter_context(TapeWriter(out))
        done = Imported(0, 0, writer.position, 0)
        total = sum(recording.size for recording in recordings)
        for _, frames, start, stop in merge(recordings):
            for at in range(start, stop, _GROUP):
                writer.extend(list(_records(frames, at, min(at + _GROUP, stop), done)))
                if writer.waiting >= BLOCK_BYTES:
                    writer.commit()
            if progress is not None:
                progress(sum(recording.position for recording in recordings), total)
        done.next = writer.commit()
        done.damaged = {str(recording.path): recording.damage for recording in recordings if recording.damage}
    if done.next == done.first:
        raise InputError(f"{', '.join(map(str, files))}: no message to import; expected recorded messages one a line")
    return done


def _records(frames: Frames, start: int, stop: int, done: Imported) -> Iterator[Record]:
    for i in range(start, stop):
        request = frames.request(i)
        ts = int(frames.lines[i]["ts_recv"])
        if request is None:
            done.frames += 1
            yield Kind.FRAME, frames.connection(i), ts, ts, "", frames[i]
        else:
            done.answers += 1
            yield Kind.ANSWER, frames.connection(i), ts, ts, _OK + request, frames[i]


def _lines(block: Block, start: int | None, end: int | None, done: Exported) -> Iterator[bytes]:
    wanted = (block.kinds == Kind.FRAME) | (block.kinds == Kind.ANSWER)
    if start is not None:
        wanted &= block.ts_recv >= start
    if end is not None:
        wanted &= block.ts_recv < end
    for i in wanted.nonzero()[0].tolist():
        body, ts = block.body(i), int(block.ts_recv[i])
        if b"\n" in body or b"\r" in body:
            body = body.translate(_LINE_ENDS)
            done.changed += 1
        if block.kinds[i] == Kind.FRAME:
            done.frames += 1
            yield (b"%b\n" % body) if ts == NONE_TIME else (b"%d %b\n" % (ts, body))
        elif (head := block.head(i)).startswith(_OK):
            line = _answer(head.removeprefix(_OK), ts, body)
            done.answers += line is not None
            yield line or b""


def _answer(request: str, ts: int, body: bytes) -> bytes | None:
    """The line of an answer; a row of a public dump, which has no receive time, cannot be one."""
    if ts == NONE_TIME:
        return None
    seconds, micros = divmod(ts, 1_000_000)
    return b"%b -> %d.%06d: %b\n" % (request.replace(" ", "%20").encode(), seconds, micros, body)


@contextlib.contextmanager
def _packed(path: Path, suffix: str) -> Iterator[IO[bytes]]:
    """A file to write to, packed as the suffix says, and on the disk when it is closed."""
    with path.open("wb") as raw:
        stream: Any
        if suffix == ".gz":
            stream = gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0, filename="")
        elif suffix == ".zst":
            stream = zstandard.ZstdCompressor(level=9).stream_writer(raw, closefd=False)
        else:
            stream = contextlib.nullcontext(raw)
        with stream as file:
            yield file
        raw.flush()
        os.fsync(raw.fileno())
