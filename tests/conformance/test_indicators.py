"""Every indicator there is, found by itself, keeps every law."""

from __future__ import annotations

import importlib
import os
import re
import sys
import textwrap
from pathlib import Path

import pytest

from tapeflow import indicators, venues
from tapeflow.domain.errors import SettingsError
from tapeflow.engine.embedded import Engine
from tapeflow.flow.builder import Builder
from tapeflow.stores.results import Results
from tapeflow.testing.indicators import LAWS, random_walk, run


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("kind", indicators.names())
def test_law(kind, law):
    law(indicators.create(kind))


SMALLEST_AND_ODD = ["sma_1", "ema_1", "rsi_2", "macd_2_3_1", "bollinger_2_0.5", "linreg_2", "macd_3_10_16", "sma_200"]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", SMALLEST_AND_ODD)
def test_law_at_the_edges(name, law):
    law(indicators.parse(name))


def test_an_indicator_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "last.py").write_text(
        textwrap.dedent('''
            import msgspec
            from typing import ClassVar


            class Last(msgspec.Struct, frozen=True):
                """The close itself. First value at index 0: ``>>> Last()``."""

                kind: ClassVar[str] = "last"
                fields: ClassVar[tuple[str, ...]] = ("last",)
                lookback: ClassVar[int] = 0
                name: ClassVar[str] = "last"

                def zero(self):
                    return ()

                def on_event(self, state, close):
                    return state, {"last": close}

                def on_time(self, state, ts_watermark):
                    return state, None
            ''')
    )
    monkeypatch.setattr(indicators, "__path__", [*indicators.__path__, str(tmp_path)])
    importlib.invalidate_caches()

    assert "last" in indicators.names()
    for law in LAWS:
        law(indicators.parse("last"))


TWICE = '''"""Twice the close."""
import msgspec
from typing import ClassVar


class Twice(msgspec.Struct, frozen=True):
    kind: ClassVar[str] = "twice_last"
    fields: ClassVar[tuple[str, ...]] = ("twice",)
    lookback: ClassVar[int] = 0
    name: ClassVar[str] = "twice_last"

    def zero(self):
        return ()

    def on_event(self, state, close):
        return state, {"twice": FACTOR * close}

    def on_time(self, state, ts_watermark):
        return state, None
'''


@pytest.mark.usefixtures("own_indicators")
def test_a_folder_of_ones_own_is_found_and_its_code_told_apart(tmp_path: Path) -> None:
    def write(factor: int) -> None:
        (tmp_path / "twice_last.py").write_text(TWICE.replace("FACTOR", str(factor)))

    def fingerprint() -> str:
        flow = Builder("own")
        flow.trades().candles("1s").indicator("twice_last")
        made = flow.build()
        return Engine(
            made, venues.create("binance"), Results(made, "binance", (), price_scale=8, size_scale=8)
        ).fingerprint

    write(2)
    assert indicators.add_folder(str(tmp_path)) == ["twice_last"]
    assert indicators.parse("twice_last").on_event((), 3.0) == ((), {"twice": 6.0})
    assert next(row for row in indicators.catalogue() if row.kind == "twice_last").title == "Twice the close"
    first = fingerprint()
    sys.modules.pop("tapeflow.indicators.twice_last")
    write(3)
    os.utime(tmp_path / "twice_last.py", (1, 1))  # else the file of before is taken, of the same second and size
    indicators.add_folder(str(tmp_path))
    assert indicators.parse("twice_last").on_event((), 3.0) == ((), {"twice": 9.0})
    assert fingerprint() != first


@pytest.mark.usefixtures("own_indicators")
@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("", "", "found none"),
        ("sma", "", "sma already"),
        ("broken_one", "def", "cannot load the indicator broken_one: SyntaxError"),
        ("empty_one", "", "expected a class with kind = 'empty_one'"),
        ("plain_one", "class A: kind = 'plain_one'", "expected a msgspec.Struct"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path, name: str, body: str, said: str) -> None:
    if name:
        (tmp_path / f"{name}.py").write_text(body)
    with pytest.raises(SettingsError, match=re.escape(said)):
        indicators.add_folder(str(tmp_path))


class Broken:
    """Counts its bars for ever, in a list. First value: >>> nowhere."""

    kind, name, fields, lookback = "broken", "broken", ("sum",), 0

    def zero(self):
        return []

    def on_event(self, state, close):
        state.append(close)
        return state, {"sum": sum(state)}

    def on_time(self, state, ts_watermark):
        return state, {"sum": 0.0}


@pytest.mark.parametrize("law", [law for law in LAWS if law.__name__ in {"state_is_bounded", "is_pure"}])
def test_laws_have_teeth(law):
    with pytest.raises(AssertionError):
        law(Broken())


@pytest.mark.slow
@pytest.mark.parametrize("kind", indicators.names())
def test_a_long_run_does_not_drift(kind):
    """After many bars the values are those of a run that began ten thousand bars before the end."""
    indicator = indicators.create(kind)
    closes = random_walk(11, 300_000, 1e5, 0.01)
    state = indicator.zero()
    for close in closes:
        state, values = indicator.on_event(state, close)
    assert values == pytest.approx(run(indicator, closes[-10_000:])[-1], rel=1e-12, abs=1e-9)
