"""A live run that serves: a venue, a run against it, and a client of its API."""

from __future__ import annotations

import time
from pathlib import Path

from live.running import Live, Venue
from serving import Client


class Running:
    """A run of some symbols that has been going for some seconds, with all that was traded before."""

    def __init__(self, folder: Path, settings: str, *, symbols: int = 3, seconds: float = 3) -> None:
        self.folder = folder
        self.venue = Venue(folder, "--symbols", "4", "--rate", "150", "--days", "1")
        self.live = Live(folder, self.venue, self.venue.symbols[:symbols], settings)
        self.symbol = self.venue.symbols[0]
        try:
            self.live.start()
            self.url = self.live.until(lambda s: s.get("api") and s["is_live"])["api"]
            self.ask = Client(self.url)
            self.live.until_whole()
            time.sleep(seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int:
        try:
            return self.live.stop()
        finally:
            self.venue.stop()
