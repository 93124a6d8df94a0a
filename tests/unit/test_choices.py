"""What docs/reference/choices.md says, each by a run: where the contract is silent, this is what Tapeflow does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tapeflow as tf
from tapeflow.testing.engines import Message, run

MS = 1_700_000_000_000
US = MS * 1000
SECOND = 1_000_000

Row = dict[str, Any]


def wire(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def trade(id: int, ts: int = MS, p: str = "100", q: str = "1", *, at: int | None = None, **more: Any) -> Message:
    return at, wire(**{"e": "trade", "E": MS, "s": "X", "t": id, "p": p, "q": q, "T": ts, "m": False, "M": True} | more)


def aggregate(id: int, first: int, last: int, ts: int = MS, p: str = "100", **more: Any) -> Message:
    fields = {"e": "aggTrade", "E": MS, "s": "X", "a": id, "p": p, "q": "1", "f": first, "l": last, "T": ts, "m": False}
    return None, wire(**fields | {"M": True} | more)


def kline(**bar: Any) -> Message:
    k = {"t": MS, "T": MS + 999, "s": "X", "i": "1s", "f": 1, "L": 9, "o": "5", "c": "5", "h": "5", "l": "5"}
    k |= {"v": "9", "n": 9, "x": True, "q": "45", "V": "0", "Q": "0", "B": "0"} | bar
    return None, wire(e="kline", E=MS + 1000, s="X", k=k)


def flow(*intervals: str, indicator: str = "", mean: tuple[str, str] | None = None, **times: str) -> tf.Flow:
    made = tf.Builder("choices", **times)
    candles = made.trades().candles(*(intervals or ("1s",)))
    if indicator:
        candles.indicator(indicator)
    if mean:
        made.trades().moving_average(*mean)
    made.klines()
    made.quotes()
    made.tickers()
    return made.build()


def candles(messages: list[Message], **options: Any) -> list[Row]:
    return run(messages, flow=options.pop("flow", flow()), **options)["candles"]


def reasons(*messages: Message) -> list[str]:
    return [row["reason"] for row in run(messages, flow=flow())["quarantine"]]


def replay(folder: Path, *messages: Message, **options: Any) -> tf.Replay:
    path = folder / "in.ndjson"
    path.write_bytes(b"".join((b"%d " % at if at else b"") + message + b"\n" for at, message in messages))
    return tf.replay([path], **options)


def test_intervals_are_ordered_as_text() -> None:
    day = 1_699_920_000_000  # windows of all three begin and, for a trade in the last second, end together
    rows = candles([trade(1, day + 86_399_000)], flow=flow("1s", "5s", "15s", "1m", "1h", "1d"))
    assert [row["interval"] for row in rows] == ["15s", "1d", "1h", "1m", "1s", "5s"]
    assert len({row["ts_end"] for row in rows}) == 1


def test_ids_are_texts_and_a_single_trade_has_no_range() -> None:
    rows = run([trade(7), kline()], flow=flow())
    assert (rows["trades"][0]["id"], rows["trades"][0]["first_id"], rows["trades"][0]["last_id"]) == ("7", None, None)
    assert (rows["klines"][0]["first_id"], rows["coverage"][0]["first_id"]) == ("1", "7")
    (row,) = run([aggregate(3, 7, 9)], flow=flow())["trades"]
    assert (row["id"], row["first_id"], row["last_id"]) == ("3", "7", "9")


def test_one_time_in_milliseconds_makes_a_window_compare_in_milliseconds() -> None:
    fine = [trade(2, US + 100, "2"), trade(1, US + 900, "1"), trade(3, US + 950, "3")]
    assert [row["open"] for row in candles(fine)] == ["2"]
    assert [row["open"] for row in candles([*fine, trade(9, MS + 5, "9")])] == ["1"]


def test_an_aggregate_is_many_trades_and_one_event() -> None:
    on_time = [trade(1, MS, "1", s="Y")]
    late = [aggregate(1, 1, 1, MS), aggregate(3, 10, 10, MS + 9000), aggregate(2, 2, 4, MS + 1, "200")]
    rows = run([*on_time, *late], flow=flow(mean=("1s", "1s")))
    (candle,) = (row for row in rows["candles"] if row["symbol"] == "X" and row["ts_start"] == US)
    assert (candle["count"], candle["revision"]) == (4, 1)
    (mean,) = (row for row in rows["moving_average"] if row["symbol"] == "X" and row["ts_start"] == US)
    assert (mean["mean"], mean["count"], mean["revision"]) == (175.0, 4, 1)


def test_the_clock_of_its_own_record_counts_for_the_stamp() -> None:
    first = trade(1, MS, at=US)
    held_up = trade(2, MS + 1, at=US + 60 * SECOND)
    (row,) = candles([first, held_up])
    assert (row["count"], row["revision"], row["closed"]) == (2, 1, True)


def test_every_event_with_a_venue_time_moves_the_watermark() -> None:
    ticker = wire(
        e="24hrMiniTicker", E=MS + 9000, s="X", c="1", o="1", h="1", l="1", v="1", q="1"
    )  # fmt: skip
    assert [row["closed"] for row in candles([trade(1)])] == [False]
    assert [row["closed"] for row in candles([trade(1), (None, ticker)])] == [True]
    quote = wire(u=1, s="X", b="1", B="1", a="2", A="1")
    assert [row["closed"] for row in candles([trade(1), (None, quote)])] == [False]


@pytest.mark.parametrize(("delay", "closed_after"), [(0, 4), (SECOND // 2, 4), (60 * SECOND, 63)])
def test_the_delay_is_a_second_or_the_least_seen(delay: int, closed_after: int) -> None:
    def is_closed(after: int) -> bool:
        others = trade(1, MS, s="Y", at=None)
        quote = (US + after * SECOND, wire(u=1, s="Z", b="1", B="1", a="2", A="1"))
        (row,) = (r for r in candles([others, trade(1, MS, at=US + delay), quote]) if r["symbol"] == "X")
        return bool(row["closed"])

    assert (is_closed(closed_after), is_closed(closed_after - 1)) == (True, False)


def test_repeats_are_no_events(tmp_path: Path) -> None:
    summary = replay(tmp_path, trade(1), trade(1), aggregate(1, 1, 1)).summary
    assert (summary.frames, summary.events, summary.duplicates, summary.ignored_aggregates) == (3, 1, 1, 1)


def test_an_aggregate_without_its_mark_is_of_the_futures() -> None:
    without = json.loads(aggregate(1, 1, 1)[1])
    del without["M"]
    assert reasons((None, wire(**without))) == ["unsupported_market"]


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ("1e2", "not_a_decimal"),
        ("-1", "not_a_decimal"),
        ("+1", "not_a_decimal"),
        (".5", "not_a_decimal"),
        ("1.000000001", "number_too_fine"),
        ("92233720368.54775808", "number_too_large"),
        ("0", "impossible_value"),
    ],
)
def test_numbers_that_are_refused(price: str, reason: str) -> None:
    assert reasons(trade(1, p=price)) == [reason]


def test_zeros_beyond_the_eighth_decimal_are_read() -> None:
    assert [row["close"] for row in candles([trade(1, p="1.5000000000")])] == ["1.5"]


def test_a_trade_beyond_the_horizon_is_late_only_and_flagged() -> None:
    rows = run([trade(1), trade(3, MS + 4_000_000), trade(2, MS + 10)], flow=flow())
    assert [row["id"] for row in rows["trades"]] == ["1", "3"]
    assert [(row["id"], row["ts_watermark"]) for row in rows["late"]] == [("2", US + 3_998 * SECOND)]
    flags = [(row["state"], row["reason"], row["first_id"]) for row in rows["coverage"] if row["state"] != "complete"]
    assert flags == [("unknown", "late", "2")]


def test_the_revision_of_an_indicator_counts_late_events_of_all_bars_so_far() -> None:
    on_time = [trade(i, MS + 1000 * i, str(100 + i)) for i in range(6)]
    late = [trade(10, MS + 1, "50"), trade(11, MS + 1002, "60")]
    rows = run([*on_time, *late], flow=flow(indicator="sma_2"))["indicators"]
    assert [(row["values"]["sma"], row["bars"], row["revision"]) for row in rows] == [(55.0, 2, 2), (81.0, 3, 2)]


def test_the_venues_candle_is_closed_when_both_say_so() -> None:
    def closed(*messages: Message) -> bool:
        (row,) = (row for row in candles(list(messages)) if row["ts_start"] == US)
        assert row["source"] == "venue"
        return bool(row["closed"])

    assert not closed(kline(x=True))  # the watermark, at the push less two seconds, has not reached its end
    later = kline(t=MS + 9000, T=MS + 9999, f=20, L=21, x=False)
    ahead = (None, later[1].replace(b'"E": %d' % (MS + 1000), b'"E": %d' % (MS + 9500)))
    assert closed(kline(x=True), ahead)
    assert not closed(kline(x=False), ahead)


@pytest.mark.parametrize("price", ["o", "c"])
def test_open_and_close_outside_of_low_and_high_are_the_venues_own(price: str) -> None:
    rows = run([kline(**{price: "9"})], flow=flow())
    assert len(rows["klines"]) == 1
    assert not rows["quarantine"]


def test_a_dump_of_klines_gives_candles_of_the_venue(tmp_path: Path) -> None:
    path = tmp_path / "X-1m-2023-11-14.csv"
    start = MS - MS % 60_000
    path.write_text(f"{start},1.0,3.0,0.5,2.0,10.0,{start + 59_999},15.0,4,5.0,7.5,0\n")
    (row,) = tf.replay([path], channels=["candles"], intervals=["1m"]).rows("candles")
    assert (row["source"], row["closed"], row["revision"], row["close"]) == ("venue", True, 0, "2")


def test_single_trades_void_what_aggregates_gave(tmp_path: Path) -> None:
    done = replay(tmp_path, aggregate(1, 1, 9), aggregate(2, 10, 12), trade(11), intervals=["1s"])
    assert [row["id"] for row in done.rows("trades")] == ["11"]
    assert [row["count"] for row in done.rows("candles")] == [1]
    assert [(row["first_id"], row["last_id"]) for row in done.rows("coverage")] == [("11", "11")]


def test_a_file_of_another_market_is_no_error(tmp_path: Path) -> None:
    done = replay(tmp_path, (None, wire(e="markPriceUpdate", E=MS, s="X")))
    assert (done.summary.quarantined, done.summary.events) == (1, 0)
    assert [row["reason"] for row in done.rows("quarantine")] == ["unsupported_market"]


def test_a_symbol_that_the_input_lacks_is_an_error(tmp_path: Path) -> None:
    assert [row["symbol"] for row in replay(tmp_path, trade(1), symbols=["x"]).rows("trades")] == ["X"]
    with pytest.raises(tf.InputError, match="no frame is about XRP"):
        replay(tmp_path, trade(1), symbols=["X", "XRP"])


def test_notes_are_no_frames_and_answers_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "in.cryptofeed"
    rows = [{"id": 2, "price": "1", "qty": "1", "quoteQty": "1", "time": MS, "isBuyerMaker": True, "isBestMatch": True}]
    ask = "https://venue/api/v3/historicalTrades?symbol=X"
    text = [
        b"wss://venue/stream <-> 1700000000.5",
        b"wss://venue/stream <- 1700000000.6: {}",
        b"%s -> 1700000000.7: %s" % (ask.encode(), json.dumps(rows).encode()),
        b"1700000000.8: " + trade(1)[1],
        b"1700000000.9: " + trade(3)[1],
    ]
    path.write_bytes(b"\n".join(text) + b"\n")
    done = tf.replay([path])
    assert (done.summary.frames, done.summary.answers, done.summary.quarantined) == (2, 1, 0)
    assert [row["state"] for row in done.rows("coverage")] == ["complete"]
