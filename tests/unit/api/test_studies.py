"""Indicators that a run does not have, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import talib

from serving import SECOND, START, Client, serving, source
from tapeflow.stores.duckdb import DuckStore

SPAN = {"symbol": "BTCUSDT", "interval": "1s"}


@pytest.fixture
def without(kept: tuple[DuckStore, dict[str, tuple[int, int]]]) -> Iterator[Client]:
    """A run over the same store that says it computes no indicators: all that are asked for are studies."""
    bare = source(*kept)
    bare.indicators = ()
    with serving(bare) as client:
        yield client


def closes(ask: Client) -> list[float]:
    return [float(row["close"]) for row in ask.rows("/v1/candles", **SPAN)]


def test_a_study_has_the_values_of_the_run_that_computes_it(ask: Client, without: Client) -> None:
    stored = ask.rows("/v1/indicators", name="sma_2", **SPAN)
    made = without.rows("/v1/indicators", name="sma_2", **SPAN)
    assert len(stored) > 20
    assert made == stored


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("ema_5", "ema", lambda x: talib.EMA(x, 5)),
        ("rsi_4", "rsi", lambda x: talib.RSI(x, 4)),
        ("macd_2_4_3", "hist", lambda x: talib.MACD(x, 2, 4, 3)[2]),
        ("linreg_6", "forecast", lambda x: talib.TSF(x, 6)),
    ],
)
def test_the_values_are_those_of_talib(ask: Client, name: str, key: str, expected: Any) -> None:
    wanted = expected(np.array(closes(ask)))
    rows = ask.rows("/v1/indicators", name=name, **SPAN)
    assert [row["name"] for row in rows] == [name] * np.count_nonzero(~np.isnan(wanted))
    np.testing.assert_allclose([row["values"][key] for row in rows], wanted[~np.isnan(wanted)], rtol=1e-12, atol=1e-9)


def test_pages_and_ranges_are_pieces_of_the_whole(ask: Client) -> None:
    def bare(rows: list[dict[str, Any]]) -> list[tuple[int, Any]]:
        return [(row["ts_start"], row["values"]) for row in rows]

    whole = bare(ask.rows("/v1/indicators", name="sma_3", **SPAN))
    asked = {"name": "sma_3", "start": START, "limit": 5} | SPAN
    paged, cursor = [], None
    while True:
        said = ask("/v1/indicators", **asked, **({"cursor": cursor} if cursor else {})).json
        paged += bare(said["data"])
        cursor = said["next"]
        if cursor is None:
            break
    assert paged == whole
    start, end = START + 10 * SECOND, START + 20 * SECOND
    piece = bare(ask.rows("/v1/indicators", name="sma_3", start=start, end=end, **SPAN))
    assert piece == [row for row in whole if start <= row[0] < end]
    assert bare(ask.rows("/v1/indicators", name="sma_3", limit=4, **SPAN)) == whole[-4:]
    assert (
        bare(ask.rows("/v1/indicators", name="sma_3", limit=4, end=end, **SPAN))
        == [row for row in whole if row[0] < end][-4:]
    )


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"name": "sam_3"}, "unknown_indicator", "did you mean sma"),
        ({"name": "sma_x"}, "bad_name", "rsi_14"),
        ({"name": "sma_0"}, "bad_name", "from 1 to 10000"),
        ({"name": "sma_501"}, "bad_name", "at most 500"),
        ({"name": "sma_3", "interval": None}, "missing_parameter", "give both"),
    ],
)
def test_what_cannot_be_computed_is_refused_and_says_why(
    ask: Client, asked: dict[str, str | None], kind: str, said: str
) -> None:
    given = {name: value for name, value in (SPAN | asked).items() if value is not None}
    answer = ask("/v1/indicators", **given)
    assert answer.status == 400, answer.body
    assert answer.json["type"].endswith(kind)
    assert said in answer.json["detail"]


def test_the_catalogue_says_what_may_be_asked_for(ask: Client) -> None:
    kinds = {row["kind"]: row for row in ask("/v1/catalogue").json["data"]}
    assert {"sma", "ema", "rsi", "macd", "bollinger", "linreg"} <= kinds.keys()
    assert kinds["bollinger"]["parameters"][1] == {
        "name": "k", "default": 2.0, "least": 0, "most": 100, "whole": False,
    }  # fmt: skip
    assert kinds["linreg"]["overlay"]
    assert kinds["linreg"]["prices"] == ["line", "forecast"]
    assert not kinds["rsi"]["overlay"]
    for kind, row in kinds.items():
        name = "_".join([kind, *(f"{one['default']:g}" for one in row["parameters"])])
        assert ask("/v1/indicators", name=name, **SPAN).status == 200, name
