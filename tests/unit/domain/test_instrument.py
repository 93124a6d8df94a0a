"""Versions of instruments: kept when they differ, found by time."""

import msgspec

from tapeflow.domain.instrument import Instrument, Instruments

BTC = Instrument("binance", "BTCUSDT", "BTC", "USDT", 8, 8, tick="0.01", valid_from=100)


def changed(**fields):
    return msgspec.structs.replace(BTC, **fields)


def test_a_restatement_adds_nothing():
    known = Instruments()
    assert known.add(BTC)
    assert not known.add(BTC)
    assert not known.add(changed(valid_from=200))
    assert known.versions("BTCUSDT") == (BTC,)


def test_versions_are_found_by_time():
    finer, halted = changed(tick="0.001", valid_from=200), changed(tick="0.001", status="halt", valid_from=300)
    known = Instruments()
    assert all(known.add(version) for version in (BTC, finer, halted))
    assert known.versions("BTCUSDT") == (BTC, finer, halted)
    found = [known.at("BTCUSDT", ts) for ts in (0, 99, 100, 199, 200, 299, 300, 10**18, None)]
    assert found == [BTC, BTC, BTC, BTC, finer, finer, halted, halted, halted]


def test_a_change_back_is_a_version():
    known = Instruments()
    assert all(known.add(v) for v in (BTC, changed(tick="1", valid_from=200), changed(valid_from=300)))
    assert known.at("BTCUSDT", 250).tick == "1"
    assert known.at("BTCUSDT").tick == "0.01"


def test_the_past_is_not_rewritten():
    known = Instruments()
    known.add(BTC)
    assert not known.add(changed(tick="5", valid_from=50))
    assert known.at("BTCUSDT", 60) == BTC


def test_unknown_symbols():
    known = Instruments()
    assert known.at("BTCUSDT") is None
    assert known.versions("BTCUSDT") == ()
    known.add(BTC)
    assert known.at("btcusdt") is None
    assert known.symbols() == ("BTCUSDT",)
