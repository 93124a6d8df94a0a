"""`Binance` as a whole: trades pass as they come, books are attributed, and state can be cut anywhere."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from tapeflow.domain.errors import SnapshotError
from tapeflow.domain.events import (
    BookDelta,
    BookSnapshot,
    Kline,
    Quarantine,
    Reconnect,
    Trade,
)
from tapeflow.venues.binance import VENUE, Binance
from unit.venues.binance import samples
from unit.venues.binance.samples import frame


def trade(id: int, symbol: str = "X") -> bytes:
    return frame(samples.TRADE | {"t": id, "s": symbol, "T": 1672515782000 + id})


def aggregate(first: int, last: int, symbol: str = "X") -> bytes:
    return frame(samples.AGG_TRADE | {"f": first, "l": last, "s": symbol, "T": 1672515782000 + first})


def delta(first: int, last: int, symbol: str = "X") -> bytes:
    return frame(samples.DELTA | {"U": first, "u": last, "s": symbol})


def depth(id: int) -> bytes:
    return frame(samples.DEPTH | {"lastUpdateId": id})


def kinds(outputs: list[Any]) -> list[str]:
    return [type(output).__name__ for output in outputs]


def ts(id: int) -> int:
    return (1672515782000 + id) * 1000


def test_the_venue_is_found_by_name() -> None:
    assert VENUE is Binance
    assert (Binance.name, Binance.price_scale, Binance.size_scale, Binance.usual_delay_us) == ("binance", 8, 8, 10**6)


def test_trades_pass_as_they_come() -> None:
    venue = Binance()
    for number in (5, 5, 2010, 6, 5):
        assert [(type(x), x.id) for x in venue.receive(trade(number))] == [(Trade, number)]  # type: ignore[union-attr]


def test_both_sources_of_trades_pass() -> None:
    venue = Binance()
    outputs = [*venue.receive(aggregate(1, 3)), *venue.receive(trade(2)), *venue.receive(aggregate(3, 4))]
    assert [(x.is_aggregate, x.first_id, x.last_id) for x in outputs] == [  # type: ignore[union-attr]
        (True, 1, 3),
        (False, 2, 2),
        (True, 3, 4),
    ]


def test_the_answer_to_a_refill_passes_whole() -> None:
    page = [samples.REST_TRADE | {"id": number} for number in (3, 4, 5)]
    answer = Binance().receive(frame(page), request="/api/v3/historicalTrades?symbol=X&fromId=3&limit=3")
    assert [(x.symbol, x.id) for x in answer] == [("X", 3), ("X", 4), ("X", 5)]  # type: ignore[union-attr]


def test_quotes_pass_as_they_come() -> None:
    venue = Binance()
    for number in (9, 7, 9):
        assert kinds(venue.receive(frame(samples.BOOK_TICKER | {"u": number}))) == ["Quote"]


def test_a_bare_snapshot_goes_to_the_only_book() -> None:
    venue = Binance()
    venue.receive(delta(157, 160))
    snapshot, change = venue.receive(depth(156))
    assert isinstance(snapshot, BookSnapshot)
    assert snapshot.symbol == "X"
    assert isinstance(change, BookDelta)


def test_a_bare_snapshot_goes_to_the_one_book_it_fits() -> None:
    venue = Binance()
    venue.receive(delta(157, 160, "X"))
    venue.receive(delta(9157, 9160, "Y"))
    (snapshot,) = venue.receive(depth(9160))
    assert snapshot.symbol == "Y"  # type: ignore[union-attr]
    # Y is live now and takes no other, and X does not hold this id.
    assert kinds(venue.receive(depth(9161))) == ["Quarantine"]
    assert kinds(venue.receive(depth(158))) == ["BookSnapshot", "BookDelta"]


def test_a_bare_snapshot_that_may_be_of_two_is_of_none() -> None:
    venue = Binance()
    for symbol in ("X", "Y"):
        venue.receive(delta(157, 160, symbol))
    for bare in (depth(158), depth(500)):
        (refused,) = venue.receive(bare)
        assert isinstance(refused, Quarantine)
        assert refused.reason == "unattributable"
    assert kinds(Binance().receive(depth(1))) == ["Quarantine"]


def test_an_answer_is_attributed_by_its_request() -> None:
    venue = Binance()
    venue.receive(delta(157, 160, "X"))
    venue.receive(delta(157, 160, "Y"))
    outputs = venue.receive(depth(160), request="https://api.binance.com/api/v3/depth?symbol=Y&limit=5000")
    assert [output.symbol for output in outputs] == ["Y"]  # type: ignore[union-attr]


def test_partial_depth_passes_beside_the_book() -> None:
    venue = Binance()
    venue.receive(delta(157, 160, "BNBBTC"))
    (partial,) = venue.receive(frame(samples.DEPTH, "bnbbtc@depth5"))
    assert partial.is_partial  # type: ignore[union-attr]
    assert not venue.books["BNBBTC"].is_live


def test_faults_are_values() -> None:
    venue = Binance()
    assert venue.receive(b"not json")[0].reason == "not_json"  # type: ignore[union-attr]
    assert venue.receive(b"{}", request="/api/v3/account")[0].reason == "unknown_event"  # type: ignore[union-attr]


def test_unknown_fields_are_summed() -> None:
    venue = Binance()
    for number in (1, 2):
        venue.receive(frame(samples.TRADE | {"t": number, "new": 1}))
    assert venue.unknown_fields == 2


def test_a_shutdown_asks_for_a_new_connection() -> None:
    assert kinds(Binance().receive(frame(samples.SHUTDOWN))) == ["Status", "Reconnect"]
    assert Reconnect("server_shutdown") in Binance().receive(frame(samples.SHUTDOWN))


def test_a_candle_of_rest_is_closed_by_our_clock() -> None:
    request = "/api/v3/klines?symbol=X&interval=1w"
    end = 1499644800_000_000
    for at, closed in ((None, False), (end, False), (end + 10**6 - 1, False), (end + 10**6, True)):
        (kline,) = Binance().receive(frame([samples.REST_KLINE]), at, request)
        assert isinstance(kline, Kline)
        assert kline.closed is closed


def test_instruments_are_kept() -> None:
    venue = Binance()
    assert kinds(venue.receive(frame(samples.EXCHANGE_INFO))) == ["Status"]
    assert venue.instruments.symbols() == ("ETHBTC",)
    copy = Binance()
    copy.restore(venue.snapshot())
    assert copy.instruments.at("ETHBTC") == venue.instruments.at("ETHBTC")


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    venue = Binance()
    for name in ("X", "Y"):
        venue.receive(frame(samples.DELTA | {"s": name}))
    assert venue.on_time(1) == []
    assert [fetch.symbol for fetch in venue.on_time(1 + 10**7)] == ["X", "Y"]  # type: ignore[union-attr]


@pytest.mark.parametrize("damage", [b"", b"\x00", msgspec.msgpack.encode({"version": 1})])
def test_a_snapshot_of_something_else_is_refused(damage: bytes) -> None:
    with pytest.raises(SnapshotError, match="expected a snapshot"):
        Binance().restore(damage)


def test_a_snapshot_of_another_version_is_refused() -> None:
    other = msgspec.msgpack.decode(Binance().snapshot())
    other["version"] = 99
    with pytest.raises(SnapshotError, match="version 1"):
        Binance().restore(msgspec.msgpack.encode(other))


HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    2**63,
    10**40,
    "",
    "x",
    "-1",
    "1e5",
    [],
    [[]],
    {},
    {"e": "trade"},
    [1],
    "٣",
]


def damaged(chance: random.Random, value: Any) -> Any:
    """The value with one part of it, at any depth, replaced, removed or added."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice(list(value))
        copied = {key: inner for key, inner in value.items() if key != name or chance.random() < 0.8}
        if name in copied:
            copied[name] = damaged(chance, value[name])
        return copied | ({chance.choice("euUpsXbaBATtE"): chance.choice(HOSTILE)} if chance.random() < 0.2 else {})
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        return [*value[:at], damaged(chance, value[at]), *value[at + 1 :]]
    return chance.choice(HOSTILE)


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_raises_and_state_survives_it(seed: int) -> None:
    chance = random.Random(seed)
    whole = [value for name, value in vars(samples).items() if name.isupper()]
    whole += [[samples.MINI_TICKER], [samples.REST_TRADE], [samples.REST_AGG_TRADE], [samples.REST_KLINE]]
    whole += [{"result": 1, "id": 1}, {"error": {"code": 1, "msg": "x"}, "id": 1}, {"code": 1, "msg": "x"}]
    requests = [f"/api/v3/{path}?symbol=X&interval=1w" for path in ("trades", "klines", "depth", "exchangeInfo")]
    venue = Binance()
    for _ in range(500):
        payload = chance.choice(whole)
        if chance.random() < 0.9:
            payload = damaged(chance, payload)
        if chance.random() < 0.3:
            payload = {"stream": chance.choice(["x@depth5", "x@bookTicker", "!miniTicker@arr", ""]), "data": payload}
        request = chance.choice(requests) if chance.random() < 0.3 else None
        bytes_ = bytearray(json.dumps(payload).encode())
        if chance.random() < 0.1:
            bytes_[chance.randrange(len(bytes_))] = chance.randrange(256)
        for output in venue.receive(bytes(bytes_), request=request):
            assert not isinstance(output, Quarantine) or output.reason in REASONS
        venue.restore(venue.snapshot())


REASONS = {
    "bad_type", "impossible_time", "impossible_value", "missing_field", "not_a_decimal", "not_json",
    "number_too_fine", "number_too_large", "unattributable", "unknown_event", "unsupported_market",
}  # fmt: skip
