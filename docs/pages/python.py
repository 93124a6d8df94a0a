"""python.md: what `import tapeflow` gives."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import tapeflow as tf
from pages.markdown import code, first, plain, table
from tapeflow.domain.candle import StampedTrade
from tapeflow.domain.errors import TapeflowError
from tapeflow.flow.builder import Builder, Series, Stream

PYTHON = {
    "Builder.trades": "Trades, and the `trades` channel.",
    "Builder.quotes": "Best bids and asks, and the `quotes` channel.",
    "Builder.klines": "The venue's candles, and the `klines` channel.",
    "Builder.tickers": "The venue's statistics, and the `tickers` channel.",
    "Fold": "An aggregate of your own over the trades of a window (a protocol).",
    "Step": "A computation of your own over closed candles (a protocol).",
    "version": "The version of the package.",
    "Flow": "A validated graph of nodes; `explain()` prints it, `channels` are those it fills.",
    "Summary": "What a replay did; its fields are those of the [last line of `replay`](commands.md).",
}


def python() -> str:
    """python.md."""
    parts = [
        "# Python\n",
        "`import tapeflow as tf` gives these names, each imported when it is first used.\n",
        table(("name", "what it is"), ((code(name), summary_of(name)) for name in tf.__all__)),
        "## Building flows\n",
    ]
    for cls in (Builder, Stream, Series):
        rows = ((code(f"{n}{signature(m)}"), PYTHON.get(f"{cls.__name__}.{n}") or first(m)) for n, m in methods(cls))
        parts += [f"### {cls.__name__}\n", first(cls) + "\n", table(("method", ""), rows)]
    parts += [
        "## replay\n",
        f"```text\nreplay{signature(tf.replay, tall=True)}\n```\n",
        plain(tf.replay.__doc__ or "") + "\n",
    ]
    parts += ["### Replay\n", first(tf.Replay) + "\n"]
    parts.append(table(("method", ""), ((code(f"{n}{signature(m)}"), first(m)) for n, m in methods(tf.Replay))))
    parts += [
        "## Engine\n",
        f"```text\nEngine{signature(tf.Engine, tall=True)}\n```\n",
        plain(tf.Engine.__doc__ or "") + "\n",
    ]
    parts.append(table(("method", ""), ((code(f"{n}{signature(m)}"), first(m)) for n, m in methods(tf.Engine))))
    parts += ["### Frames\n", plain(tf.Frames.__doc__ or "") + "\n"]
    parts += ["## Fold and StampedTrade\n", plain(tf.Fold.__doc__ or "") + "\n"]
    parts.append(table(("method", ""), ((code(f"{n}{signature(m)}"), first(m)) for n, m in methods(tf.Fold))))
    parts += [
        plain(StampedTrade.__doc__ or "") + " Prices and sizes are int mantissas at eight decimals.\n",
        "Fields: " + ", ".join(map(code, StampedTrade.__struct_fields__)) + ".\n",
        "## Step\n",
        plain(tf.Step.__doc__ or "") + "\n",
        table(("method", ""), ((code(f"{n}{signature(m)}"), first(m)) for n, m in methods(tf.Step))),
        "## Errors\n",
        plain(TapeflowError.__doc__ or "") + "\n",
        table(
            ("error", "exit", "when"),
            ((code(e.__name__), str(e.exit_code), first(e)) for e in TapeflowError.__subclasses__()),
        ),
    ]
    return "\n".join(parts)


def summary_of(name: str) -> str:
    """A public name in a sentence."""
    return PYTHON.get(name) or first(getattr(tf, name))


def methods(cls: Any) -> list[tuple[str, Callable[..., Any]]]:
    """The public methods that a class defines itself, in their order."""
    return [(name, value) for name, value in vars(cls).items() if inspect.isfunction(value) and name[0] != "_"]


class Bare(str):
    """An annotation as the source has it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature(thing: Any, *, tall: bool = False) -> str:
    """Arguments without ``self``; each on a line of its own if ``tall``."""
    found = inspect.signature(thing)
    kept = [p.replace(annotation=bare(p.annotation)) for p in found.parameters.values() if p.name != "self"]
    text = str(found.replace(parameters=kept, return_annotation=bare(found.return_annotation)))
    if not tall:
        return text
    marked, ending = text[1:].rsplit(") ->", 1)
    return "(\n    " + re.sub(r", (?=\*,|\w+: )", ",\n    ", marked) + f",\n) ->{ending}"


def bare(annotation: Any) -> Any:
    """Without the quotes of a postponed annotation."""
    return Bare(annotation) if isinstance(annotation, str) else annotation
