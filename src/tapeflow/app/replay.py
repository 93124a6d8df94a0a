"""Replay: recorded files through the same codec, flow and engine as live frames."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tapeflow import venues
from tapeflow.domain.errors import InputError, SettingsError
from tapeflow.domain.window import interval_name
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow import catalogue
from tapeflow.flow.nodes import Flow
from tapeflow.stores.files import FORMATS, write_all
from tapeflow.stores.results import Results
from tapeflow.tape.playback import play
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.recorded import Recording, merge
from tapeflow.tape.segments import segments

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

#: Told (bytes read, bytes in all) now and then.
Progress = Callable[[int, int], None]

BATCH = 4096


class Summary(msgspec.Struct):
    """What a replay did: the last line of `tapeflow replay`."""

    frames: int
    events: int
    quarantined: int
    gaps: int
    rows: dict[str, int]
    seconds: float
    answers: int = 0
    duplicates: int = 0
    ignored_aggregates: int = 0
    late: int = 0
    unknown_fields: int = 0
    symbols: int = 0
    damaged: dict[str, str] = {}


class Replay:
    """The results of a replay, channel by channel."""

    def __init__(self, results: Results, summary: Summary, channels: tuple[str, ...]) -> None:
        self._results = results
        self.summary = summary
        self.channels = channels

    def arrow(self, channel: str) -> pa.Table:
        """A channel as an Arrow table: exact values are decimals, times timestamps in microseconds UTC."""
        return self._results.table(self._known(channel)).to_arrow()

    def polars(self, channel: str) -> pl.DataFrame:
        """A channel as a Polars frame (``pip install tapeflow[polars]``)."""
        try:
            import polars as pl  # noqa: PLC0415 - an extra: only who asks for it needs it
        except ImportError as error:
            raise SettingsError("Polars is not installed: pip install 'tapeflow[polars]'") from error
        return pl.DataFrame(self.arrow(channel))

    def rows(self, channel: str) -> list[dict[str, Any]]:
        """A channel as the JSON objects of the contract."""
        return [msgspec.json.decode(line) for line in self._results.table(self._known(channel)).json_lines()]

    def write(self, out: str | Path, format: str = "ndjson") -> dict[str, int]:
        """Write ``out/<channel>.<format>`` for each channel, all or none; the rows of each."""
        if format not in FORMATS:
            raise SettingsError(f"expected a format of {' or '.join(FORMATS)}, got {format!r}")
        tables = ((channel, self._results.table(channel)) for channel in self.channels)
        return write_all(tables, Path(out), format)

    def _known(self, channel: str) -> str:
        if channel not in self.channels:
            raise SettingsError(f"no channel {channel!r} in this replay; there are {', '.join(self.channels)}")
        return channel


def replay(
    files: Sequence[str | Path],
    *,
    channels: Iterable[str] | None = None,
    intervals: Iterable[str] | None = None,
    symbols: Iterable[str] | None = None,
    venue: str = "binance",
    flow: Flow | None = None,
    revisions: bool = False,
    batch: int = BATCH,
    compiled: bool | None = None,
    progress: Progress | None = None,
) -> Replay:
    """Run recorded files through a flow (the contract's default one) and keep the rows of ``channels``.

    The files are merged by receive time; a tape (the folder of a live run) is replayed alone, and gives what the live
    run gave. ``intervals`` replaces those of candles and indicators, ``symbols`` keeps
    only these (ASCII case does not matter), ``revisions`` keeps every revision of a window and not just the last.
    Raises `InputError` for a file that is missing or holds nothing readable, `SettingsError` for a wrong argument.
    """
    started = time.perf_counter()
    wanted = _channels(channels, flow)
    chosen = flow or catalogue.default(_intervals(intervals), wanted)
    codec = venues.create(venue)
    upper = frozenset(symbol.upper() for symbol in symbols) if symbols else None
    results = Results(
        chosen,
        codec.name,
        wanted,
        price_scale=codec.price_scale,
        size_scale=codec.size_scale,
        symbols=upper,
        all_revisions=revisions,
    )
    paths = [Path(file) for file in files]
    tape = _tape_of(paths)
    engine = Engine(chosen, codec, results, channels=wanted, compiled=compiled, of_tape=tape is not None)
    damaged = _play(engine, tape, batch, progress) if tape is not None else _feed(engine, paths, batch, progress)
    engine.finish()
    results.names = engine.symbols
    if upper is not None:
        _check_symbols(upper, engine.symbols)
    counts = engine.counts
    summary = Summary(
        frames=counts.frames,
        events=counts.events,
        quarantined=counts.quarantined,
        gaps=counts.gaps,
        rows={},
        seconds=round(time.perf_counter() - started, 3),
        answers=counts.answers,
        duplicates=counts.duplicates,
        ignored_aggregates=counts.ignored_aggregates,
        late=counts.late,
        unknown_fields=counts.unknown_fields,
        symbols=len(engine.symbols),
        damaged=damaged,
    )
    return Replay(results, summary, wanted)


def _channels(channels: Iterable[str] | None, flow: Flow | None) -> tuple[str, ...]:
    known = catalogue.CHANNELS if flow is None else tuple(dict.fromkeys((*flow.channels, *catalogue.ALWAYS)))
    if channels is None:
        return known
    wanted = tuple(dict.fromkeys(channels))
    for channel in wanted:
        if channel not in known:
            raise SettingsError(f"no channel {channel!r}; there are {', '.join(known)}{_nearest(channel, known)}")
    if not wanted:
        raise SettingsError(f"expected at least one channel of {', '.join(known)}")
    return wanted


def _intervals(intervals: Iterable[str] | None) -> tuple[str, ...]:
    if intervals is None:
        return catalogue.INTERVALS
    names = tuple(dict.fromkeys(interval_name(text) for text in intervals))
    if not names:
        raise SettingsError("expected at least one interval such as 1m")
    return names


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _check_symbols(wanted: frozenset[str], found: list[str]) -> None:
    missing = wanted - {name.upper() for name in found}
    if missing:
        names = ", ".join(sorted(missing))
        hint = "; ".join(_nearest(name, found) for name in sorted(missing) if _nearest(name, found))
        raise InputError(
            f"no frame is about {names}; the input has {', '.join(sorted(found)[:20]) or 'no symbols'}{hint}"
        )


def _tape_of(paths: list[Path]) -> Path | None:
    """The tape among the inputs, if there is one: its folder, or the data folder that it is in."""
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        return None
    if len(paths) > 1:
        raise SettingsError(f"{folders[0]} is a folder: a tape has its own order, replay it alone")
    for folder in (folders[0], folders[0] / "tape"):
        if folder.is_dir() and segments(folder):
            return folder
    raise InputError(f"{folders[0]} holds no tape; give the data folder of a run, or a file of recorded messages")


def _play(engine: Engine, tape: Path, batch: int, progress: Progress | None) -> dict[str, str]:
    total = sum(file.stat().st_size for file in tape.iterdir())
    done = records = 0
    with TapeReader(tape) as reader:
        for block in reader.blocks():
            for at in range(0, len(block), batch):
                play(block, engine, at, min(at + batch, len(block)))
            records += len(block)
            done += len(block.buffer)
            if progress is not None:
                progress(min(done, total), total)
    if not records:
        raise InputError(f"{tape} is a tape without a record")
    what = "; ".join(str(damage) for damage in reader.damage)
    return {str(tape): what} if what else {}


def _feed(engine: Engine, paths: list[Path], batch: int, progress: Progress | None) -> dict[str, str]:
    if not paths:
        raise SettingsError("expected at least one file to replay")
    recordings: list[Recording] = []
    try:
        recordings.extend(Recording(path) for path in paths)
        total = sum(recording.size for recording in recordings)
        readable = [0] * len(recordings)
        for index, frames, start, stop in merge(recordings):
            before = engine.counts.unreadable
            _batches(engine, frames, start, stop, batch)
            readable[index] += stop - start - (engine.counts.unreadable - before)
            if progress is not None:
                progress(sum(recording.position for recording in recordings), total)
    finally:
        for recording in recordings:
            recording.close()
    for recording, count in zip(recordings, readable, strict=True):
        if not count:
            why = recording.damage or "no line of it is a message, a note or a row that we know"
            raise InputError(
                f"{recording.path} holds nothing readable ({why}); expected recorded messages one a line, "
                "a .cryptofeed file or a public dump"
            )
    return {str(recording.path): recording.damage for recording in recordings if recording.damage}


def _batches(engine: Engine, frames: Frames, start: int, stop: int, batch: int) -> None:
    for at in range(start, stop, batch):
        engine.feed(frames, at, min(at + batch, stop))
