"""The job of the benchmark, whole: ``python bench/job.py INPUT OUTDIR [BATCH]``, from a recorded file to Parquet.

The 3 s mean every 0.5 s and the 1 s candles of every symbol, as `bench/baseline.py` makes them; here they are exact,
deduplicated and corrected by late trades.
"""

from __future__ import annotations

import sys

from tapeflow.app.replay import replay
from tapeflow.flow.builder import Builder

CHANNELS = ("candles", "moving_average")


def main() -> None:
    path, out, *rest = sys.argv[1:]
    batch = int(rest[0]) if rest else 1000
    builder = Builder("bench")
    builder.trades().candles("1s")
    builder.trades().moving_average("3s", "500ms")
    replay([path], flow=builder.build(), channels=CHANNELS, batch=batch).write(out, "parquet")


if __name__ == "__main__":
    main()
