"""The sliding mean over kline pushes: the mean of ``close``, each push at its event time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tapeflow.domain.candle import MeanFold
from tapeflow.domain.events import Kline
from tapeflow.engine.columns import NONE_TIME
from tapeflow.engine.windows import Track, WindowRow
from tapeflow.flow.nodes import Flow, Mean


class Push(msgspec.Struct, frozen=True, gc=False):
    """A kline push as `MeanFold` sees it."""

    price: int
    count: int = 1


class KlineMeans:
    """Sliding means over the closes of kline pushes, one track per mean, symbol and kline interval.

    A push is known by (symbol, interval, event time): a repeat counts once. What comes after the horizon is counted
    in ``late`` and changes nothing.
    """

    def __init__(self, means: Sequence[Mean], flow: Flow, price_scale: int) -> None:
        self._means = means
        self._horizon_us = flow.horizon_us
        self._fold = MeanFold(price_scale)
        self._tracks: dict[tuple[str, str, int], Track] = {}
        self._seen: dict[tuple[str, str], set[int]] = {}
        self._watermarks: dict[tuple[str, str], int] = {}
        self.late = 0

    def add(self, kline: Kline, ts_watermark: int | None) -> list[dict[str, Any]]:
        """The rows that a push closes or revises."""
        if not self._means or kline.ts_event is None:
            return []
        key = (kline.symbol, kline.interval)
        stamp = max(self._watermarks.get(key, NONE_TIME), NONE_TIME if ts_watermark is None else ts_watermark)
        self._watermarks[key] = stamp
        seen = self._seen.setdefault(key, set())
        if kline.ts_event in seen:
            return []
        if stamp != NONE_TIME and kline.ts_event < stamp - self._horizon_us:
            self.late += 1
            return []
        seen.add(kline.ts_event)
        rows: list[dict[str, Any]] = []
        for i, node in enumerate(self._means):
            track = self._tracks.setdefault((*key, i), Track(self._fold, node.window))
            for found in (track.close(stamp), track.add(Push(kline.close), kline.ts_event, stamp)):
                rows.extend(self._rows(key[0], node, found))
            track.prune(stamp - self._horizon_us)
        if len(seen) > 4096:
            self._seen[key] = {ts for ts in seen if ts >= stamp - self._horizon_us}
        return rows

    def finish(self) -> list[dict[str, Any]]:
        """The rows still open."""
        rows: list[dict[str, Any]] = []
        for (symbol, interval, i), track in self._tracks.items():
            stamp = self._watermarks[symbol, interval]
            rows.extend(self._rows(symbol, self._means[i], track.close(stamp)))
            rows.extend(self._rows(symbol, self._means[i], track.forming(stamp)))
        return rows

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

    def state(self) -> Any:
        """The state as a value."""
        tracks = [
            (*key, [(n, track.panes[n]) for n in track.numbers], list(track.late.items()), track.next_end)
            for key, track in self._tracks.items()
        ]
        seen = [(*key, sorted(times)) for key, times in self._seen.items()]
        return (tracks, seen, [(*key, ts) for key, ts in self._watermarks.items()], self.late)

    def restore(self, state: Any) -> None:
        tracks, seen, watermarks, self.late = state
        for symbol, interval, i, panes, late, next_end in tracks:
            track = self._tracks[symbol, interval, i] = Track(self._fold, self._means[i].window)
            track.numbers = [number for number, _ in panes]
            track.panes = {number: tuple(value) for number, value in panes}
            track.late, track.next_end = dict(late), next_end
        self._seen = {(symbol, interval): set(times) for symbol, interval, times in seen}
        self._watermarks = {(symbol, interval): ts for symbol, interval, ts in watermarks}
