"""kill -9 of a live run at random moments, in every state: ``python tests/live/kills.py [--kills N] [--seed S]``.

After the last kill the run is let go on until nothing is missing, and its store is compared with the venue's truth:
0 lost, 0 doubled. Prints the times from restart to live.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live.running import Live, Venue
from live.truth import Found, compare

#: Small segments, and connections that are replaced often: every state comes by.
OFTEN = '[tape]\nsegment_bytes = 262144\n[feed]\nconnection_age = "3s"\nstreams_per_connection = 6\n'


def kills(folder: Path, number: int, seed: int, rate: int = 150) -> tuple[Found, list[float]]:
    """The comparison after so many kills, and the seconds from each restart to live."""
    chance = random.Random(seed)
    venue = Venue(folder, "--symbols", "8", "--rate", str(rate), "--seed", str(seed), "--days", "1")
    live = Live(folder, venue, venue.symbols[:6], OFTEN)
    took: list[float] = []
    try:
        for _ in range(number):
            if chance.random() < 0.3:
                venue.fault(chance.choice(["cut", "drop", "duplicate", "reorder", "slow_rest"]), seconds=1, permille=200, ms=200)
            started = time.monotonic()
            live.start()
            if chance.random() < 0.5:
                live.until_live()
                took.append(time.monotonic() - started)
                time.sleep(chance.uniform(0.0, 2.0))
            else:
                time.sleep(chance.uniform(0.05, 1.5))
            live.kill()
        venue.calm()
        live.start()
        live.until_whole(25)
        time.sleep(4)
        live.until_whole(25)
        code = live.stop()
        assert code == 0, live.text()
        return compare(live.data, venue.rest), took
    finally:
        if live.process is not None:
            live.kill()
        venue.stop()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, took = kills(Path(folder), chosen.kills, chosen.seed)
    took.sort()
    print(
        f"{chosen.kills} kills, seed {chosen.seed}: {found.trades} trades and {found.candles} candles compared, "
        f"{found.complete_s:.0f} s complete, gaps {found.gaps}, {len(found.wrong)} wrong; "
        f"restart to live: median {statistics.median(took):.2f} s, worst {took[-1]:.2f} s"
    )
    for text in found.wrong[:20]:
        print(text)
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
