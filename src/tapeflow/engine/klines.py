"""The sliding mean over kline pushes: the mean of ``close``, each push at its event time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec

from tapeflow.domain.candle import MeanFold
from tapeflow.domain.events import Kline
from tapeflow.engine.columns import NONE_TIME
from tapeflow.engine.snapshot import pack_state, unpack_state
from tapeflow.engine.windows import Track, WindowRow
from tapeflow.flow.nodes import Flow, Mean

#: Times of pushes kept for one symbol before those beyond the horizon are looked for and dropped.
SEEN = 4096


class Push(msgspec.Struct, frozen=True, gc=False):
    """A kline push as `MeanFold` sees it."""

    price: int
    count: int = 1


class KlineMeans:
    """Sliding means over the closes of every kline push of a symbol, one track per mean and symbol.

    A push is known by (interval, event time): a repeat counts once. What comes after the horizon changes nothing and
    is counted in ``late``.
    """

    def __init__(self, means: Sequence[Mean], flow: Flow, price_scale: int) -> None:
        self._means = means
        self._horizon_us = flow.horizon_us
        self._fold = MeanFold(price_scale)
        self._tracks: dict[tuple[str, int], Track] = {}
        self._seen: dict[str, set[tuple[int, str]]] = {}
        self._watermarks: dict[str, int] = {}
        self.late = 0

    def add(self, kline: Kline, ts_watermark: int | None) -> list[dict[str, Any]]:
        """The rows that a push closes or revises; ``ts_watermark`` as it stood when the push came."""
        if not self._means or kline.ts_event is None:
            return []
        rows = list(self.advance(kline.symbol, ts_watermark))
        stamp = self._watermarks[kline.symbol]
        seen = self._seen.setdefault(kline.symbol, set())
        key = (kline.ts_event, kline.interval)
        if key in seen:
            return rows
        if stamp != NONE_TIME and kline.ts_event < stamp - self._horizon_us:
            self.late += 1
            return rows
        seen.add(key)
        for i, node in enumerate(self._means):
            track = self._tracks.setdefault((kline.symbol, i), Track(self._fold, node.window))
            rows.extend(self._rows(kline.symbol, node, track.add(Push(kline.close), kline.ts_event, stamp)))
        if len(seen) > SEEN:
            self._seen[kline.symbol] = {known for known in seen if known[0] >= stamp - self._horizon_us}
        return rows

    def advance(self, symbol: str, ts_watermark: int | None) -> Iterator[dict[str, Any]]:
        """The rows that the watermark closes."""
        known = self._watermarks.setdefault(symbol, NONE_TIME)
        if ts_watermark is None or ts_watermark <= known:
            return
        self._watermarks[symbol] = ts_watermark
        for i, node in enumerate(self._means):
            track = self._tracks.get((symbol, i))
            if track is not None:
                yield from self._rows(symbol, node, track.close(ts_watermark))
                track.prune(ts_watermark - self._horizon_us)

    def due(self, watermark: Callable[[str], int | None]) -> list[dict[str, Any]]:
        """The rows that the watermarks of all symbols close, whether pushes come or not."""
        return [row for symbol in list(self._watermarks) for row in self.advance(symbol, watermark(symbol))]

    def forming(self, symbols: Collection[str]) -> list[dict[str, Any]]:
        """The rows still open of some symbols."""
        tracks = [(symbol, i, track) for (symbol, i), track in self._tracks.items() if symbol in symbols]
        return [
            row
            for symbol, i, track in tracks
            for row in self._rows(symbol, self._means[i], track.forming(self._watermarks[symbol]))
        ]

    def finish(self, watermark: Callable[[str], int | None]) -> list[dict[str, Any]]:
        """What the final watermarks close, and the rows still open."""
        return self.due(watermark) + self.forming(self._watermarks.keys())

    def _rows(self, symbol: str, node: Mean, found: Iterator[WindowRow]) -> Iterator[dict[str, Any]]:
        size, slide = node.window.size_us, node.window.slide_us
        for end, state, revision, _, closed in found:
            yield {
                "symbol": symbol,
                "window_ms": size // 1000,
                "slide_ms": slide // 1000,
                "ts_start": end - size,
                "ts_end": end,
                **self._fold.finish(state),
                "closed": closed,
                "revision": revision,
            }

    def state(self) -> bytes:
        """The state as a value."""
        tracks = [
            (
                *key,
                [(n, *track.panes[n]) for n in track.numbers],
                list(track.late.items()),
                track.next_end,
            )
            for key, track in self._tracks.items()
        ]
        seen = [(symbol, sorted(times)) for symbol, times in self._seen.items()]
        return pack_state((tracks, seen, list(self._watermarks.items()), self.late))

    def restore(self, packed: bytes) -> None:
        tracks, seen, watermarks, self.late = unpack_state(packed)
        for symbol, i, panes, late, next_end in tracks:
            track = self._tracks[symbol, i] = Track(self._fold, self._means[i].window)
            track.numbers = [number for number, _, _ in panes]
            track.panes = {number: (total, count) for number, total, count in panes}
            track.late, track.next_end = dict(late), next_end
        self._seen = {symbol: {(ts, interval) for ts, interval in times} for symbol, times in seen}
        self._watermarks = dict(watermarks)
