"""Every form of an answer has the same rows, and they are those of the store."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving import START, Client
from tapeflow.api.formats import ARROW, BY_NAME, CSV, JSON, NDJSON, PARQUET, choose
from tapeflow.api.problem import Problem
from tapeflow.stores.channels import CHANNELS
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.render import objects, schema_of, table_of

RANGES = [
    ("/v1/candles", "candles", {"interval": "1s"}),
    ("/v1/trades", "trades", {}),
    ("/v1/moving-average", "moving_average", {}),
    ("/v1/indicators", "indicators", {"interval": "1s"}),
]


def read(media: str, body: bytes) -> pa.Table:
    return pa.ipc.open_stream(body).read_all() if media == ARROW else pq.read_table(io.BytesIO(body))


@pytest.mark.parametrize(("path", "channel", "more"), RANGES, ids=[path for path, _, _ in RANGES])
def test_forms_are_equal(
    ask: Client, kept: tuple[DuckStore, Any], path: str, channel: str, more: dict[str, str]
) -> None:
    query = {"symbol": "BTCUSDT", "start": START, "limit": 17, **more}
    whole = ask(path, **query)
    rows = whole.json["data"]
    lines = ask(path, {"Accept": NDJSON}, **query)
    assert [json.loads(line) for line in lines.body.splitlines()] == rows
    for media in (ARROW, PARQUET):
        said = ask(path, {"Accept": media}, **query)
        assert said.headers["Content-Type"] == media
        assert said.headers["Tapeflow-Next"] == whole.json["next"]
        assert said.headers["Tapeflow-Complete"] == str(whole.json["coverage"]["complete"]).lower()
        assert json.loads(said.headers["Tapeflow-Gaps"]) == whole.json["coverage"]["gaps"]
        assert int(said.headers["Tapeflow-Watermark"]) == whole.json["ts_watermark"]
        table = read(media, said.body)
        assert objects(table) == rows
        assert table.schema.equals(schema_of(CHANNELS[channel], 8, 8))
    cells = list(csv.DictReader(io.StringIO(ask(path, {"Accept": CSV}, **query).body.decode())))
    assert [list(row.values()) for row in cells] == [[text_of(value) for value in row.values()] for row in rows]


def text_of(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_rows_are_those_of_the_store(ask: Client, kept: tuple[DuckStore, Any]) -> None:
    found = kept[0].cursor().execute(
        "SELECT epoch_us(ts_start), open, close, volume, quote_volume, count, vwap FROM candles "
        "WHERE symbol = 'BTCUSDT' AND interval = '1s' ORDER BY ts_start"
    ).fetchall()  # fmt: skip
    rows = ask.rows("/v1/candles", symbol="BTCUSDT", interval="1s", start=0)
    assert len(rows) == len(found) > 20
    for row, (ts, opened, closed, volume, quote, count, vwap) in zip(rows, found, strict=True):
        assert (row["ts_start"], row["count"], row["vwap"]) == (ts, count, vwap)
        assert [Decimal(row[name]) for name in ("open", "close", "volume", "quote_volume")] == [
            opened, closed, volume, quote,
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("accept", "format", "media"),
    [
        (None, None, JSON),
        ("", None, JSON),
        ("*/*", None, JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", None, JSON),
        ("text/*", None, CSV),
        ("application/*;q=0.5, text/csv;q=0.4", None, JSON),
        ("application/json;q=0.1, text/csv", None, CSV),
        ("application/json;q=0, */*", None, NDJSON),
        ("APPLICATION/X-NDJSON", None, NDJSON),
        ("text/csv; charset=utf-8", "parquet", PARQUET),
    ],
)
def test_the_form_is_chosen(accept: str | None, format: str | None, media: str) -> None:
    assert choose(accept, format) == media


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "application/json;q=x"])
def test_a_form_that_is_not_given(ask: Client, accept: str) -> None:
    with pytest.raises(Problem):
        choose(accept, None)
    said = ask("/v1/trades", {"Accept": accept}, symbol="BTCUSDT")
    assert (said.status, said.headers["Content-Type"]) == (406, "application/problem+json")
    assert all(media in said.json["detail"] for media in BY_NAME.values())


def test_books_go_there_and_back() -> None:
    schema = schema_of(CHANNELS["book"], 2, 3)
    row = {"venue": "v", "symbol": "s", "id": "1", "bids": [["1.5", "2"]], "asks": [], "ts_event": None, "ts_recv": 5}
    other = row | {"bids": [["1", "0.125"], ["0.99", "7"]], "asks": [["3", "4"]]}
    table = table_of([row, other, row], schema)
    assert json.loads(json.dumps(objects(table))) == [row, other, row]
    assert json.loads(json.dumps(objects(table.slice(1, 1)))) == [other]


def test_decimals_are_canonical_whatever_their_sign_scale_and_place() -> None:
    values = [
        Decimal("-1.50"),
        None,
        Decimal("0.00"),
        Decimal("12345678901234567890123456789012345.67"),
        Decimal("7.00"),
    ]
    table = pa.table({"x": pa.array(values, pa.decimal128(38, 2))})
    texts = ["-1.5", None, "0", "12345678901234567890123456789012345.67", "7"]
    assert [row["x"] for row in objects(table)] == texts
    assert [row["x"] for row in objects(pa.concat_tables([table.slice(1), table]).slice(2))] == texts[3:] + texts
