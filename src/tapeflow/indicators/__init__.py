"""Indicators: one file each, found by name; each is a Step over closed candles.

To add one, add a file here whose name is its ``kind``, with one class that has that ``kind``: the registry and the
conformance suite (`tapeflow.testing.indicators`) find it by themselves. A file whose name begins with an underscore
is not an indicator.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, ClassVar, Protocol, cast

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.step import Step
from tapeflow.indicators._parameters import FADE, bounds, number


class Indicator(Step[float, Any], Protocol):
    """A Step over closes in the order of their candles; its parameters are its fields, its name tells them all.

    A row is the close as float. The state is a tuple or a frozen struct that ``msgspec.msgpack.decode(encoded,
    type=type(indicator.zero()))`` gives back exactly, and the parameters bound its size. Only floats and a fixed
    order of operations: the same closes give the same bits however they were cut.
    """

    #: The file's name.
    kind: ClassVar[str]
    #: The names of the values, in the order of the result row.
    fields: ClassVar[tuple[str, ...]]

    @property
    def lookback(self) -> int:
        """Index of the first bar with values; every bar from it on has all of them."""
        ...


def names() -> list[str]:
    """The kinds there are, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def prices(kind: type[Indicator] | Indicator) -> tuple[str, ...]:
    """Those of the values that are prices, drawn over the candles: ``prices`` of its class; none if it has none."""
    return cast("tuple[str, ...]", getattr(kind, "prices", ()))


def settles(indicator: Indicator) -> int:
    """Bars after which where it began is felt in the last digits of a float at most: its ``settles``.

    One that does not say is taken to smooth as slowly as Wilder's averages do, with the period of its lookback.
    """
    return int(getattr(indicator, "settles", FADE * (indicator.lookback + 1)))


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a kind: the least and the most that it may be, ``least`` itself excluded unless it is whole."""

    name: str
    default: float
    least: float
    most: float
    whole: bool


class Described(msgspec.Struct, frozen=True):
    """A kind as a catalogue has it; ``overlay`` tells that its ``prices`` belong over the candles."""

    kind: str
    title: str
    parameters: tuple[Parameter, ...]
    values: tuple[str, ...]
    prices: tuple[str, ...]
    overlay: bool


def catalogue() -> list[Described]:
    """What there is, by kind."""
    return [_described(kind) for kind in names()]


def _described(kind: str) -> Described:
    cls = _find(kind)
    defaults = cls()
    parameters = tuple(
        Parameter(field, getattr(defaults, field), bound.ge or bound.gt or 0, bound.le or 0, bound.gt is None)
        for field, bound in bounds(cls).items()
    )
    title = str(importlib.import_module(cls.__module__).__doc__).partition(".\n")[0].rstrip(".")
    return Described(kind, title, parameters, cls.fields, prices(cls), bool(prices(cls)))


def create(kind: str, *parameters: float) -> Indicator:
    """The indicator ``kind`` with these parameters, the rest at their defaults; raises `SettingsError`.

    >>> create("sma").name, create("macd", 5, 35).name
    ('sma_20', 'macd_5_35_9')
    """
    cls = _find(kind)
    accepted = cls.__struct_fields__
    if len(parameters) > len(accepted):
        raise SettingsError(
            f"expected at most {len(accepted)} parameters for {kind} ({', '.join(accepted)}), got {len(parameters)}: "
            "leave out the last ones"
        )
    return cast("Indicator", cls(*parameters))


def parse(text: str) -> Indicator:
    """The indicator with this name, a bare kind meaning its defaults; raises `SettingsError`.

    >>> parse("bollinger_20_2").fields
    ('upper', 'middle', 'lower')
    """
    known = [kind for kind in names() if text == kind or text.startswith(f"{kind}_")]
    if not known:
        raise _unknown(text)
    kind = max(known, key=len)
    words = text[len(kind) + 1 :].split("_") if text != kind else []
    return create(kind, *(_parameter(text, word) for word in words))


def _parameter(text: str, word: str) -> float:
    value = number(word)
    if value is None:
        raise SettingsError(f"expected numbers after the kind in {text!r}, got {word!r}: write a name such as rsi_14")
    return value


def _find(kind: str) -> Any:
    if kind not in names():
        raise _unknown(kind)
    module = importlib.import_module(f"{__name__}.{kind}")
    for value in vars(module).values():
        if isinstance(value, type) and getattr(value, "kind", None) == kind:
            return value
    raise SettingsError(f"expected a class with kind = {kind!r} in {module.__name__}, found none: add it to that file")


def _unknown(text: str) -> SettingsError:
    return SettingsError(f"expected an indicator of {', '.join(names())}, got {text!r}: write a name such as rsi_14")
