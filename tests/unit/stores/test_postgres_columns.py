"""Many events at once give COPY what one by one gives it; what is not right in every row is left to the other way."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

import numpy as np
import pytest

from tapeflow.stores.channels import CHANNELS, numbered
from tapeflow.stores.postgres.columns import for_copy, is_plain, read
from tapeflow.stores.postgres.text import Unfit, copy_text
from tapeflow.stores.series import Counts

TRADES, QUOTES = CHANNELS["trades"], CHANNELS["quotes"]
US = 1_700_000_000_000_000
NO_IDS = (
    "abc",
    "",
    " 7",
    "7 ",
    "+7",
    "07",
    "-0",
    "7.0",
    "1e3",
    "0x7",
    "1_0",
    "\u0663",
    "9223372036854775808",
    "9" * 5000,
)
TIME = {"venue": "binance", "symbol": "X", "ts_watermark": US}


def trade(id: int, **more: Any) -> dict[str, Any]:
    row = {"venue": "binance", "symbol": "X", "id": str(id), "price": "1.5", "size": "-2", "side": "buy"}
    row |= {"ts_event": US + id, "ts_recv": None, "first_id": None, "last_id": "7", "ts_watermark": US}
    return row | {"coarse": True, "unknown": {"a": [1]}} | more


def encoded(*rows: Any) -> list[bytes]:
    return [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]


def test_which_channels_come_as_columns() -> None:
    assert {name for name, channel in CHANNELS.items() if is_plain(channel)} == {"trades", "quotes", "late"}


def test_columns_are_the_rows_one_by_one() -> None:
    texts = ("X", "\u00e9\u4e00", 'a"b', "a,b", "a\\b", "tab\there", "new\nline", "", "NULL", "\\N", "'")
    rows = [trade(n, symbol=text, side=None if n % 3 else text) for n, text in enumerate(texts)]
    told = TIME | {"ts_watermark": None, "candle": {"interval": "1m", "ts_start": US, "open": "1", "vwap": 1.0}}
    found = read(TRADES, encoded(*rows[:4], TIME, *rows[4:], told))
    assert found is not None
    events, is_event = found
    assert is_event.to_pylist() == [True] * 4 + [False] + [True] * (len(rows) - 4) + [False]
    made = for_copy(TRADES, events)
    fields = list(csv.reader(io.StringIO(made.csv.to_pybytes().decode(), newline="")))
    undo = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
    lines = copy_text(TRADES, rows, with_times=True).split("\n")[:-1]
    assert len(fields) == len(lines)
    for got, line, row in zip(fields, lines, rows, strict=True):
        want = line.split("\t")
        plain = [one.removesuffix("Z").translate(undo) for one in got]
        empty = [name for name, _ in TRADES.fields if row[name] == ""]
        assert len(plain) == len(want)
        assert [
            a or ("" if name in empty else "\\N") for a, (name, _) in zip(plain, TRADES.fields, strict=True)
        ] == want


def test_nothing_and_an_empty_text_are_told_apart() -> None:
    found = read(QUOTES, encoded({"venue": "v", "symbol": "", "id": "1", "bid": None}))
    assert found is not None
    assert for_copy(QUOTES, found[0]).csv.to_pybytes() == b'"v","","1",,,,,,\n'


@pytest.mark.parametrize(
    "poison",
    [
        b"no json",
        b"",
        b"[]",
        b'{"venue":"v"} {"venue":"v"}',
        b'{"venue":"v",\n"symbol":"X"}\n{"a":1}',
        {},
        trade(1, price="abc"),
        trade(1, price="NaN"),
        trade(1, price="1e5"),
        trade(1, price=1.5),
        trade(1) | {"id": 5},
        *[trade(1) | {"id": id} for id in NO_IDS],
        trade(1, first_id="abc"),
        trade(1) | {"id": None},
        trade(1, ts_watermark=None) | {"id": None},
        trade(1, symbol=None),
        trade(1, price=None),
        trade(1, size=None),
        trade(1, ts_event=None),
        trade(1, ts_event=1 << 62),
        trade(1, ts_event=1 << 70),
        trade(1, ts_event="soon"),
        trade(1, ts_event=1.5),
        {"venue": "binance", "symbol": "X"},
    ],
)
def test_one_that_is_not_right_leaves_all_to_the_other_way(poison: Any) -> None:
    assert read(TRADES, encoded(trade(1), trade(2))) is not None
    assert read(TRADES, encoded(trade(1), poison, trade(2))) is None


@pytest.mark.parametrize("id", NO_IDS)
def test_what_is_no_id_is_none_either_way(id: str) -> None:
    with pytest.raises(Unfit, match="trades"):
        copy_text(TRADES, [trade(1) | {"id": id}])


@pytest.mark.parametrize("id", ["0", "-1", "9223372036854775807", "-9223372036854775808"])
def test_what_is_an_id_is_one_either_way(id: str) -> None:
    assert copy_text(TRADES, [trade(1) | {"id": id}]).split("\t")[2] == id
    assert read(TRADES, encoded(trade(1) | {"id": id})) is not None


def test_many_are_numbered_as_one_by_one() -> None:
    made = random.Random(3)
    many, one = Counts({("trades", "v:B"): 7}), Counts({("trades", "v:B"): 7})
    for _ in range(5):
        names = [f"v:{made.choice('ABCD')}" for _ in range(50)]
        series = sorted(set(names), key=names.index)
        codes = np.array([series.index(name) for name in names])
        wanted = [one.next("trades", {"venue": "v", "symbol": name[2:]}) for name in names]
        assert many.many("trades", series, codes).tolist() == [number for _, number in wanted]  # type: ignore[misc]
        assert many.counts == one.counts


def test_a_number_goes_into_the_text() -> None:
    found = read(TRADES, encoded(trade(1)))
    assert found is not None
    rows = found[0].append_column("seq", [[41]])
    assert for_copy(numbered(TRADES), rows).csv.to_pybytes().endswith(b',"7","41"\n')
