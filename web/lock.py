"""Locks the page's packages: what npm resolved, without the addresses it came from; their hashes stay.

python web/lock.py
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

LOCK = Path(__file__).resolve().parent / "package-lock.json"


def main() -> None:
    """Resolve, and strip."""
    subprocess.run(["npm", "install", "--package-lock-only", "--ignore-scripts"], cwd=LOCK.parent, check=True)
    lock = json.loads(LOCK.read_text())
    for entry in lock["packages"].values():
        entry.pop("resolved", None)
    LOCK.write_text(json.dumps(lock, indent=2) + "\n")


if __name__ == "__main__":
    main()
