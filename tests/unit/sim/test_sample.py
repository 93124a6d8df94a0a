"""The sample agrees with itself, to the last digit, and is the same everywhere."""

import hashlib
import json
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise

import pytest

from tapeflow.sim.sample import START, sample_frames

SECONDS = 150
FRAMES = list(sample_frames(seconds=SECONDS))
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def payloads(stream, symbol):
    """(receive time, payload) of one stream, as received."""
    wanted = f"{symbol.lower()}@{stream}"
    parsed = ((recv, json.loads(frame)) for recv, frame in FRAMES)
    return [(recv, frame["data"]) for recv, frame in parsed if frame.get("stream") == wanted]


def answers():
    parsed = [(recv, json.loads(frame)) for recv, frame in FRAMES]
    return [(recv, frame) for recv, frame in parsed if "lastUpdateId" in frame]


def trades(symbol):
    return sorted((data for _, data in payloads("trade", symbol)), key=lambda data: data["t"])


def test_the_same_bytes_everywhere():
    """A changed digest changes every sample there is: change it on purpose only."""
    digest = hashlib.sha256()
    for recv, frame in sample_frames(seconds=30):
        digest.update(b"%d %b\n" % (recv, frame))
    assert digest.hexdigest() == "58a11da960bcd201061a3749427dbbd1a552160aca34f340ef5404ba010ba70a"


def test_seed_and_length():
    assert list(sample_frames(seed=8, seconds=5)) != list(sample_frames(seed=7, seconds=5))
    assert list(sample_frames(seed=7, seconds=0)) == []
    assert list(sample_frames(seconds=5, symbols=())) == []


def test_other_symbols_and_times():
    frames = list(sample_frames(seconds=20, symbols=("XYZBTC", "ETHUSDT"), start_us=START + 123_456))
    assert min(recv for recv, _ in frames) > START + 100_000
    assert any(b'"stream":"xyzbtc@trade"' in frame for _, frame in frames)


def test_compact_json_with_the_documented_keys():
    keys = defaultdict(set)
    for _, frame in FRAMES:
        parsed = json.loads(frame)
        assert json.dumps(parsed, separators=(",", ":")).encode() == frame
        data = parsed.get("data", parsed)
        keys[parsed.get("stream", "answer").partition("@")[2]].add(" ".join(data))
        if "k" in data:
            keys["k"].add(" ".join(data["k"]))
    assert keys == {
        "": {"lastUpdateId bids asks"},
        "trade": {"e E s t p q T m M"},
        "bookTicker": {"u s b B a A"},
        "depth@100ms": {"e E s U u b a"},
        "kline_1m": {"e E s k"},
        "k": {"t T s i f L o c h l v n x q V Q B"},
    }


def test_received_in_order_soon_after_the_event():
    assert all(a < b for (a, _), (b, _) in pairwise(FRAMES))
    late = total = 0
    for recv, frame in FRAMES:
        data = json.loads(frame).get("data", {})
        if "E" in data:
            delay = recv - data["E"] * 1000
            total += data["e"] == "trade"
            if delay > 80_000:
                late += 1
                assert data["e"] == "trade"
            assert 20_000 <= delay <= 1_580_000
    assert 0.005 < late / total < 0.02


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_trade_ids_are_consecutive(symbol):
    rows = trades(symbol)
    assert len(rows) > 50
    assert all(b["t"] == a["t"] + 1 and b["T"] >= a["T"] for a, b in pairwise(rows))
    assert all(0 <= row["E"] - row["T"] <= 2 for row in rows)
    assert all(float(row["p"]) > 0 and float(row["q"]) > 0 for row in rows)


def test_activity_differs():
    counts = [len(trades(symbol)) for symbol in SYMBOLS]
    assert counts[0] > 2.5 * counts[1] > 2.5 * counts[2]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_klines_hold_exactly_the_trades_before_them(symbol):
    rows = trades(symbol)
    pushes = [data for _, data in payloads("kline_1m", symbol)]
    assert [push["E"] for push in pushes] == [START // 1000 + 2000 * n for n in range(1, SECONDS // 2 + 1)]
    for push in pushes:
        bar = push["k"]
        inside = [row for row in rows if bar["t"] <= row["T"] < min(push["E"], bar["T"] + 1)]
        assert bar["x"] == (push["E"] == bar["T"] + 1)
        assert bar["n"] == len(inside)
        if not inside:
            assert (bar["f"], bar["L"], Fraction(bar["v"]), bar["o"]) == (-1, -1, 0, bar["c"])
            continue
        prices = [row["p"] for row in inside]
        assert (bar["f"], bar["L"]) == (inside[0]["t"], inside[-1]["t"])
        assert (bar["o"], bar["c"]) == (prices[0], prices[-1])
        assert (bar["h"], bar["l"]) == (max(prices, key=Fraction), min(prices, key=Fraction))
        buys = [row for row in inside if not row["m"]]
        for of, volume, quote_volume in ((inside, "v", "q"), (buys, "V", "Q")):
            assert Fraction(bar[volume]) == sum(Fraction(row["q"]) for row in of)
            assert Fraction(bar[quote_volume]) == sum(Fraction(row["p"]) * Fraction(row["q"]) for row in of)


def book_of(answer):
    return {side: {Fraction(p): Fraction(q) for p, q in answer[key]} for side, key in (("b", "bids"), ("a", "asks"))}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_book_from_answer_and_deltas_has_the_best_prices(symbol):
    deltas = payloads("depth@100ms", symbol)
    assert all(b["U"] == a["u"] + 1 for (_, a), (_, b) in pairwise(deltas))
    first, last = deltas[0][1]["U"], deltas[-1][1]["u"]
    ((recv, answer),) = [found for found in answers() if first <= found[1]["lastUpdateId"] <= last]
    held = answer["lastUpdateId"]
    (holder,) = [(at, data) for at, data in deltas if data["U"] <= held <= data["u"]]
    assert holder[0] < recv, "the delta that holds the answer's id was buffered before the answer came"

    tickers = {data["u"]: data for _, data in payloads("bookTicker", symbol)}
    newest = None
    book = book_of(answer)
    checked = 0
    for _, delta in deltas:
        newest = next((tickers[u] for u in range(delta["u"], delta["U"] - 1, -1) if u in tickers), newest)
        if delta["u"] <= held:
            continue
        for side in ("b", "a"):
            for price, size in delta[side]:
                book[side][Fraction(price)] = Fraction(size)
                if not Fraction(size):
                    del book[side][Fraction(price)]
        bid, ask = max(book["b"]), min(book["a"])
        assert bid < ask
        assert (bid, book["b"][bid]) == (Fraction(newest["b"]), Fraction(newest["B"]))
        assert (ask, book["a"][ask]) == (Fraction(newest["a"]), Fraction(newest["A"]))
        checked += 1
    assert checked > 200


def test_one_answer_for_each_symbol_sorted_best_first():
    assert len(answers()) == len(SYMBOLS)
    for _, answer in answers():
        bids, asks = ([Fraction(price) for price, _ in answer[side]] for side in ("bids", "asks"))
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert min(len(bids), len(asks)) >= 20


def test_prices_move_but_not_far():
    prices = [float(row["p"]) for row in trades("BTCUSDT")]
    assert 1e-4 < max(prices) / min(prices) - 1 < 0.05
