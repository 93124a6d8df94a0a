"""The stack as a Compose file, from the same definition of each service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tapeflow.stack.plan import SERVICES, Wanted, refuse, usual


def compose(wanted: Wanted) -> str:
    """A Compose file of what is asked for; raises `SettingsError`."""
    refuse(wanted)
    chosen = [service for name, service in SERVICES.items() if name in (wanted.services or usual())]
    made = [service.compose(wanted.sizes.get(service.name, service.sizes[0])) for service in chosen]
    whole = {
        "services": {name: entry for each in made for name, entry in each.services.items()},
        "volumes": {name: {} for each in made for name in each.volumes},
    }
    return "".join(line + "\n" for line in _lines(whole))


def _lines(value: Any) -> Iterator[str]:
    """A value as YAML; texts as JSON writes them, which YAML reads too and never takes for anything else."""
    if isinstance(value, list):
        yield from (f"- {json.dumps(item)}" for item in value)
        return
    for key, item in value.items():
        if isinstance(item, dict | list) and item:
            yield f"{key}:"
            yield from (f"  {line}" for line in _lines(item))
        else:
            yield f"{key}: {json.dumps(item)}"
