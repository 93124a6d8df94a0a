"""Every recording, whole: the kernel and the portable path give the same rows and the same counts."""

from __future__ import annotations

import msgspec
import pytest

from recordings import SPOT_2024, recording
from tapeflow.app.replay import replay
from tapeflow.engine.kernels import COMPILED

SETS = (
    SPOT_2024,
    ("spot_btcusdt_20230405.dat.gz",),
    ("spot_3symbols_20210404.cryptofeed", "spot_10symbols_20210405.cryptofeed"),
    ("spot_4symbols_20211011.ws.cryptofeed", "spot_4symbols_20211011.http.cryptofeed"),
)


@pytest.mark.skipif(COMPILED is None, reason="the kernel is not built")
@pytest.mark.parametrize("names", SETS, ids=lambda names: names[0])
def test_the_same_rows_and_counts(names: tuple[str, ...]) -> None:
    paths = [recording(name) for name in names]
    kernel, portable = (replay(paths, compiled=way) for way in (True, False))
    counts = [msgspec.structs.asdict(done.summary) | {"seconds": 0} for done in (kernel, portable)]
    assert counts[0] == counts[1]
    for channel in kernel.channels:
        assert kernel.rows(channel) == portable.rows(channel), channel
