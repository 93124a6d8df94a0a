"""What a Flink job is made from: the flow's folds and steps as plain data, topics, and how it shall run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.flow.nodes import Candles, CustomFold, Flow, Indicator, Mean
from tapeflow.indicators import code, parse

Guarantee = Literal["exactly_once", "at_least_once"]

#: The form of the state that a job keeps; a state of another form is not restored. The plan of `sql` is a part of it:
#: Flink finds an operator's state by the operator's place in the plan.
FORM = 8


class Interval(msgspec.Struct, frozen=True):
    """Candles of one interval, and the names of the steps on them."""

    name: str
    size_us: int
    origin_us: int = 0
    steps: tuple[str, ...] = ()


class Sliding(msgspec.Struct, frozen=True):
    """A sliding mean of trade prices, or of the closes of the venue's own candles as they are pushed."""

    size_us: int
    slide_us: int


class Folds(msgspec.Struct, frozen=True):
    """What is computed: the part of a job that its state depends on."""

    intervals: tuple[Interval, ...] = ()
    means: tuple[Sliding, ...] = ()
    push_means: tuple[Sliding, ...] = ()
    horizon_us: int = 3_600_000_000
    price_scale: int = 8
    size_scale: int = 8
    form: int = FORM
    #: What tells one version of the code of an indicator of one's own from another, by its name.
    codes: Mapping[str, str] = {}

    @property
    def scale(self) -> int:
        """Decimals that all its numbers are counted in."""
        return max(self.price_scale, self.size_scale)

    @property
    def reads_trades(self) -> bool:
        """Whether anything is computed from trades."""
        return bool(self.intervals or self.means)

    @property
    def closing(self) -> tuple[Interval, ...]:
        """The fewest intervals with steps at whose ends all of them end: late for any is late for one of these."""
        stepped = sorted((one for one in self.intervals if one.steps), key=lambda one: one.size_us)
        found: list[Interval] = []
        for one in stepped:
            if not any(_ends_with(one, other) for other in found):
                found.append(one)
        return tuple(found)

    @property
    def channels(self) -> tuple[str, ...]:
        """The result channels, in order."""
        made = []
        if self.intervals:
            made.append("candles")
        if self.means or self.push_means:
            made.append("moving_average")
        if any(interval.steps for interval in self.intervals):
            made.append("indicators")
        return tuple(made)


def _ends_with(one: Interval, other: Interval) -> bool:
    """Whether every window of one interval ends where one of another does."""
    return one.size_us % other.size_us == 0 == (one.origin_us - other.origin_us) % other.size_us


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job. ``source`` is the topic of trades and time rows, ``pushes`` that of klines, ``topics`` those of results.

    ``client`` are properties of the Kafka client as Kafka's Java client names them, passed on as they are. State of a
    window is kept for its size, the horizon and ``outage_us``: the longest time that the job may be away or behind.
    ``latency_ms`` is how long rows gather before a window gives a row.
    """

    name: str
    folds: Folds
    source: str
    topics: Mapping[str, str]
    bootstrap: str
    pushes: str = ""
    client: Mapping[str, str] = {}
    guarantee: Guarantee = "exactly_once"
    checkpoint_ms: int = 10_000
    latency_ms: int = 500
    parallelism: int = 1
    outage_us: int = 3_600_000_000
    transaction_timeout_ms: int = 600_000

    def __post_init__(self) -> None:
        missing = [channel for channel in self.folds.channels if channel not in self.topics]
        if missing:
            raise SettingsError(f"job {self.name}: no topic for {', '.join(missing)}; name one for each channel")
        if self.folds.push_means and not self.pushes:
            raise SettingsError(f"job {self.name}: a mean of klines needs their topic")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The topics that it reads."""
        trades, pushes = self.folds.reads_trades, bool(self.folds.push_means)
        return tuple(topic for topic, reads in ((self.source, trades), (self.pushes, pushes)) if reads)

    @property
    def fingerprint(self) -> str:
        """Two jobs with the same one can take each other's state: what is computed, from and to which topics, how."""
        of_state = (
            self.folds,
            self.source,
            self.pushes if self.folds.push_means else "",
            sorted(self.topics.items()),
            self.guarantee,
        )
        return hashlib.sha256(msgspec.json.encode(of_state)).hexdigest()[:16]


def folds_of(flow: Flow, price_scale: int, size_scale: int) -> Folds:
    """What of a flow is computed from trades; raises `SettingsError` for what Flink cannot run."""
    problems = list(_problems(flow))
    if problems:
        raise SettingsError(f"flow {flow.name} cannot run on Flink:\n  " + "\n  ".join(problems))
    steps: dict[str, list[str]] = {}
    codes: dict[str, str] = {}
    for node in flow.of(Indicator):
        steps.setdefault(node.input, []).append(node.step.name)
        if own := code(node.step):
            codes[node.step.name] = own
    intervals = tuple(
        Interval(node.interval, node.window.size_us, node.window.origin_us, tuple(steps.get(node.id, ())))
        for node in flow.of(Candles)
    )
    means, pushes = (
        tuple(Sliding(n.window.size_us, n.window.slide_us) for n in flow.of(Mean) if n.input == source)
        for source in ("trades", "klines")
    )
    return Folds(intervals, means, pushes, flow.horizon_us, price_scale, size_scale, codes=codes)


def _problems(flow: Flow) -> Iterator[str]:
    for node in flow.of(CustomFold):
        yield f"{node.id}: a fold of one's own is Python for each trade; run it with tapeflow run, or make it a step"
    for node in flow.of(Indicator):
        try:
            known = parse(node.step.name) == node.step
        except SettingsError:
            known = False
        if not known:
            yield f"{node.id}: {node.step.name} is no indicator by name: make it a file of `own_indicators`"
    if not any(flow.of(Candles)) and not any(flow.of(Mean)):
        yield "it has neither candles nor a moving average; Flink computes these and what is computed from them"
