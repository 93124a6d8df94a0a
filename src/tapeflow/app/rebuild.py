"""Results computed again from tapes, put in the place of those in the store; a run goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tapeflow import venues
from tapeflow.app.carried import Carried, Own, carried
from tapeflow.domain.errors import SnapshotError, TapeError
from tapeflow.engine.embedded import Engine
from tapeflow.flow.nodes import Flow
from tapeflow.stores.results import Results
from tapeflow.stores.states import States
from tapeflow.stores.store import Store
from tapeflow.stores.swapped import SwappedResults
from tapeflow.tape.blocks import Block
from tapeflow.tape.playback import play
from tapeflow.tape.reader import TapeReader

#: Records between two commits.
GROUP = 100_000

#: Told the number of records played, now and then.
Progress = Callable[[int], None]


class Rebuilt(msgspec.Struct):
    """What a rebuild did."""

    records: int = 0
    rows: int = 0
    complete_runs: int = 0
    damage: list[str] = []


class Rebuild:
    """Plays history (tapes of backfills, which have no time of their own) and then the tape of the run.

    No trade is late here, however old. The engine's state at the end is kept as that of the run, so what was filled
    stays known. Where retention has cut the tape it begins with the state kept at the cut. The store must be free.
    """

    def __init__(
        self,
        store: Store,
        states: States,
        flow: Flow,
        venue: str,
        *,
        channels: tuple[str, ...],
        progress: Progress | None = None,
    ) -> None:
        codec = venues.create(venue)
        price, size = codec.price_scale, codec.size_scale
        self._store = store
        self._states = states
        self._sink = SwappedResults(
            lambda: Results(flow, venue, channels, price_scale=price, size_scale=size, numbered=True)
        )
        self._engine = Engine(
            flow, codec, self._sink, channels=channels, patience=1 << 62, of_tape=True, is_endless=True
        )
        self._progress = progress
        self._done = Rebuilt()
        self._played = self._ts_recv = 0

    def run(self, tape: Path | None, history: Sequence[Path], start: int) -> Rebuilt:
        """Compute, and write all rows from ``start`` on; raises `TapeError` where there is nothing to play."""
        warmed = self._begin(tape)
        for folder in history:
            self._play(TapeReader(folder), start, is_timeless=True)
        reader = None if tape is None else TapeReader(tape, self._at)
        if reader is not None:
            self._play(reader, start, is_timeless=False)
        if not self._done.records:
            raise TapeError(
                "there is no tape to compute from: capture with `tapeflow run`, fetch with `tapeflow backfill`"
            )
        position = self._store.position if reader is None else reader.position
        coverage = self._engine.coverage()
        self._done.complete_runs = sum(row["state"] == "complete" for row in coverage)
        self._commit(start, position, coverage)
        self._store.claim(self._engine.fingerprint)
        self._states.drop(but_oldest=self._at > 0)
        state = Carried(Own(position, [], warmed, self._sink.numbers.state()), self._engine.pieces())
        self._states.save(position, state.pieces(), self._ts_recv)
        return self._done

    def _begin(self, tape: Path | None) -> list[str]:
        """Restore the state at the cut of the tape; which requests for candles a run need not make again."""
        self._at = 0
        kept = [one for one in map(self._carried, reversed(self._states.positions())) if one is not None]
        warmed = kept[0].own.warmed if kept else []
        begins = 0 if tape is None else TapeReader(tape).begins
        if not begins:
            return warmed
        for state in (one for one in reversed(kept) if one.own.position >= begins):
            try:
                self._engine.restore_pieces(state.engine)
            except SnapshotError:
                continue
            self._sink.numbers.restore(state.own.numbers)
            self._at = state.own.position
            return warmed
        return warmed

    def _carried(self, position: int) -> Carried | None:
        pieces = self._states.load(position)
        try:
            return None if pieces is None else carried(pieces)
        except SnapshotError:
            return None

    def _play(self, reader: TapeReader, start: int, *, is_timeless: bool) -> None:
        with reader:
            for block in reader.blocks():
                self._block(block, start, is_timeless=is_timeless)
        self._done.damage += [str(damage) for damage in reader.damage]

    def _block(self, block: Block, start: int, *, is_timeless: bool) -> None:
        play(block, self._engine, is_timeless=is_timeless)
        if not is_timeless and len(block):
            self._ts_recv = int(block.ts_recv[-1])
        self._done.records += len(block)
        self._played += len(block)
        if self._played >= GROUP:
            self._played = 0
            self._commit(start, self._store.position)
            if self._progress is not None:
                self._progress(self._done.records)

    def _commit(self, start: int, position: int, coverage: list[dict[str, object]] | None = None) -> None:
        self._engine.flush()
        results = self._sink.take(self._engine.symbols)
        self._done.rows += self._store.commit(results, position, coverage=coverage, again=True, start=start)
