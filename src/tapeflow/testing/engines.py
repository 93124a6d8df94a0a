"""Running an engine over messages held in memory, cut and batched at will."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from tapeflow import venues
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow import catalogue
from tapeflow.flow.nodes import Flow
from tapeflow.stores.results import Results

#: (receive time or None, message)
Message = tuple[int | None, bytes]


def run(
    messages: Sequence[Message],
    *,
    flow: Flow | None = None,
    venue: str = "binance",
    batches: Iterable[int] = (),
    cuts: Iterable[int] = (),
    revisions: bool = False,
    compiled: bool | None = None,
    patience: int = 1 << 14,
) -> dict[str, list[dict[str, Any]]]:
    """The rows of every channel. ``batches`` are sizes of the first batches (then the rest in one); before each frame
    of ``cuts`` the engine is replaced by one restored from its snapshot.
    """
    chosen = flow or catalogue.default()
    channels = tuple(dict.fromkeys((*chosen.channels, *catalogue.ALWAYS)))
    codec = venues.create(venue)
    sink = Results(
        chosen,
        codec.name,
        channels,
        price_scale=codec.price_scale,
        size_scale=codec.size_scale,
        all_revisions=revisions,
    )
    engine = Engine(chosen, codec, sink, compiled=compiled, patience=patience)
    frames = Frames.of(list(messages))
    for start, stop in _pieces(len(messages), batches, sorted(set(cuts))):
        if start in set(cuts):
            snapshot = engine.snapshot()
            engine = Engine(chosen, venues.create(venue), sink, compiled=compiled, patience=patience)
            engine.restore(snapshot)
        engine.feed(frames, start, stop)
    engine.finish()
    sink.names = engine.symbols
    decode = msgspec.json.decode
    return {channel: [decode(line) for line in sink.table(channel).json_lines()] for channel in channels}


def _pieces(n: int, batches: Iterable[int], cuts: Sequence[int]) -> Iterable[tuple[int, int]]:
    edges = {0, n, *(cut for cut in cuts if cut <= n)}
    at = 0
    for size in batches:
        at += max(1, size)
        if at >= n:
            break
        edges.add(at)
    ordered = sorted(edges)
    return pairwise(ordered)
