"""Makes the lock of Flink's Python environment anew, by uv: what the roots need, with the hashes of every file.

    uvx --version && python requirements/flink.py

The environment is one of its own because its pins (protobuf, pyarrow, numpy) are older than ours.
"""

from __future__ import annotations

import subprocess
import sys

from tapeflow.stack import environment
from tapeflow.stack.flink import PYTHON_LOCK, PYTHON_ROOTS

HEAD = (
    "# The Python environment of Flink: versions and hashes. Written by requirements/flink.py: change its roots, "
    "then run it."
)


def main() -> None:
    """Write the lock."""
    options = ("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--python-version", "3.11")
    roots = "".join(f"{root}\n" for root in PYTHON_ROOTS)
    done = subprocess.run(
        ("uvx", "uv", "pip", "compile", *options, "-"), input=roots, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    PYTHON_LOCK.write_text(f"{HEAD}\n{done.stdout}", "utf-8")
    sys.stdout.write(f"{PYTHON_LOCK.name}: {len(environment.pins(PYTHON_LOCK))} packages\n")


if __name__ == "__main__":
    main()
