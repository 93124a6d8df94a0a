"""The roles of a cluster as a user starts them, each a process of its own, over real servers; and what came of them."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from live.running import Live, Venue
from live.truth import get
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import read_all


class Role(Live):
    """``tapeflow run CONFIG --role ROLE``; roles of one cluster share its settings, not the folder."""

    def __init__(self, folder: Path, venue: Venue, symbols: list[str], role: str, more: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, venue, symbols, more)
        self.role = role

    def command(self) -> list[str]:
        return ["run", str(self.config), "--role", self.role]


def settings(bootstrap: str, prefix: str, database: str = "", more: str = "") -> str:
    """The tables that all roles share."""
    postgres = f'[postgres]\nurl = "{database}"\n' if database else ""
    return f'{more}\n[bus]\nbootstrap = "{bootstrap}"\nprefix = "{prefix}"\npartitions = 2\n{postgres}'


def fresh_prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."


def rows(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """The committed rows of a topic, by partition and place."""
    found = sorted(read_all(Bus(bootstrap), topic), key=lambda record: (record.partition, record.offset))
    return [json.loads(record.value) for record in found if record.value is not None]


def wrong_trades(venue: Venue, found: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """How many rows of trades were held against the venue's truth, and all that is wrong with them."""
    of_symbol: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in found:
        if "id" in row:
            of_symbol[row["symbol"]].append(row)
    wrong: list[str] = []
    for symbol, trades in of_symbol.items():
        wrong += _wrong(venue, symbol, trades)
    return sum(map(len, of_symbol.values())), wrong


def _wrong(venue: Venue, symbol: str, trades: list[dict[str, Any]]) -> list[str]:
    spans = sorted((int(row["first_id"] or row["id"]), int(row["last_id"] or row["id"])) for row in trades)
    wrong = [
        f"{symbol}: {after[0]} follows {before[1]}" for before, after in pairwise(spans) if after[0] != before[1] + 1
    ]
    times = [row["ts_event"] for row in trades]
    url = f"{venue.rest}/control/truth/trades?symbol={symbol}&start={min(times)}&end={max(times) + 1}"
    truth = {t["id"]: (float(t["price"]), float(t["qty"]), t["time"]) for t in get(url)}
    for row in trades:
        if row["first_id"] is None:
            told = (float(row["price"]), float(row["size"]), row["ts_event"])
            if truth.get(int(row["id"])) != told:
                wrong.append(f"{symbol} {row['id']}: {told}, true {truth.get(int(row['id']))}")
    return wrong[:20]
