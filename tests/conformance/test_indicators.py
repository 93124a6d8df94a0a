"""Every indicator there is, found by itself, keeps every law."""

import importlib
import textwrap

import pytest

from tapeflow import indicators
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
