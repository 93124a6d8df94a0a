"""Sample messages in a file."""

from __future__ import annotations

from pathlib import Path

from tapeflow.domain.errors import OutputError
from tapeflow.sim.sample import sample_frames


def write_sample(path: Path, *, seed: int, seconds: int, symbols: tuple[str, ...]) -> int:
    """Write ``<receive time> <message>`` lines; how many. Raises `OutputError`."""
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for ts_recv, frame in sample_frames(seed=seed, symbols=symbols, seconds=seconds):
                file.write(b"%d %s\n" % (ts_recv, frame))
                count += 1
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another file") from error
    return count
