"""What an operator can do where a venue refuses us for who or where we are: said once, whoever meets it first."""

from __future__ import annotations

from tapeflow.feed.recorder import Say
from tapeflow.venues.wire import Wire

REGION = 451


def explain(status: int, wire: Wire) -> str:
    """What an HTTP status of a venue means for us, and what to do; empty where its own text says enough."""
    if status != REGION:
        return ""
    return (
        f"refuses your region (HTTP {REGION}); {wire.where_refused}, or use the simulated venue "
        f"(tapeflow simulate {wire.name})"
    )


def told_once(say: Say, explanation: str) -> Say:
    """Says the same, but an explanation in full only the first time: every connection and every request meets it."""
    is_told = False

    def tell(text: str) -> None:
        nonlocal is_told
        if explanation in text:
            if is_told:
                text = text.replace(explanation, f"refuses your region (HTTP {REGION}), see above")
            is_told = True
        say(text)

    return tell
