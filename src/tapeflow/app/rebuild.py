"""Results of a range of time computed again from tapes, and put in the place of those in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tapeflow import venues
from tapeflow.domain.errors import TapeError
from tapeflow.engine.embedded import Engine
from tapeflow.flow.nodes import Flow
from tapeflow.stores.results import Results
from tapeflow.stores.store import Store
from tapeflow.stores.swapped import SwappedResults
from tapeflow.tape.playback import play
from tapeflow.tape.reader import TapeReader

#: Records between two commits.
GROUP = 100_000

#: Told (records played, of so many) now and then.
Progress = Callable[[int, int], None]


class Rebuilt(msgspec.Struct):
    """What a rebuild did."""

    records: int = 0
    rows: int = 0
    complete_runs: int = 0
    damage: list[str] = []


def rebuild(
    store: Store,
    tapes: Sequence[Path],
    history: Sequence[Path],
    flow: Flow,
    venue: str,
    *,
    channels: tuple[str, ...],
    start: int,
    progress: Progress | None = None,
) -> Rebuilt:
    """Play ``history`` (tapes of backfills, which have no time of their own) and then ``tapes``, and write all rows
    from ``start`` on again.

    No trade is late here, however old. What is known to be complete afterwards is noted in the store, so that coverage
    says so. The store must not be in use by a run.
    """
    done = Rebuilt()
    codec = venues.create(venue)
    price, size = codec.price_scale, codec.size_scale
    sink = SwappedResults(lambda: Results(flow, venue, channels, price_scale=price, size_scale=size))
    endless = msgspec.structs.replace(flow, horizon_us=1 << 60)
    engine = Engine(endless, codec, sink, channels=channels, patience=1 << 62, of_tape=True)
    readers = [(TapeReader(folder), True) for folder in history] + [(TapeReader(folder), False) for folder in tapes]
    played = 0
    for reader, is_history in readers:
        for block in reader.blocks():
            play(block, engine, is_timeless=is_history)
            done.records += len(block)
            played += len(block)
            if played >= GROUP:
                played = 0
                done.rows += _commit(store, sink, engine, start)
            if progress is not None:
                progress(done.records, 0)
        done.damage += [str(damage) for damage in reader.damage]
    if not done.records:
        raise TapeError(
            "there is no tape to compute from; capture with `tapeflow run` or fetch with `tapeflow backfill`"
        )
    done.rows += _commit(store, sink, engine, start)
    runs = [row for row in engine.coverage() if row["state"] == "complete"]
    done.complete_runs = len(runs)
    store.note_complete(sink.take(engine.symbols), runs)
    return done


def _commit(store: Store, sink: SwappedResults, engine: Engine, start: int) -> int:
    engine.flush()
    results = sink.take(engine.symbols)
    return store.commit(results, store.position, again=True, start=start)
