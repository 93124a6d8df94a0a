"""Rows as JSON: the same bytes whether they are few or many."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from storing import Source, quote, trade
from tapeflow.stores import table as module


@pytest.mark.parametrize("channel", ["trades", "quotes", "candles", "indicators"])
def test_many_rows_are_written_as_few_are(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[Any] = [trade(n, n / 3, price=f"{100 + n % 7}.0{n % 3}") for n in range(400)]
    messages += [quote(n, n / 5) for n in range(300)]
    made = Source().take(*messages).table(channel)
    assert len(made) > module.MANY
    many = list(made.json_lines())
    monkeypatch.setattr(module, "MANY", 1 << 30)
    assert many == list(made.json_lines())


def test_ids_of_columns_are_texts() -> None:
    made = Source().take(trade(9), trade(10, 1)).table("trades")
    assert isinstance(made.columns["id"], np.ndarray)
    assert made.to_arrow().column("id").to_pylist() == ["9", "10"]
    assert [json.loads(line)["id"] for line in made.json_lines()] == ["9", "10"]
