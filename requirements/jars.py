"""Makes the lock of the stack's jars anew: resolves the roots by Maven, and writes down what came.

    python requirements/jars.py

Look at the difference before it is committed: what stands in the lock is what everybody runs.
"""

from __future__ import annotations

import sys

from tapeflow.stack import jars, kafka


def main() -> None:
    """Write the lock of each service that has one."""
    for service in (kafka,):
        lock = jars.resolve(service.ROOTS)
        service.LOCK.write_text(jars.written(lock), "utf-8")
        sys.stdout.write(f"{service.LOCK.name}: {len(lock.jars)} jars, {lock.bytes >> 20} MiB\n")


if __name__ == "__main__":
    main()
