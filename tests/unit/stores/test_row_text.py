"""Rows as JSON by the kernel and by its portable twin: the same bytes, whatever the columns are."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tapeflow.engine.kernels import COMPILED
from tapeflow.stores import render, row_text

pytestmark = pytest.mark.skipif(COMPILED is None, reason="there is no kernel here")

ODD = [
    "",
    '"',
    "\\",
    "a\nb\tc\r\b\f",
    "".join(map(chr, range(0x30))),
    "\x7f\x80",
    "é 漢 \U0001f600",
    '],}{[,:\\"',
    None,
]
LEVELS = pa.list_(pa.struct([("price", pa.decimal128(38, 8)), ("size", pa.decimal128(38, 8))]))
BIG = 10**38 - 1


def table(chance: random.Random, count: int) -> pa.Table:
    def some(*values: Any) -> list[Any]:
        return [chance.choice([*values, None]) for _ in range(count)]

    def level() -> dict[str, Decimal]:
        return {"price": Decimal(chance.randrange(10**6)), "size": Decimal(1) / 8}

    columns: dict[str, pa.Array] = {
        "text": pa.array(some(*ODD), pa.string()),
        'na"me': pa.array(some("x", "y"), pa.string()),
        "large": pa.array(some(*ODD), pa.large_string()),
        "price": pa.array(
            some(Decimal("64000.25"), Decimal("-0.00000001"), Decimal(0), Decimal(100)), pa.decimal128(38, 8)
        ),
        "huge": pa.array(some(Decimal(BIG), Decimal(-BIG)), pa.decimal128(38, 0)),
        "int": pa.array(some(0, -1, 2**63 - 1, -(2**63)), pa.int64()),
        "small": pa.array(some(0, 200), pa.uint8()),
        "float": pa.array(some(0.1, -0.0, 1e300, 5e-324, 1e16, 123456789.0, float("nan"), float("inf")), pa.float64()),
        "sure": pa.array([chance.random() * 10 ** chance.randrange(-20, 20) for _ in range(count)], pa.float64()),
        "bool": pa.array(some(True, False), pa.bool_()),
        "time": pa.array(some(0, 1_700_000_000_123_456, -5), pa.timestamp("us", "UTC")),
        "nanos": pa.array(some(0, 1_700_000_000_123_456_789), pa.timestamp("ns")),
        "levels": pa.array(some([], [level(), level()]), LEVELS),
        "values": pa.array(some([], [("a", 1.5), ("],", None)]), pa.map_(pa.string(), pa.float64())),
        "bytes": pa.array(some(b"", b"\x00\xff"), pa.binary()),
        "none": pa.nulls(count),
    }
    return pa.table(columns)


def same(rows: pa.Table) -> None:
    for between in ",\n":
        assert row_text.text(rows, between, render._values) == render.portable_text(rows, between)


@pytest.mark.parametrize("seed", range(20))
def test_any_columns_in_any_slices(seed: int) -> None:
    chance = random.Random(seed)
    rows = table(chance, chance.choice([1, 7, 8, 9, 300]))
    same(rows)
    same(rows.slice(chance.randrange(rows.num_rows)))
    same(rows.slice(chance.randrange(rows.num_rows), 3))
    same(pa.concat_tables([rows.slice(2), rows.slice(0, 5), rows.slice(0, 0)]))
    same(rows.select(chance.sample(rows.column_names, 5)))


def test_no_rows_no_columns_and_twice_the_same_name() -> None:
    rows = table(random.Random(1), 4)
    same(rows.slice(0, 0))
    same(rows.select([]))
    twice = [rows.column("int"), rows.column("text"), rows.column("bool")]
    same(pa.Table.from_arrays(twice, names=["a", "b", "a"]))
    assert render.json_array(rows.slice(0, 0)) == b"[]"
    assert render.ndjson(rows.slice(0, 0)) == b""
    assert render.ndjson(rows).count(b"\n") == rows.num_rows


@pytest.mark.parametrize(
    "column",
    [
        (1, b"", 0, 0, None, b"12345678", None),  # fewer integers than rows
        (1, b"", -1, 0, None, bytes(32), None),
        (0, b"", 0, 39, None, bytes(64), None),
        (2, b"", 0, 0, b"", b"1", None),  # fewer bits of validity than rows
        (3, b"", 0, 0, None, b"\x00\x00\x00\x00\x05\x00\x00\x00\x09\x00\x00\x00", b"short"),
        (4, b"", 0, 0, None, None, b"[1]"),
        (4, b"", 0, 0, None, None, b'["'),
        (5, b"", 0, 39, None, bytes(16), None),
        (6, b"", 0, 0, None, bytes(15), None),
        (7, b"", 0, 0, None, b"1", None),
        (8, b"", 0, 1, None, bytes(7), bytes(4)),
        (8, b"", 0, 2, None, bytes(8), bytes(4)),  # fewer ends than names
        (8, b"", 0, 1, None, b"\x01" + bytes(7), bytes(4)),  # a name that is not there
        (8, b"", 0, 1, None, bytes(8), b"\x05" + bytes(3)),  # a name beyond the end
        (8, b"", 0, 2, None, b"\x01" + bytes(7), b"\x05\0\0\0\x03\0\0\0names"),  # one that ends before it begins
        (9, b"", 0, 0, None, bytes(32), bytes(32)),
        (-1, b"", 0, 0, None, bytes(32), bytes(32)),
    ],
)
def test_a_column_that_is_not_what_it_says_is_refused(column: Any) -> None:
    with pytest.raises(ValueError, match="a column"):
        COMPILED.json_rows((column,), 2, 44)
