"""Candles, means and books of whole inputs against brute force over the raw JSON, and against the exchange itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from integration import oracle
from recordings import SPOT_2024, frames, recording
from tapeflow.app.replay import replay
from tapeflow.flow.builder import Builder
from tapeflow.sim.sample import sample_frames
from tapeflow.testing.engines import Message, run

INTERVALS = tuple(oracle.INTERVALS)


def flow() -> Any:
    made = Builder("all")
    made.trades().candles(*INTERVALS).indicator("sma_20")
    made.trades().moving_average("3s", "500ms")
    return made.build()


def payloads(messages: list[Message]) -> list[dict[str, Any]]:
    found = []
    for _, frame in messages:
        text = json.loads(frame)
        text = text.get("data", text)
        if text.get("e") == "trade":
            found.append(text)
    return found


def plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("venue", "source", "closed", "revision")}


def compare(rows: dict[str, list[dict[str, Any]]], trades: list[dict[str, Any]]) -> None:
    ticks = oracle.unique(trades)
    for channel, expected in (("candles", oracle.candles(ticks, INTERVALS)), ("moving_average", oracle.means(ticks))):
        assert [plain(row) for row in rows[channel]] == [plain(row) for row in oracle.in_order(expected)]


@pytest.mark.parametrize("compiled", [False, None], ids=["portable", "default"])
@pytest.mark.parametrize("order", ["in order", "reversed", "shuffled and doubled"])
def test_a_made_up_market(compiled: bool | None, order: str) -> None:
    messages: list[Message] = [(None, frame) for _, frame in sample_frames(seed=11, seconds=40)]
    trades = payloads(messages)
    if order == "reversed":
        messages.reverse()
    elif order != "in order":
        messages = messages * 2
        random.Random(5).shuffle(messages)
    compare(run(messages, flow=flow(), compiled=compiled), trades)


@pytest.mark.parametrize("order", ["in order", "reversed", "shuffled and doubled"])
def test_the_recorded_trades(order: str) -> None:
    messages: list[Message] = [(None, frame) for name in SPOT_2024 for frame, _ in frames(name) if b'"trade"' in frame]
    trades = payloads(messages)
    if order == "reversed":
        messages.reverse()
    elif order != "in order":
        messages = messages * 2
        random.Random(5).shuffle(messages)
    compare(run(messages, flow=flow()), trades)


def test_the_candle_from_aggregates_equals_each_push_of_the_exchange_cut_at_its_last_trade() -> None:
    """A push says up to which trade id it counts; 52 of the recorded ones lie wholly within what was recorded."""
    names = ("spot_3symbols_20210404.cryptofeed", "spot_4symbols_20211011.ws.cryptofeed")
    assert sum(equal_pushes(recording(name)) for name in names) == 52


def equal_pushes(path: Path) -> int:
    done = replay([path], channels=["klines", "trades"])
    trades = done.rows("trades")
    equal = 0
    for push in done.rows("klines"):
        first, last = int(push["first_id"]), int(push["last_id"])
        mine = [t for t in trades if t["symbol"] == push["symbol"]]
        cut = [t for t in mine if int(t["first_id"]) >= first and int(t["last_id"]) <= last]
        ids = sum(int(t["last_id"]) - int(t["first_id"]) + 1 for t in cut)
        if ids != last - first + 1:
            continue  # it began before the recording, or ends inside an aggregate
        equal += 1
        messages = [(None, aggregate(t)) for t in cut]
        made = run(messages, flow=one_minute())["candles"]
        assert len(made) == 1
        fields = ("symbol", "ts_start", "ts_end", "open", "high", "low", "close", "volume", "quote_volume", "count")
        fields += ("taker_buy_volume", "vwap")
        assert {f: made[0][f] for f in fields} == {f: push[f] for f in fields}
    return equal


def aggregate(t: dict[str, Any]) -> bytes:
    times = {"E": t["ts_event"] // 1000, "T": t["ts_event"] // 1000}
    ids = {"a": int(t["id"]), "f": int(t["first_id"]), "l": int(t["last_id"])}
    text = {"e": "aggTrade", "s": t["symbol"], "p": t["price"], "q": t["size"], "m": t["side"] == "sell", "M": True}
    return json.dumps(text | ids | times).encode()


def one_minute() -> Any:
    made = Builder("minute")
    made.trades().candles("1m")
    return made.build()


@pytest.mark.parametrize("compiled", [False, None], ids=["portable", "default"])
def test_the_book_agrees_with_the_book_ticker(compiled: bool | None, tmp_path: Path) -> None:
    done = replay([recording(name) for name in SPOT_2024], channels=["book", "quotes"], compiled=compiled)
    quotes = [(int(q["id"]), [[q["bid"], q["bid_size"]], [q["ask"], q["ask_size"]]]) for q in done.rows("quotes")]
    quotes.sort(key=lambda quote: quote[0])
    rows = sorted(done.rows("book"), key=lambda row: int(row["id"]))
    compared = equal = at = 0
    for row in rows[1:]:  # the first is the snapshot itself
        while at < len(quotes) and quotes[at][0] <= int(row["id"]):
            at += 1
        compared += 1
        equal += quotes[at - 1][1] == [row["bids"][0], row["asks"][0]]
    assert (equal, compared) == (6491, 6493)
