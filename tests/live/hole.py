"""A hole of a minute: how soon it is noticed and filled. ``python tests/live/hole.py [--seconds N] [--symbols N]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live.running import Live, Venue
from live.truth import Found, compare


def hole(folder: Path, seconds: float, symbols: int, rate: float) -> tuple[float, float, int, Found]:
    """Seconds from the beginning of the silence to its being told, from its end to no hole, trades, comparison."""
    venue = Venue(folder, "--symbols", str(symbols), "--rate", str(rate), "--days", "1")
    live = Live(folder, venue, venue.symbols)
    try:
        live.start()
        live.until_whole(180)
        time.sleep(5)
        began = time.monotonic()
        venue.fault("freeze", seconds=seconds)
        venue.fault("refuse", seconds=seconds)
        time.sleep(seconds)
        told = next((at - began for at, line in live.said if at > began and "silent" in line), -1.0)
        ended = time.monotonic()
        live.until(lambda s: all(c["is_open"] and c["frames"] for c in s["connections"]), 60)
        time.sleep(0.5)
        quiet = 0.0
        while quiet < 1.0:
            live.until(lambda s: not s["holes"], 300)
            filled = time.monotonic()
            time.sleep(1.0)
            quiet = 1.0 if not live.status()["holes"] else 0.0
        time.sleep(4)
        live.stop()
        found = compare(live.data, venue.rest)
        return told, filled - ended, found.trades, found
    finally:
        live.kill()
        venue.stop()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--symbols", type=int, default=50)
    options.add_argument("--rate", type=float, default=500)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told, filled, trades, found = hole(Path(folder), chosen.seconds, chosen.symbols, chosen.rate)
    print(
        f"{chosen.seconds:.0f} s of silence of {chosen.symbols} symbols: noticed after {told:.1f} s, filled "
        f"{filled:.1f} s after its end; {trades} trades compared, gaps {found.gaps[:3]}, {len(found.wrong)} wrong"
    )
    for text in found.wrong[:10]:
        print(text)
    sys.exit(bool(found.wrong) or not 0 <= told <= 10)


if __name__ == "__main__":
    main()
