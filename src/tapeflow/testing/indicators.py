"""The laws of indicators, as functions that take any indicator and raise AssertionError where it breaks one.

A suite runs ``law(indicator)`` for each of `LAWS` and for every kind that `tapeflow.indicators.names` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tapeflow import indicators
from tapeflow.indicators import Indicator

_MASK = (1 << 64) - 1
#: What a value of the state may take as msgpack: a float and its head, with room for the head of the tuple.
_BYTES_PER_NUMBER = 9


def random_walk(seed: int, length: int, start: float = 100.0, step: float = 0.01) -> list[float]:
    """Closes that move by up to ten steps a bar, the same for a seed on every machine."""
    state = seed & _MASK
    close = start
    closes = []
    for _ in range(length):
        state = (state * 6364136223846793005 + 1442695040888963407) & _MASK
        close = max(close + step * ((state >> 33) % 21 - 10), step)
        closes.append(close)
    return closes


def golden() -> list[float]:
    """The sixty closes of the reference vector (analytics reference, section 3)."""
    return [(10000 + 25 * (7 * i % 23) - 40 * (5 * i % 17) + 10 * i) / 100 for i in range(60)]


def series(length: int = 120) -> dict[str, list[float]]:
    """The series every indicator is tried on, by name."""
    half = length // 2
    return {
        "constant": [100.1] * length,
        "rising": [100.0 + 0.07 * i for i in range(length)],
        "falling": [100.0 - 0.07 * i for i in range(length)],
        "jump": [100.0] * half + [250.3] * (length - half),
        "tiny": random_walk(1, length, 1.47e-5, 1e-8),
        "large": random_walk(2, length, 1e7, 0.01),
        "walk": random_walk(3, length),
        "golden": golden(),
    }


def run(indicator: Indicator, closes: list[float]) -> list[dict[str, float] | None]:
    """The values at every bar."""
    state = indicator.zero()
    rows = []
    for close in closes:
        state, values = indicator.on_event(state, close)
        rows.append(values)
    return rows


def restored(indicator: Indicator, state: Any) -> Any:
    """The state as a snapshot gives it back."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(indicator.zero()))


def mask_equals_lookback(indicator: Indicator) -> None:
    """No bar before the lookback has values; every bar from it on has exactly the fields, in their order."""
    for name, closes in _cases(indicator):
        for index, values in enumerate(run(indicator, closes)):
            expected = None if index < indicator.lookback else indicator.fields
            found = None if values is None else tuple(values)
            _require(found == expected, f"{name}, bar {index}: expected {expected}, got {found}")


def restart_changes_nothing(indicator: Indicator) -> None:
    """A state that went through msgpack equals the one that did not, and so do the values, at every bar."""
    for name, closes in _cases(indicator):
        whole = cut = indicator.zero()
        for index, close in enumerate(closes):
            cut = restored(indicator, cut)
            _require(_bits(cut) == _bits(whole), f"{name}, bar {index}: {whole} came back as {cut}")
            whole, expected = indicator.on_event(whole, close)
            cut, found = indicator.on_event(cut, close)
            _require(_bits(found) == _bits(expected), f"{name}, bar {index}: {expected} became {found} after a restart")


def state_is_bounded(indicator: Indicator) -> None:
    """The state holds no more than the lookback asks for, and stops growing there."""
    state = indicator.zero()
    limit = _BYTES_PER_NUMBER * (indicator.lookback + 8)
    full = 0
    for index, close in enumerate(random_walk(5, 3 * indicator.lookback + 64)):
        state, _ = indicator.on_event(state, close)
        size = len(msgspec.msgpack.encode(state))
        _require(size <= limit, f"bar {index}: the state takes {size} bytes, more than {limit}")
        full = size if index <= indicator.lookback + 1 else full
        _require(size <= full, f"bar {index}: the state still grows, from {full} to {size} bytes")


def values_are_finite(indicator: Indicator) -> None:
    """Every value is a finite float on constant, rising, falling, jumping, tiny and large prices."""
    for name, closes in _cases(indicator):
        for index, values in enumerate(run(indicator, closes)):
            for field, value in (values or {}).items():
                finite = type(value) is float and abs(value) < float("inf")
                _require(finite, f"{name}, bar {index}: {field} is {value!r}")


def beginning_fades(indicator: Indicator) -> None:
    """Begun later by any number of bars, the values are the same, but for the last digits, from ``settles`` bars on."""
    settles = indicators.settles(indicator)
    closes = random_walk(11, 2 * settles + 40)
    whole = run(indicator, closes)
    for begun in (1, 7, settles // 2 + 3):
        late = run(indicator, closes[begun:])
        for bar in range(begun + settles, len(closes)):
            expected, found = whole[bar] or {}, late[bar - begun] or {}
            for field, value in expected.items():
                off = abs(found.get(field, float("nan")) - value)
                _require(off <= 1e-9, f"begun {begun} bars later, bar {bar}: {field} is off by {off}")


def is_pure(indicator: Indicator) -> None:
    """The same state and close give the same again, the state given stays as it was, and time alone changes nothing."""
    state = indicator.zero()
    for index, close in enumerate(series()["walk"]):
        before = _bits(state)
        after, values = indicator.on_event(state, close)
        indicator.on_event(state, close * 2.0)
        again = indicator.on_event(state, close)
        _require(_bits(again) == _bits((after, values)), f"bar {index}: two calls gave {values} and {again[1]}")
        _require(_bits(state) == before, f"bar {index}: on_event changed the state it was given")
        _require(indicator.on_time(after, index) == (after, None), f"bar {index}: on_time changed something")
        state = after


def name_round_trips(indicator: Indicator) -> None:
    """The name is the kind and the parameters, and parses back to an equal indicator."""
    parsed = indicators.parse(indicator.name)
    _require(parsed == indicator, f"{indicator.name!r} parses as {parsed}, not as {indicator}")
    _require(parsed.name == indicator.name, f"{indicator.name!r} was spelt {parsed.name!r} after parsing")
    _require(indicator.kind in indicators.names(), f"{indicator.kind!r} is not the name of a file")


def docstring_has_example(indicator: Indicator) -> None:
    """The class tells what it guarantees and shows it in an example that can be run."""
    text = type(indicator).__doc__ or ""
    _require(">>> " in text, f"{type(indicator).__name__}: the docstring has no example")
    _require("First value" in text, f"{type(indicator).__name__}: the docstring does not say where the first value is")


LAWS: tuple[Callable[[Indicator], None], ...] = (
    mask_equals_lookback,
    restart_changes_nothing,
    state_is_bounded,
    values_are_finite,
    beginning_fades,
    is_pure,
    name_round_trips,
    docstring_has_example,
)


def _cases(indicator: Indicator) -> Iterator[tuple[str, list[float]]]:
    """The series, each long enough for values, and the two that end around the first one."""
    yield from series(max(120, 2 * indicator.lookback)).items()
    yield "exactly lookback bars", random_walk(7, indicator.lookback)
    yield "lookback + 1 bars", random_walk(7, indicator.lookback + 1)


def _bits(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 - the one condition is the point of the call
    if not holds:
        raise AssertionError(message)
