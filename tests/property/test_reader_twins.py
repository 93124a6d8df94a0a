"""The compiled reader and the codec say the same of every frame: real forms, and what damage makes of them.

Frames go whole through two engines, one with the kernel and one without; every channel, all counts and the snapshots
must agree. Failures print the messages, smallest first thanks to hypothesis.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tapeflow import venues
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames, _portable_split, split
from tapeflow.flow.builder import Builder
from tapeflow.stores.results import Results

pytest.importorskip("tapeflow.engine._kernel", reason="the compiled kernel is not built here")

CHANNELS = ("trades", "quotes", "book", "candles", "moving_average", "coverage", "late", "quarantine")
START = 1_723_075_200_000

SYMBOLS = st.sampled_from(["BTCUSDT", "ETHUSDT", "X", "我踏马来了USDT", "Ж", "A" * 64, "A" * 65, 'Q"\\', "é\n"])
AMOUNTS = st.one_of(
    st.integers(1, 10**12).map(lambda n: f"{n // 10**8}.{n % 10**8:08d}"),
    st.sampled_from(["1", "1.5", "0.00000001", "0.000000010", "1.00000000", "1.000000000", "007.5", "00000000001.5"]),
    st.sampled_from(
        ["9999999999", "9999999999.99999999", "10000000000", "92233720368.54775807", "92233720368.54775808"]
    ),
    st.sampled_from(
        ["0", "0.00000000", "00", "0.", ".5", "", "-1", "+1", "1e5", " 1", "1 ", "1_0", "nan", "\uff11", "0x1"]
    ),
)
IDS = st.one_of(st.integers(0, 40), st.integers(100, 10**6))
ODD_IDS = st.sampled_from([10**17, 10**18 - 1, 10**18, 2**63 - 2, 2**63 - 1, 2**63, 2**64, -1, 1.0, "5", None, True])
TIMES = st.one_of(
    st.integers(0, 9_000).map(lambda ms: START + ms), st.integers(0, 10**7).map(lambda us: START * 1000 + us)
)
ODD_TIMES = st.sampled_from(
    [0, 1, 10**15 - 1, 10**15, 4_102_444_800_000, 4_102_444_800_001, 4_102_444_800_000_000, 4_102_444_800_000_001]
    + [-1, 10**18, 2**63, 1.5, True, None, "1", START * 10, START // 10]
)
ODD = st.one_of(AMOUNTS, ODD_IDS, ODD_TIMES, st.just([]), st.just({}), st.just([["1", "2"]]), st.booleans())
LEVELS = st.lists(st.tuples(AMOUNTS, AMOUNTS).map(list), max_size=3)
RECEIVED = st.one_of(st.none(), st.integers(-1_000_000, 12_000_000).map(lambda us: START * 1000 + us))


@st.composite
def trades(draw: st.DrawFn) -> dict[str, Any]:
    fields = {
        "e": "trade",
        "E": draw(TIMES),
        "s": draw(SYMBOLS),
        "t": draw(IDS),
        "p": draw(AMOUNTS),
        "q": draw(AMOUNTS),
    }
    orders = {"b": draw(IDS), "a": draw(IDS)} if draw(st.booleans()) else {}
    return fields | orders | {"T": draw(TIMES), "m": draw(st.booleans()), "M": True}


@st.composite
def aggregates(draw: st.DrawFn) -> dict[str, Any]:
    first = draw(IDS)
    fields = {"e": "aggTrade", "E": draw(TIMES), "s": draw(SYMBOLS), "a": draw(IDS), "p": draw(AMOUNTS)}
    ids = {"q": draw(AMOUNTS), "f": first, "l": first + draw(st.integers(-1, 4))}
    return fields | ids | {"T": draw(TIMES), "m": draw(st.booleans()), "M": True}


@st.composite
def quotes(draw: st.DrawFn) -> dict[str, Any]:
    sides = {name: draw(AMOUNTS) for name in "bBaA"}
    return {"u": draw(IDS), "s": draw(SYMBOLS)} | sides


@st.composite
def deltas(draw: st.DrawFn) -> dict[str, Any]:
    first = draw(st.integers(0, 12))
    fields = {
        "e": "depthUpdate",
        "E": draw(TIMES),
        "s": draw(SYMBOLS),
        "U": first,
        "u": first + draw(st.integers(-1, 3)),
    }
    return fields | {"b": draw(LEVELS), "a": draw(LEVELS)}


@st.composite
def snapshots(draw: st.DrawFn) -> dict[str, Any]:
    return {"lastUpdateId": draw(st.integers(0, 12)), "bids": draw(LEVELS), "asks": draw(LEVELS)}


@st.composite
def payloads(draw: st.DrawFn) -> dict[str, Any]:
    """A payload of a real form; now and then a value, the order of its keys or the keys themselves are odd."""
    fields = draw(st.one_of(trades(), trades(), aggregates(), quotes(), deltas(), snapshots()))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        name = draw(st.sampled_from(sorted(fields)))
        match draw(st.integers(0, 4)):
            case 0:
                fields[name] = draw(ODD_IDS)
            case 1:
                fields[name] = draw(ODD_TIMES)
            case 2:
                fields[name] = draw(ODD)
            case 3 if len(fields) > 1:
                del fields[name]
            case _:
                fields[draw(st.sampled_from(["X", "ps", "pu", "stream", "data", "Z", "st"]))] = draw(ODD)
    if draw(st.integers(0, 9)) == 0:
        fields = {name: fields[name] for name in draw(st.permutations(list(fields)))}
    return fields


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    value: Any = draw(payloads())
    if draw(st.booleans()):
        stream = draw(
            st.sampled_from(["btcusdt@trade", "x@bookTicker", "btcusdt@depth20@100ms", "btcusdt@depth", "", "é"])
        )
        value = {"stream": stream, "data": value}
        if draw(st.integers(0, 9)) == 0:
            value = draw(st.sampled_from([value | {"extra": 1}, dict(reversed(value.items()))]))
    spaces = draw(st.sampled_from([(",", ":")] * 9 + [(", ", ": ")]))
    text = json.dumps(value, separators=spaces, ensure_ascii=draw(st.booleans()))
    return damage(draw, text.encode())


def damage(draw: st.DrawFn, message: bytes) -> bytes:
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(message)))
        match draw(st.integers(0, 3)):
            case 0:
                message = message[:at] + draw(st.binary(min_size=1, max_size=1)) + message[at + 1 :]
            case 1:
                more = st.sampled_from(
                    [b" ", b"0", b"9", b".", b"-", b'"', b"\\", b"}", b",", b"\\u0041", b"\t", b"\xff"]
                )
                message = message[:at] + draw(more) + message[at:]
            case 2:
                message = message[:at] + message[at + draw(st.integers(1, 4)) :]
            case _:
                message = message[:at]
    return message


def run(received: list[tuple[int | None, bytes]], cut: int, *, compiled: bool) -> tuple[Any, ...]:
    builder = Builder("twins")
    builder.trades().candles("1s", "5s")
    builder.trades().moving_average("3s", "500ms")
    builder.quotes()
    builder.book(2)
    flow, codec = builder.build(), venues.create("binance")
    scales = {"price_scale": codec.price_scale, "size_scale": codec.size_scale}
    results = Results(flow, codec.name, CHANNELS, **scales, all_revisions=True)
    engine = Engine(flow, codec, results, compiled=compiled)
    frames = Frames.of(received, "test")
    engine.feed(frames, 0, min(cut, len(frames)))
    state = engine.snapshot()
    engine.feed(frames, min(cut, len(frames)))
    engine.finish()
    results.names = engine.symbols
    rows = {channel: list(results.table(channel).json_lines()) for channel in CHANNELS}
    return rows, engine.counts, engine.symbols, state


#: Found here: an aggregate of every id there is counts one trade too many for int64.
ALL_IDS = b'{"e":"aggTrade","E":0,"s":"X","a":1,"p":"1","q":"1","f":0,"l":9223372036854775807,"T":0,"m":true,"M":true}'
#: Found here: what a stream is called decides what its payload must be.
NOT_ITS_STREAM = (
    b'{"stream":"x@depth20@100ms",'
    b'"data":{"u":0,"s":"X","b":"1.00000000","B":"1.00000000","a":"2.00000000","A":"1.00000000"}}'
)


@pytest.mark.slow
@example([(None, ALL_IDS)], 0)
@example([(None, NOT_ITS_STREAM)], 0)
@given(st.lists(st.tuples(RECEIVED, messages()), min_size=1, max_size=12), st.integers(0, 12))
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_compiled_reader_reads_as_the_codec_does(received: list[tuple[int | None, bytes]], cut: int) -> None:
    compiled, portable = (run(received, cut, compiled=way) for way in (True, False))
    for channel in CHANNELS:
        assert compiled[0][channel] == portable[0][channel]
    assert compiled[1:] == portable[1:]


LINES = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [b"", b" ", b"\t\r", b"\r", b"{}", b"[1]", b"1723075200 {}", b"1723075200.5: {}", b"172307520\t{}"]
        ),
        st.tuples(
            st.integers(0, 10**20).map(lambda n: str(n).encode()),
            st.sampled_from([b"", b".", b".5", b".123456789012", b".1234567890123"]),
            st.sampled_from([b" ", b": ", b":", b"\t ", b""]),
            st.sampled_from([b"{}", b"x", b"", b" \r"]),
        ).map(b"".join),
    ),
    max_size=8,
)


@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\n\n"]), st.integers(1, 5), st.booleans())
@settings(max_examples=600, deadline=None)
def test_lines_are_split_alike(lines: list[bytes], end: bytes, limit: int, last: bool) -> None:
    buffer = end.join(lines)
    at = 0
    while at < len(buffer):
        found, following = split(buffer, at, last=last, limit=limit)
        expected, expected_following = _portable_split(buffer, at, last=last, limit=limit)
        assert (found.tolist(), following) == (expected.tolist(), expected_following)
        if following == at:
            break
        at = following
