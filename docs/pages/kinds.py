"""indicators.md: every indicator with its parameters."""

from __future__ import annotations

import msgspec

from pages.markdown import code, plain, table
from tapeflow import indicators
from tapeflow.flow import catalogue
from tapeflow.indicators._parameters import LONGEST


def indicator_pages() -> str:
    """indicators.md."""
    parts = [
        "# Indicators\n",
        "An indicator is called by its kind and its parameters, `macd_12_26_9`; parameters that are left out at the "
        "end have their defaults, so `macd` and `macd_12` are names too. A row has the full name. Input: the closes "
        f"of closed candles, as float64. Periods go up to {LONGEST:,}.\n",
        f"The default flow has {', '.join(map(code, catalogue.INDICATORS))}.\n",
    ]
    for name in indicators.names():
        made = indicators.create(name)
        cls = type(made)
        rows = ((code(f.name), code(f.default)) for f in msgspec.structs.fields(cls))  # type: ignore[arg-type]
        parts += [
            f"## {name}\n",
            f"Default `{made.name}`. Values: {', '.join(map(code, made.fields))}. First row at bar "
            f"{made.lookback + 1}.\n",
            table(("parameter", "default"), rows),
            plain(cls.__doc__ or "") + "\n",
        ]
    return "\n".join(parts)
