"""Writes the parts of the reference that the source says itself.

    python docs/generate.py            writes docs/reference/{channels,commands,flow-file,indicators,metrics,...}.md
    python docs/generate.py --check    writes nothing; 1 if one of them is not what the source says

A page is a function of `docs/pages/`. What the source does not say, the meaning of a field in a few words, stands
beside it; that of a key in `tapeflow.app.meanings`. A field or key without a meaning, or a meaning without its field,
is an error.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from pages.channels import channels
from pages.commands import commands
from pages.kinds import indicator_pages
from pages.metrics import metric_page
from pages.python import python
from pages.settings import flow_file, run_file

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by docs/generate.py: change the source or docs/pages/, then run it. -->\n"

PAGES: dict[str, Callable[[], str]] = {
    "channels": channels,
    "commands": commands,
    "flow-file": flow_file,
    "indicators": indicator_pages,
    "metrics": metric_page,
    "python": python,
    "run-file": run_file,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or only compare them."""
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    stale = False
    for name, make in PAGES.items():
        path, text = REFERENCE / f"{name}.md", NOTE + make().rstrip() + "\n"
        known = path.read_text("utf-8") if path.exists() else ""
        if arguments and known != text:
            stale = True
            diff = difflib.unified_diff(known.splitlines(), text.splitlines(), f"{name}.md", "the source", lineterm="")
            sys.stdout.write("\n".join(diff) + "\n")
        elif known != text:
            path.write_text(text, "utf-8")
    if stale:
        sys.stdout.write("The reference is not what the source says: run python docs/generate.py\n")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
