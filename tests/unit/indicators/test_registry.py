"""Names, parameters and what is refused."""

import pytest

from tapeflow import indicators
from tapeflow.domain.errors import SettingsError


def test_the_kinds_of_the_contract_are_there():
    assert {"sma", "ema", "rsi", "macd", "bollinger", "linreg"} <= set(indicators.names())
    assert indicators.names() == sorted(indicators.names())


@pytest.mark.parametrize(
    ("kind", "name", "fields"),
    [
        ("sma", "sma_20", ("sma",)),
        ("ema", "ema_20", ("ema",)),
        ("rsi", "rsi_14", ("rsi",)),
        ("macd", "macd_12_26_9", ("macd", "signal", "hist")),
        ("bollinger", "bollinger_20_2", ("upper", "middle", "lower")),
        ("linreg", "linreg_14", ("line", "slope", "intercept", "forecast")),
    ],
)
def test_defaults(kind, name, fields):
    indicator = indicators.create(kind)
    assert (indicator.kind, indicator.name, indicator.fields) == (kind, name, fields)
    assert indicators.parse(kind) == indicators.parse(name) == indicator


def test_parameters_from_a_name():
    assert indicators.parse("macd_5_35") == indicators.create("macd", 5, 35, 9)
    assert indicators.parse("bollinger_10_1.9") == indicators.create("bollinger", 10, 1.9)
    assert indicators.parse("bollinger_20_2.0").name == "bollinger_20_2"


REFUSED = [
    *("", "_", "unknown", "rsi-14", "RSI_14", "rsi14", "rsi_", "rsi_14_", "rsi_x", "rsi_-14", "rsi_+14", "rsi_14_3"),
    *("sma_0", "sma_2.5", "sma_10001", "ema_0", "rsi_1", "linreg_1", "bollinger_1", "bollinger_20_0", "sma_²"),
    *("bollinger_20_-2", "bollinger_20_nan", "bollinger_20_inf", "bollinger_20_101", "macd_26_12_9", "macd_12_12_9"),
    *("macd_1_2_9", "macd_12_26_0", "macd_12_26_9_1", "_parameters", "__init__", "sma_" + "9" * 5000),
]


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: name[:20])
def test_refused_names_say_what_to_do(name):
    with pytest.raises(SettingsError, match=r"expected .*, got .*: (write|give|leave)"):
        indicators.parse(name)


@pytest.mark.parametrize("value", [True, "14", None, 14.0, float("nan")])
def test_refused_values(value):
    with pytest.raises(SettingsError, match="expected n of rsi to be a whole number from 2 to 10000"):
        indicators.create("rsi", value)


def test_a_file_without_its_class_is_named(tmp_path, monkeypatch):
    (tmp_path / "hollow.py").write_text("")
    monkeypatch.setattr(indicators, "__path__", [*indicators.__path__, str(tmp_path)])
    with pytest.raises(SettingsError, match="expected a class with kind = 'hollow'"):
        indicators.create("hollow")
