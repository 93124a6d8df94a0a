"""What a sink makes of rows before PostgreSQL sees them: which stand, which have a number, which are none."""

from __future__ import annotations

from typing import Any

import pytest

from tapeflow.stores.channels import CHANNELS, numbered
from tapeflow.stores.postgres.text import Unfit, copy_text
from tapeflow.stores.postgres.writing import last_of_each
from tapeflow.stores.series import Counts, is_forming, is_time

CANDLES = numbered(CHANNELS["candles"])


def candle(start: int, revision: int, count: int = 1, *, closed: bool = True) -> dict[str, Any]:
    row: dict[str, Any] = {"venue": "binance", "symbol": "X", "interval": "1s", "ts_start": start, "ts_end": start + 1}
    return row | {"revision": revision, "count": count, "closed": closed}


def test_of_each_window_the_last_row_stands_and_none_that_knows_less() -> None:
    rows = [candle(1, 0), candle(2, 0), candle(1, 2, 3), candle(1, 1, 2), candle(2, 1, 0)]
    last, before = last_of_each(CANDLES, rows, again=False)
    assert [(row["ts_start"], row["revision"]) for row in last] == [(1, 2), (2, 0)]
    assert [(row["ts_start"], row["revision"]) for row in before] == [(1, 0), (1, 1), (2, 1)]


def test_computed_again_the_last_row_stands_whatever_its_revision() -> None:
    last, _ = last_of_each(CANDLES, [candle(1, 5), candle(1, 0)], again=True)
    assert [row["revision"] for row in last] == [0]


def test_rows_of_open_windows_and_time_rows_are_told_from_the_rest() -> None:
    assert is_forming(candle(1, 0, closed=False))
    assert not is_forming(candle(1, 0))
    assert not is_forming({"id": "1"})
    assert is_time({"venue": "binance", "symbol": "X", "ts_watermark": 5})
    assert not is_time({"venue": "binance", "symbol": "X", "id": "1", "ts_watermark": 5})


def test_each_series_counts_for_itself() -> None:
    counts = Counts({("candles", "binance:X:1s"): 7})
    assert counts.next("candles", candle(1, 0)) == ("binance:X:1s", 8)
    assert counts.next("candles", candle(1, 0) | {"interval": "1m"}) == ("binance:X:1m", 1)
    assert counts.next("quotes", {"symbol": "X"}) is None
    assert counts.get("candles", "binance:X:1s") == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"open": "1e5"}, "decimal"),
        ({"open": 1.5}, "decimal"),
        ({"count": True}, "integer"),
        ({"count": 1 << 63}, "integer"),
        ({"ts_start": "1"}, "microseconds"),
        ({"ts_start": 1 << 62}, "microseconds"),
        ({"closed": 1}, "true or false"),
        ({"vwap": "1"}, "number"),
        ({"symbol": "X\0"}, "character"),
    ],
)
def test_values_that_are_none_of_their_kind_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Unfit, match=said):
        copy_text(CANDLES, [candle(1, 0) | change])


def test_texts_cannot_break_out_of_their_column() -> None:
    line = copy_text(CANDLES, [candle(1, 0) | {"symbol": "a\tb\nc\\d"}])
    assert line.count("\n") == 1
    assert line.split("\t")[1] == "a\\tb\\nc\\\\d"
