"""What a demo decides before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeflow.app import demo, market
from tapeflow.domain.errors import SettingsError


def test_the_first_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "taken", lambda _, port: "in use" if port < demo.PORT + 2 else "")
    assert demo._free_port() == demo.PORT + 2
    monkeypatch.setattr(demo, "taken", lambda *_: "in use")
    with pytest.raises(SettingsError, match="every port from 8600 to 8699"):
        demo._free_port()


def test_a_market_is_kept_and_its_past_begins_on_the_same_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market, "_today", lambda: 20_000)
    first = market.keep(tmp_path, None, 6)
    assert (first.market().days, first.market().symbols) == (market.DAYS, market.LISTED)
    monkeypatch.setattr(market, "_today", lambda: 20_010)
    again = market.keep(tmp_path, None, 3)
    assert again == first
    assert again.market().days == market.DAYS + 10


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / market.FILE).write_text("{")
    with pytest.raises(SettingsError, match=r"demo\.json is damaged"):
        market.keep(tmp_path, None, 6)
