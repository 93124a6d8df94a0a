"""Where the state of jobs is kept on disk, so that a job goes on where an earlier one of its name was lost or stopped.

A session cluster without a second job manager forgets its jobs when it is killed; their checkpoints stay. Each job has
a folder of its own by name and fingerprint, below those that the cluster was started with; only a folder on this
machine can be looked into from here.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tapeflow.runners.flink.rest import Rest

CHECKPOINTS, SAVEPOINTS = "execution.checkpointing.dir", "execution.checkpointing.savepoint-dir"


class Places(msgspec.Struct, frozen=True):
    """Folders of a job as URIs; empty where the cluster was started without."""

    checkpoints: str
    savepoints: str

    @property
    def properties(self) -> dict[str, str]:
        """What the job must be given to keep its state there."""
        named = {CHECKPOINTS: self.checkpoints, SAVEPOINTS: self.savepoints}
        return {name: place for name, place in named.items() if place}

    def newest(self) -> str:
        """The newest whole state that can be seen from here; empty if there is none."""
        folders = [folder for folder in map(_local, (self.checkpoints, self.savepoints)) if folder is not None]
        found = [(path.stat().st_mtime, path.parent) for folder in folders for path in folder.rglob("_metadata")]
        return uri(max(found)[1]) if found else ""

    @property
    def is_hidden(self) -> bool:
        """Whether a state may have been kept where it cannot be seen from here."""
        # A cluster makes its folder when it keeps the first state there.
        return bool(self.checkpoints) and _local(self._root.rpartition("/")[0]) is None

    def why_none(self) -> str:
        """Why no earlier state was found, in words."""
        if not self.checkpoints:
            return f"the cluster keeps no state on disk, it was started without {CHECKPOINTS}"
        if self.is_hidden:
            return f"{self._root} cannot be seen from here"
        for folder in (self.checkpoints, self.savepoints):
            others = _local(folder.rpartition("/")[0])
            if others is not None and any(others.rglob("_metadata")):
                return f"what is in {others} is of other windows, steps, topics, guarantee or form of state"
        return f"there is none in {self.checkpoints}"

    @property
    def _root(self) -> str:
        """The folder that the cluster was started with."""
        return self.checkpoints.rpartition("/")[0].rpartition("/")[0]


def places(rest: Rest, name: str, fingerprint: str) -> Places:
    """The folders of a job."""
    given = (rest.property(CHECKPOINTS), rest.property(SAVEPOINTS))
    return Places(*(f"{place.rstrip('/')}/{name}/{fingerprint}" if place else "" for place in given))


def uri(path: Path) -> str:
    """A folder as Flink writes it: nothing is escaped in its URIs, and what is would be taken as it stands."""
    return f"file://{path}"


def _local(place: str) -> Path | None:
    """The folder, if it is of this machine and this user may look into it."""
    named = place.removeprefix("file:")
    path = Path("/" + named.lstrip("/"))
    is_here = named.startswith("/") and os.access(path, os.R_OK | os.X_OK, effective_ids=True)
    return path if is_here and path.is_dir() else None
