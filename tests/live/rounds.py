"""Clients of the stream that are killed, paused, slowed and resumed at random, over kills of the server too.

    python tests/live/rounds.py [--rounds N] [--seed S]

Each client must have every row of its lossless channels exactly once and in order: what the store has of each series,
with the revisions that were replaced.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tapeflow as tf
from live.running import Live, Venue
from tapeflow.client.channel import Channel, _key
from tapeflow.stores.channels import CHANNELS, NUMBERED
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.render import json_lines

#: What the clients follow.
FOLLOWED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("trades", {}),
    ("candles", {"interval": "1s"}),
    ("candles", {"interval": "5s"}),
    ("moving_average", {}),
    ("indicators", {"interval": "1s"}),
)

SETTINGS = '[tape]\nkeep = "10m"\n[feed]\nstreams_per_connection = 6\n[api]\nport = {port}\n'

Series = tuple[str, ...]


class Follower:
    """A program that follows one channel, keeps what it was given, and has its share of accidents."""

    def __init__(self, url: str, channel: str, params: dict[str, Any], chance: random.Random) -> None:
        self._url, self._name, self._params, self._chance = url, channel, params, chance
        self.rows: dict[Series, list[dict[str, Any]]] = {}
        self.first: dict[Series, int] = {}
        self.accidents: dict[str, int] = {}
        self.is_slow = self.is_ending = False
        self._cursors: dict[str, Any] | None = None
        self._channel: Channel | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._channel = tf.connect(self._url).channel(self._name, resume=self._cursors, **self._params)
        self._task = asyncio.create_task(self._follow(self._channel))

    async def kill(self) -> None:
        """The program dies; what it had written down is the rows and their cursors."""
        assert self._task is not None
        assert self._channel is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._cursors = self._channel.cursors or self._cursors

    async def end(self) -> None:
        """However it goes: no task stays."""
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1.0)

    async def _follow(self, channel: Channel) -> None:
        async for message in channel._messages():
            await self._accident()
            key = series(self._name, message)
            if message["type"] == "snapshot":
                self.first.setdefault(key, int(message["cursor"].partition(".")[2]))
            self.rows.setdefault(key, []).extend(message["data"])
            channel._cursors[_key(message)] = message["cursor"]

    async def _accident(self) -> None:
        kind = self._chance.random()
        if self.is_ending:
            return
        if kind < 0.002:
            self.accidents["paused"] = self.accidents.get("paused", 0) + 1
            await asyncio.sleep(self._chance.uniform(0.5, 2.0))
        elif kind < 0.05:
            self.accidents["slowed"] = self.accidents.get("slowed", 0) + 1
            await asyncio.sleep(0.02)

    def failure(self) -> BaseException | None:
        assert self._task is not None
        return self._task.exception() if self._task.done() and not self._task.cancelled() else None


def series(channel: str, row: dict[str, Any]) -> Series:
    key = CHANNELS[channel].key[1:-1]
    return (channel, *(str(row[name]) for name in key))


async def rounds(folder: Path, number: int, seed: int, *, tell: bool = False) -> dict[str, Any]:
    """So many rounds; what was compared, and what was wrong."""
    chance = random.Random(seed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    venue = Venue(folder, "--symbols", "6", "--rate", "150", "--seed", str(seed), "--days", "1")
    live = Live(folder, venue, venue.symbols[:4], SETTINGS.format(port=port))
    url = f"http://127.0.0.1:{port}"
    followers = [Follower(url, name, params, random.Random(seed + n)) for n, (name, params) in enumerate(FOLLOWED)]
    kills = 0
    try:
        live.start()
        await asyncio.to_thread(live.until, lambda s: s["is_live"] and s["api"])
        for follower in followers:
            follower.start()
        await asyncio.sleep(2)
        for turn in range(number):
            kind = chance.random()
            victim = chance.choice(followers)
            if kind < 0.5:
                await victim.kill()
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                victim.start()
            elif kind < 0.75:
                live.kill()
                kills += 1
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                live.start()
                await asyncio.to_thread(live.until_live)
            elif kind < 0.85:
                venue.fault("slow_rest", seconds=6, ms=3500)  # holes that are refilled late: revisions
                venue.fault("drop", seconds=1, permille=200)
            elif kind < 0.95:
                venue.fault("cut", seconds=1)
            await asyncio.sleep(chance.uniform(0.1, 1.0))
            for follower in followers:
                if follower.failure() is not None:
                    raise AssertionError(f"{follower._name}: {follower.failure()!r}")
            if tell and turn % 10 == 9:
                print(f"round {turn + 1}: {sum(len(r) for f in followers for r in f.rows.values())} rows", flush=True)
        venue.calm()
        for follower in followers:
            follower.is_ending = True
        await asyncio.to_thread(live.until_whole, 60)
        await asyncio.sleep(4)
        code = await asyncio.to_thread(live.stop)
        assert code == 0, live.text()
        await asyncio.sleep(0.5)
        for follower in followers:
            await follower.kill()
        return compare(live.data, followers) | {"server_kills": kills}
    finally:
        for follower in followers:
            await follower.end()
        live.kill()
        venue.stop()


def compare(data: Path, followers: list[Follower]) -> dict[str, Any]:
    """What each follower has against what the store has, series by series."""
    store = DuckStore(data / "results.duckdb", NUMBERED, read_only=True)
    wrong, rows, revisions = [], 0, 0
    try:
        for follower in followers:
            for key, had in follower.rows.items():
                params = dict(zip(CHANNELS[key[0]].key[1:-1], key[1:], strict=True))
                first = follower.first.get(key, 0) + 1
                found = store.since(key[0], first, 1_000_000, **params)
                expected = [msgspec.json.decode(row) for row in json_lines(found.drop_columns(["seq"]))]
                rows += len(had)
                revisions += sum(row.get("revision", 0) > 0 for row in had)
                wrong += differences(key, had, expected)
    finally:
        store.close()
    accidents: dict[str, int] = {}
    for follower in followers:
        for kind, count in follower.accidents.items():
            accidents[kind] = accidents.get(kind, 0) + count
    return {"rows": rows, "revisions": revisions, "wrong": wrong, **accidents}


def differences(key: Series, had: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """At the end of the run the last rows may not have reached the client: shutdown comes first."""
    if len(had) > len(expected):
        return [f"{key}: {len(had)} rows, the store has {len(expected)}"]
    for n, (one, other) in enumerate(zip(had, expected, strict=False)):
        if one != other:
            return [f"{key}: row {n} is {json.dumps(one)[:200]}, the store has {json.dumps(other)[:200]}"]
    if len(expected) - len(had) > 60:
        return [f"{key}: {len(had)} rows, the store has {len(expected)}"]
    return []


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=100)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(rounds(Path(folder), chosen.rounds, chosen.seed, tell=True))
    wrong = found.pop("wrong")
    print(
        json.dumps(
            {"rounds": chosen.rounds, "wrong": len(wrong), "seconds": round(time.monotonic() - started), **found}
        )
    )
    for text in wrong[:10]:
        print(f"  {text}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
