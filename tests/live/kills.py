"""kill -9 of a live run at random moments, in every state: ``python tests/live/kills.py [--kills N] [--seed S]``.

After the last kill the run is let go on until nothing is missing, and its store is compared with the venue's truth:
0 lost, 0 doubled. Prints the times from restart to live.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live.running import Live, Venue
from live.truth import Found, compare

#: Small segments, and connections that are replaced often: every state comes by.
OFTEN = '[tape]\nsegment_bytes = 131072\nkeep = "4s"\n[feed]\nconnection_age = "3s"\nstreams_per_connection = 6\n'


def kills(folder: Path, number: int, seed: int, rate: int = 150) -> tuple[Found, list[float]]:
    """The comparison after so many kills, and the seconds from each restart to live."""
    chance = random.Random(seed)
    venue = Venue(folder, "--symbols", "8", "--rate", str(rate), "--seed", str(seed), "--days", "1")
    live = Live(folder, venue, venue.symbols[:6], OFTEN)
    took: list[float] = []
    try:
        for _ in range(number):
            if chance.random() < 0.3:
                kind = chance.choice(["cut", "drop", "duplicate", "reorder", "slow_rest"])
                venue.fault(kind, seconds=1, permille=200, ms=200)
            started = time.monotonic()
            live.start()
            if chance.random() < 0.5:
                live.until_live()
                took.append(time.monotonic() - started)
                time.sleep(chance.uniform(0.0, 2.0))
            else:
                time.sleep(chance.uniform(0.05, 1.5))
            live.kill()
            _between(chance, live)
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


def _between(chance: random.Random, live: Live) -> None:
    """What else may be under way when the machine goes: a repair, a backfill, an upgrade."""
    choice = chance.random()
    store = live.data / "results.duckdb"
    if choice < 0.1 and store.exists():
        older(store)
    elif choice < 0.3 and store.exists():
        now = time.time_ns() // 1000
        what = chance.choice(["repair", "backfill"])
        command = [sys.executable, "-m", "tapeflow", what, str(live.config), "--start", str(now - 60_000_000)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.3, 3.0))
        process.kill()
        process.wait()


def older(store: Path) -> None:
    """Make a store what it was before the last migration."""
    with duckdb.connect(str(store)) as db:
        if not db.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'meta'").fetchone():
            return  # killed before the first transaction
        db.execute("DELETE FROM meta WHERE name = 'fingerprint'")
        db.execute("UPDATE meta SET value = '1' WHERE name = 'schema_version'")


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
