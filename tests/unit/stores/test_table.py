"""Rows as JSON: the same bytes whether the kernel writes them or the loop."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from storing import Source, quote, trade
from tapeflow.engine.columns import LEVEL, NONE_TIME
from tapeflow.stores import table as module
from tapeflow.stores.channels import Channel
from tapeflow.stores.table import Coded, Column, LevelsColumn, Masked, Table, Wide

NAMES = ["", '"', "\\", "a\nb", "é 漢 \U0001f600", *(f"S{n}USDT" for n in range(300))]
ENDS = [0, 1, -1, 10**8, -(10**8) + 1, 2**63 - 1, -(2**63)]
WORDS = [0, 1, 2**127 - 1, 10**30 + 7]


@pytest.mark.parametrize("channel", ["trades", "quotes", "candles", "indicators"])
def test_many_rows_are_written_as_few_are(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[Any] = [trade(n, n / 3, price=f"{100 + n % 7}.0{n % 3}") for n in range(400)]
    messages += [quote(n, n / 5) for n in range(300)]
    same(Source().take(*messages).table(channel), monkeypatch)


@pytest.mark.parametrize("seed", range(10))
def test_columns_of_every_kind_in_parts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    count = chance.choice([module.MANY, 7, 8, 9, 100])
    columns: dict[str, tuple[Any, Column]] = of_every_kind(chance, count)
    channel = Channel("made", tuple((name, kind) for name, (kind, _) in columns.items()), (), ())
    made = Table(channel, {name: column for name, (_, column) in columns.items()}, 8, 6)
    same(made, monkeypatch)
    monkeypatch.setattr(module, "RENDERED", chance.choice([1, 3, 8]))
    same(made, monkeypatch)


def of_every_kind(chance: random.Random, count: int) -> dict[str, tuple[Any, Column]]:
    def words(*values: int) -> Any:
        return np.array([chance.choice(values or ENDS) for _ in range(count)], np.int64)

    def some(*values: Any) -> list[Any]:
        return [chance.choice([*values, None]) for _ in range(count)]

    known = np.array([chance.random() < 0.5 for _ in range(count)], bool)
    wide = [chance.choice(WORDS) for _ in range(count)]
    halves = [np.array([value >> shift & 2**64 - 1 for value in wide], np.uint64) for shift in (0, 64)]
    levels = np.array([(chance.choice(ENDS), 5) for _ in range(40)], LEVEL)
    counts = np.array([chance.randrange(4) for _ in range(count)])
    return {
        "symbol": ("text", Coded(np.array([chance.randrange(len(NAMES)) for _ in range(count)]), NAMES)),
        "price": ("price", words()),
        "size": ("size", words()),
        "quote": ("quote", Wide(*halves)),
        "id": ("id", words()),
        "first_id": ("id", Masked(words(), known)),
        "vwap": ("float", Masked(np.array(some(0.5, float("nan"), 1e300), float), known)),
        "mean": ("float", np.array(some(0.1, -0.0, float("inf")), float)),
        "ts": ("time", words(0, 1_700_000_000_000_000, NONE_TIME)),
        "count": ("int", words().astype(np.int32)),
        "seq": ("int", words()),
        "closed": ("bool", known),
        "bids": ("levels", LevelsColumn(levels, counts * 3, counts)),
        "volume": ("size", some(*WORDS)),
        "text": ("text", some(*NAMES)),
        "bytes": ("bytes", [chance.choice([b"", b"\x00\xff"]) for _ in range(count)]),
        "values": ("values", [{"a": 1.5, '"],': None}] * count),
        "times": ("time", some(NONE_TIME, 5)),
    }


def same(made: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel as by the loop."""
    assert len(made) >= module.MANY
    by_kernel = list(made.json_lines())
    with monkeypatch.context() as loop:
        loop.setattr(module, "MANY", 1 << 30)
        assert by_kernel == list(made.json_lines())


def test_ids_of_columns_are_texts() -> None:
    made = Source().take(trade(9), trade(10, 1)).table("trades")
    assert isinstance(made.columns["id"], np.ndarray)
    assert made.to_arrow().column("id").to_pylist() == ["9", "10"]
    assert [json.loads(line)["id"] for line in made.json_lines()] == ["9", "10"]
