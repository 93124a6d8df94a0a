"""Misbehaviour of the venue, each kind alone or in random schedules.

    python tests/live/faults.py [KIND...]      python tests/live/faults.py --seeds N

Candles must equal the truth wherever coverage says complete, and coverage must not say complete where the truth
differs. Prints for each run what was compared; a schedule is replayed by its seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live.running import Live, Venue
from live.truth import Found, compare, post

#: Each misbehaviour with what it is told, and how many seconds it lasts.
KINDS: dict[str, dict[str, Any]] = {
    "drop": {"permille": 300, "seconds": 3},
    "delay": {"ms": 1500, "seconds": 3},
    "duplicate": {"permille": 500, "seconds": 3},
    "reorder": {"permille": 300, "seconds": 3},
    "skip_ids": {"permille": 50, "seconds": 3},
    "silent": {"seconds": 9},
    "freeze": {"seconds": 9},
    "half_close": {"seconds": 3},
    "cut": {"seconds": 1},
    "close": {"code": 1006, "seconds": 1},
    "refuse": {"seconds": 4},
    "expire": {"seconds": 2},
    "shutdown": {"seconds": 2},
    "malformed": {"permille": 100, "seconds": 3},
    "huge": {"bytes": 20_000_000, "seconds": 2},
    "rate_limit": {"seconds": 4},
    "ban": {"seconds": 4},
    "maintenance": {"seconds": 4},
    "error_5xx": {"seconds": 4},
    "html_403": {"seconds": 3},
    "slow_rest": {"ms": 2000, "seconds": 4},
    "stale_depth": {"seconds": 3},
}

#: With these a hole is made too, so that what concerns REST has something to do.
OF_REST = ("rate_limit", "ban", "error_5xx", "html_403", "slow_rest", "maintenance")

SETTINGS = "[feed]\nstreams_per_connection = 8\n"


def misbehave(venue: Venue, kind: str) -> None:
    """One misbehaviour, until it is over."""
    told = KINDS[kind]
    venue.fault(kind, **told)
    if kind in OF_REST:
        venue.fault("cut", seconds=1)
        venue.fault("drop", permille=200, seconds=2)
    time.sleep(told["seconds"])


def alone(folder: Path, kinds: list[str], seed: int = 1) -> tuple[Found, Live]:
    """One run through these misbehaviours, one after the other, then calm."""
    venue = Venue(folder, "--symbols", "8", "--rate", "150", "--days", "1", "--seed", str(seed))
    live = Live(folder, venue, venue.symbols[:6], SETTINGS)
    try:
        live.start()
        live.until_whole()
        time.sleep(2)
        for kind in kinds:
            misbehave(venue, kind)
        return _finish(live, venue)
    finally:
        live.kill()
        venue.stop()


def scheduled(folder: Path, seed: int, seconds: float) -> tuple[Found, Live, Any]:
    """One run through a random schedule of misbehaviour."""
    venue = Venue(folder, "--symbols", "8", "--rate", "150", "--days", "1", "--seed", str(seed))
    live = Live(folder, venue, venue.symbols[:6], SETTINGS)
    try:
        live.start()
        live.until_whole()
        schedule = post(f"{venue.rest}/control/schedule", {"seed": seed, "seconds": seconds})
        time.sleep(seconds)
        return *_finish(live, venue), schedule
    finally:
        live.kill()
        venue.stop()


def _finish(live: Live, venue: Venue) -> tuple[Found, Live]:
    venue.calm()
    live.until_whole(120)
    time.sleep(4)
    live.until_whole(60)
    code = live.stop()
    assert code == 0, live.text()
    return compare(live.data, venue.rest), live


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("kinds", nargs="*", metavar="KIND")
    options.add_argument("--seeds", type=int, default=0, help="run so many random schedules instead")
    options.add_argument("--first", type=int, default=1, help="the first seed")
    options.add_argument("--seconds", type=float, default=20)
    chosen = options.parse_args()
    bad = 0
    if chosen.seeds:
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found, live, schedule = scheduled(Path(folder), seed, chosen.seconds)
            bad += _tell(f"seed {seed}", found, live)
            if found.wrong:
                print(f"  schedule: {schedule}")
    else:
        for kind in chosen.kinds or KINDS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found, live = alone(Path(folder), [kind])
                except AssertionError as error:
                    bad += 1
                    print(f"{kind}: {str(error)[-3000:]}", flush=True)
                    continue
            bad += _tell(kind, found, live)
    sys.exit(bool(bad))


def _tell(name: str, found: Found, live: Live) -> bool:
    print(
        f"{name}: {found.trades} trades, {found.candles} candles, {found.complete_s:.0f} s complete, "
        f"{len(found.gaps)} gaps, {len(found.wrong)} wrong",
        flush=True,
    )
    for text in (*found.gaps[:3], *found.wrong[:10]):
        print(f"  {text}")
    if found.wrong:
        print(live.text())
    return bool(found.wrong)


if __name__ == "__main__":
    main()
