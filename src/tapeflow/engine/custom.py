"""Folds of the user's own, run by the portable windows over stamped trades."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from tapeflow.domain.candle import StampedTrade
from tapeflow.domain.errors import SnapshotError
from tapeflow.engine.columns import NONE_TIME, Rows
from tapeflow.engine.snapshot import pack_state, tuples, unpack_state
from tapeflow.engine.windows import Track, WindowRow
from tapeflow.flow.nodes import CustomFold


class CustomFolds:
    """One track for each fold and symbol. A fold's state must be what msgpack keeps: numbers, texts, tuples."""

    def __init__(
        self, nodes: Sequence[CustomFold], horizon_us: int, name_of: Callable[[int], str], *, keep_holes: bool = False
    ) -> None:
        self._nodes = nodes
        self._keep_holes = keep_holes
        self._horizon_us = horizon_us
        self._name_of = name_of
        self._tracks: dict[tuple[int, int], Track] = {}
        self._watermarks: dict[int, int] = {}
        self._holds: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def add(self, trades: Rows) -> Iterator[tuple[str, dict[str, Any]]]:
        """(channel, row) of what these trades close or revise."""
        for trade in stamped(trades):
            stamp = NONE_TIME if trade.ts_watermark is None else trade.ts_watermark
            yield from self.advance(trade.symbol, stamp)
            for i, node in enumerate(self._nodes):
                track = self._tracks.setdefault((trade.symbol, i), Track(node.fold, node.window))
                now = self._watermarks[trade.symbol]
                yield from self._rows(trade.symbol, i, track.add(trade, trade.ts_event, now))

    def advance(self, symbol: int, ts_watermark: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """(channel, row) of what the watermark closes."""
        if ts_watermark <= self._watermarks.setdefault(symbol, NONE_TIME):
            return
        self._watermarks[symbol] = ts_watermark
        for i in range(len(self._nodes)):
            track = self._tracks.get((symbol, i))
            if track is not None:
                yield from self._rows(symbol, i, track.close(ts_watermark))
                track.prune(self._reach(symbol, ts_watermark))

    def _reach(self, symbol: int, ts_watermark: int) -> int:
        reach = ts_watermark - self._horizon_us
        if not self._keep_holes:
            return reach
        return min(reach, self._holds[symbol]) if symbol < len(self._holds) else NONE_TIME

    def hold(self, holds: list[int]) -> None:
        """Keep what trades after these times, one for each symbol, may still change."""
        self._holds = holds

    def forming(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(channel, row) of every window still open."""
        for (symbol, i), track in self._tracks.items():
            yield from self._rows(symbol, i, track.forming(self._watermarks[symbol]))

    def _rows(self, symbol: int, i: int, found: Iterable[WindowRow]) -> Iterator[tuple[str, dict[str, Any]]]:
        node = self._nodes[i]
        for end, state, revision, _, closed in found:
            times = {"ts_start": end - node.window.size_us, "ts_end": end}
            values = node.fold.finish(state)
            yield (
                node.channel,
                {"symbol": self._name_of(symbol), **times, **values, "closed": closed, "revision": revision},
            )

    def forget(self, symbol: int) -> None:
        """Begin anew with a symbol."""
        for key in [key for key in self._tracks if key[0] == symbol]:
            del self._tracks[key]

    def state(self) -> bytes:
        tracks = [
            (*key, [(n, track.panes[n]) for n in track.numbers], list(track.late.items()), track.next_end)
            for key, track in self._tracks.items()
        ]
        try:
            return pack_state((tracks, list(self._watermarks.items())))
        except TypeError as error:
            raise SnapshotError(
                f"the state of a fold cannot be kept: {error}; use numbers, texts, bytes and tuples or structs of them"
            ) from error

    def restore(self, packed: bytes) -> None:
        tracks, watermarks = unpack_state(packed)
        self._watermarks = dict(watermarks)
        for symbol, i, panes, late, next_end in tracks:
            node = self._nodes[i]
            track = self._tracks[symbol, i] = Track(node.fold, node.window)
            kind = getattr(node.fold, "state_type", type(node.fold.zero()))
            track.numbers = [number for number, _ in panes]
            track.panes = {number: _as(value, kind) for number, value in panes}
            track.late, track.next_end = dict(late), next_end


def _as(value: Any, kind: type) -> Any:
    """A state as its fold knows it; a fold whose zero is None gets sequences back as tuples."""
    return tuples(value) if kind is type(None) else msgspec.convert(value, kind)


def stamped(trades: Rows) -> Iterator[StampedTrade]:
    """Packed `TRADE` columns as events."""
    names = [name for name in trades.dtype.names or () if name != "pad"]
    for values in trades[names].tolist():
        trade = StampedTrade(*values)
        missing = {name: None for name in ("ts_recv", "ts_watermark") if getattr(trade, name) == NONE_TIME}
        yield msgspec.structs.replace(trade, **missing) if missing else trade
