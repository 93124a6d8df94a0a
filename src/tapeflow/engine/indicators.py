"""The step stage of the engine: closed candle rows in, indicator rows out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec

from tapeflow.domain.number import to_float
from tapeflow.domain.time import SECOND
from tapeflow.engine.chains import Chain, ChainRow
from tapeflow.engine.columns import NONE_TIME, Rows
from tapeflow.engine.results import StepRow
from tapeflow.flow.nodes import Candles, Indicator


class Stage:
    """All chains of a flow: the steps of each of its candles, for every symbol."""

    def __init__(
        self,
        candles: Sequence[Candles],
        steps: Sequence[Indicator],
        price_scale: int,
        horizon_us: int,
        *,
        keep_holes: bool = False,
    ) -> None:
        self._keep_holes = keep_holes
        self._sizes = [node.window.size_us for node in candles]
        self._steps = [[s for s in steps if s.input == node.id] for node in candles]
        self._scale = price_scale
        self._horizon_us = horizon_us
        self._chains: dict[tuple[int, int], list[Chain]] = {}
        self._newest: dict[tuple[int, int], int] = {}
        self._holds: list[int] = []
        self._dirty: dict[int, int] = {}  # symbol: second of its watermark when it became dirty

    def add(self, rows: Rows) -> list[StepRow]:
        """The indicator rows that these candle rows give."""
        out: list[StepRow] = []
        names = ("symbol", "fold", "ts_start", "close", "revision", "ts_watermark", "closed")
        for symbol, fold, ts_start, close, revision, ts_watermark, closed in zip(
            *(rows[name].tolist() for name in names), strict=True
        ):
            if closed and self._steps[fold]:
                self.tick(symbol, ts_watermark, out)
                self._candle(symbol, fold, ts_start, to_float(close, self._scale), revision, ts_watermark, out)
        return out

    def peek(self, rows: Rows, symbols: Collection[int]) -> list[StepRow]:
        """What the steps of these symbols would give if windows, still open, closed as they are; nothing is changed.

        Nothing for a window that the venue's candle has closed already.
        """
        out: list[StepRow] = []
        names = ("symbol", "fold", "ts_start", "close", "revision")
        heads: dict[tuple[int, int, int], Any] = {}
        bars: dict[tuple[int, int, int], int] = {}
        chosen = frozenset(symbols)
        for symbol, fold, ts_start, close, revision in zip(*(rows[name].tolist() for name in names), strict=True):
            is_new = symbol in chosen and ts_start > self._newest.get((symbol, fold), ts_start)
            chains = self._chains[symbol, fold] if is_new else ()
            for step, chain in enumerate(chains):
                key = (symbol, fold, step)
                state, bar = heads.get(key, chain.head), bars.get(key, chain.count) + 1
                heads[key], values = chain.step.on_event(state, to_float(close, self._scale))
                bars[key] = bar
                if values is not None:
                    row = ChainRow(ts_start, values, bar, chain.late + revision)
                    out.append(self._row(symbol, fold, step, row)._replace(closed=False))
        return out

    def _candle(
        self, symbol: int, fold: int, ts_start: int, close: float, revision: int, ts_watermark: int, out: list[StepRow]
    ) -> None:
        key = (symbol, fold)
        chains = self._chains.get(key)
        if chains is None:
            chains = self._chains[key] = [Chain(node.step) for node in self._steps[fold]]
            self._newest[key] = ts_start - 1
        if ts_start > self._newest[key]:
            self._newest[key] = ts_start
            if symbol in self._dirty:  # a late trade opened and closed this candle within one tick
                self._recompute(symbol, out)
            reach = self._reach(symbol, ts_watermark) - self._sizes[fold]
            for step, chain in enumerate(chains):
                row = chain.add(ts_start, close, revision)
                if row is not None:
                    out.append(self._row(symbol, fold, step, row))
                chain.prune(reach)
        else:
            for chain in chains:
                chain.revise(ts_start, close, revision)
            self._dirty.setdefault(symbol, ts_watermark // SECOND)

    def _reach(self, symbol: int, ts_watermark: int) -> int:
        reach = ts_watermark - self._horizon_us
        if not self._keep_holes:
            return reach
        return min(reach, self._holds[symbol]) if symbol < len(self._holds) else NONE_TIME

    def hold(self, holds: list[int]) -> None:
        """Keep the bars that trades after these times, one for each symbol, may still change."""
        self._holds = holds

    def tick(self, symbol: int, ts_watermark: int, out: list[StepRow]) -> None:
        """Recompute what is dirty, once the symbol's watermark stands in a later second."""
        if symbol in self._dirty and ts_watermark // SECOND > self._dirty[symbol]:
            self._recompute(symbol, out)

    def tick_all(self, watermark: Callable[[int], int | None]) -> list[StepRow]:
        """The same for every symbol, at its watermark as it stands now."""
        out: list[StepRow] = []
        for symbol in sorted(self._dirty):
            ts_watermark = watermark(symbol)
            if ts_watermark is not None:
                self.tick(symbol, ts_watermark, out)
        return out

    def settle(self) -> list[StepRow]:
        """Recompute all that is dirty: the end of the input."""
        out: list[StepRow] = []
        for symbol in sorted(self._dirty):
            self._recompute(symbol, out)
        return out

    def _recompute(self, symbol: int, out: list[StepRow]) -> None:
        self._dirty.pop(symbol, None)
        for fold in range(len(self._steps)):
            for step, chain in enumerate(self._chains.get((symbol, fold), ())):
                out.extend(self._row(symbol, fold, step, row) for row in chain.recompute())

    def _row(self, symbol: int, fold: int, step: int, row: ChainRow) -> StepRow:
        ts_end = row.ts_start + self._sizes[fold]
        return StepRow(symbol, fold, step, row.ts_start, ts_end, row.bars, row.revision, row.values)

    def forget(self, symbol: int) -> None:
        """Begin anew with a symbol."""
        for key in [key for key in self._chains if key[0] == symbol]:
            del self._chains[key], self._newest[key]
        self._dirty.pop(symbol, None)

    def state(self, pieces: list[bytes]) -> bytes:
        """The state but for the chains, which are added to ``pieces`` in the order of their keys."""
        for chains in self._chains.values():
            pieces.extend(chain.state() for chain in chains)
        keys = [(*key, self._newest[key]) for key in self._chains]
        return msgspec.msgpack.encode((keys, list(self._dirty.items())))

    def restore(self, packed: bytes, pieces: Iterator[memoryview]) -> None:
        kind = tuple[list[tuple[int, int, int]], list[tuple[int, int]]]
        keys, dirty = msgspec.msgpack.decode(packed, type=kind)
        self._dirty = dict(dirty)
        for symbol, fold, newest in keys:
            made = [Chain(node.step) for node in self._steps[fold]]
            for chain in made:
                chain.restore(next(pieces))
            self._chains[symbol, fold], self._newest[symbol, fold] = made, newest
