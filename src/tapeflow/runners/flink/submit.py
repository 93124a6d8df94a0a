"""Submitting a job: our code is packed, the Flink environment compiles it, a running job of the name is upgraded."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from tapeflow.domain.errors import RunnerError
from tapeflow.runners.flink.kept import Places, places
from tapeflow.runners.flink.request import COMPILED, Request
from tapeflow.runners.flink.rest import ENDED, Job, Rest
from tapeflow.runners.flink.spec import Spec

#: What a job takes along: pure, and of the standard library, msgspec and nothing else.
PACKED = ("__init__.py", "domain", "flow", "indicators", "runners")

_START_S = 180.0
_SAVEPOINT_S = 120.0
#: How long a job whose state nobody needs is given to come to run, so that it can be stopped in order.
_UNNEEDED_S = 10.0
#: For a program that ends before much of it is worth optimising: a third less of both cores.
_JAVA = "-XX:TieredStopAtLevel=1"


Say = Callable[[str], None]


class Client(msgspec.Struct, frozen=True):
    """What submits: an interpreter with PyFlink, and the jar of the Kafka connector."""

    python: Path
    connector: Path


def pack(to: Path, own: str = "") -> None:
    """Write the modules that run inside Flink into a zip, the files of a folder of indicators beside ours."""
    root = Path(__file__).parents[2]
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in PACKED:
            place = root / name
            for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
                packed.writestr(zipfile.ZipInfo(f"tapeflow/{path.relative_to(root)}"), path.read_bytes())
        for path in sorted(Path(own).glob("*.py")) if own else ():
            packed.writestr(zipfile.ZipInfo(f"tapeflow/indicators/{path.name}"), path.read_bytes())


def submit(
    spec: Spec,
    address: str,
    client: Client,
    say: Say,
    *,
    savepoint: str = "",
    anew: bool = False,
    more: Mapping[str, str] | None = None,
    own: str = "",
    has_results: bool = False,
) -> str:
    """Submit a job and wait until it runs; its id. Raises `RunnerError`.

    A running job of the same name is stopped and the new one takes its state where that fits; one that does not come to
    run, and so makes no savepoint, is ended as it is. Where none runs, it goes on from the newest state that an earlier
    one has left, from ``savepoint``, or with ``anew`` from none. ``own`` is a folder of indicators. With
    ``has_results``, where an earlier one has written, a state that cannot be seen from here is not taken for none.
    """
    rest = Rest(address)
    where = places(rest, spec.name, spec.fingerprint)
    request = Request(spec, rest.address, "", str(client.connector), more={**where.properties, **(more or {})})
    with compiled(request, client, own) as job:
        # Now, not before: nothing is stopped for what cannot run, nothing stands still while this is compiled, and what
        # others have begun or ended meanwhile counts.
        is_needed = not savepoint and not anew
        running = rest.running(spec.name)
        left = None if running is None else _stopped(rest, running, spec, say, is_needed=is_needed)
        if is_needed:
            savepoint = _left(where, spec, say, has_results=has_results) if left is None else left
        if savepoint:
            say(f"{spec.name}: goes on from {savepoint}")
        began = job.run(savepoint)
    _give_way(rest, spec.name, began)
    rest.wait_for_tasks(began, _START_S)
    return began


def _give_way(rest: Rest, name: str, began: str) -> None:
    """End a job that another submit's has come before: of those that pass each other, each sees what came earlier."""
    living = sorted((job.ts_start, job.id) for job in rest.jobs() if job.name == name and job.state not in ENDED)
    first = next((id for _, id in living), began)
    if first != began:
        rest.cancel(began)
        rest.wait(began, ENDED, _START_S)
        raise RunnerError(
            f"{name}: another submit has begun job {first} at the same moment, which goes on; the one begun here "
            "is ended. Submit again to have yours take its place"
        )


def _left(where: Places, spec: Spec, say: Say, *, has_results: bool) -> str:
    """The newest state that an earlier job has left; empty where there is none."""
    found = where.newest()
    if not found:
        why = f"{spec.name}: no earlier state was found: {where.why_none()}"
        if where.is_hidden and has_results:
            raise RunnerError(
                f"{why}, but there are rows in its topics of results; go on with --from URI of a checkpoint or a "
                f"savepoint, or begin at the start of {' and '.join(spec.inputs)} with --anew"
            )
        say(f"{why}; begins at the start of {' and '.join(spec.inputs)}")
    return found


def stop(rest: Rest, job: Job, directory: str | None = None) -> str:
    """Stop a job with a savepoint, in its own folder unless another is given; where it is. Raises `RunnerError`."""
    own = places(rest, job.name, job.fingerprint or "unknown").savepoints
    return rest.stop(job.id, directory or own or None, _SAVEPOINT_S)


def cancel(rest: Rest, job: Job) -> str:
    """End a job without a savepoint; where its newest state is, empty if it has none. Raises `RunnerError`."""
    rest.cancel(job.id)
    rest.wait(job.id, ENDED, _SAVEPOINT_S)
    return rest.checkpoint(job.id)


def _stopped(rest: Rest, running: Job, spec: Spec, say: Say, *, is_needed: bool) -> str | None:
    """Stop a job for its successor; the state to begin with, empty if it does not fit, None if it has none."""
    say(f"{spec.name}: stopping job {running.id} with a savepoint")
    if why := rest.waits_for(running.id, _SAVEPOINT_S if is_needed else _UNNEEDED_S):
        say(f"{spec.name}: {why}; it is ended without a savepoint")
        place = cancel(rest, running)
    else:
        try:
            place = stop(rest, running)
        except RunnerError as error:
            if is_needed:
                raise
            say(f"{spec.name}: {error}; it is ended without a savepoint")
            place = cancel(rest, running)
    if not place:
        return None
    if running.fingerprint == spec.fingerprint:
        return place
    say(
        f"{spec.name}: begins anew at the start of {' and '.join(spec.inputs)}: its windows, steps, topics, "
        f"guarantee or form of state are others than those of the job that ran, whose state does not fit; the "
        f"old state stays in {place}"
    )
    return ""


class Compiled:
    """A job that the Flink environment has compiled and holds ready."""

    def __init__(self, name: str, process: subprocess.Popen[str], errors: Path) -> None:
        self._name, self._process, self._errors = name, process, errors

    def wait(self) -> None:
        """Until it is compiled; raises `RunnerError`."""
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            if line.strip() == COMPILED:
                return
            said.append(line)
        raise self._failed("".join(said))

    def run(self, savepoint: str) -> str:
        """Submit it, to go on from a state unless that is empty; its id. Raises `RunnerError`."""
        said, _ = self._process.communicate(f"{savepoint}\n")
        if self._process.returncode:
            raise self._failed(said)
        return said.strip().splitlines()[-1]

    def _failed(self, said: str) -> RunnerError:
        complaint = _complaint(self._errors.read_text("utf-8", "replace") or said)
        return RunnerError(f"job {self._name} could not be submitted: {complaint}")


@contextlib.contextmanager
def compiled(request: Request, client: Client, own: str = "") -> Iterator[Compiled]:
    """Have the Flink environment compile a request; raises `RunnerError`. What is not run is forgotten at the end."""
    # Java may end a little later, and have a file in it.
    folder = tempfile.TemporaryDirectory(prefix="tapeflow-flink-", ignore_cleanup_errors=True)
    with folder as work, (Path(work) / "errors").open("wb") as errors:
        package, path = Path(work) / "tapeflow.zip", Path(work) / "request.json"
        pack(package, own)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(request, package=str(package))))
        command = (str(client.python), "-m", "tapeflow.runners.flink.job", str(path))
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, env=_surroundings(package), stdin=pipe, stdout=pipe, stderr=errors, text=True, cwd=work
        ) as process:
            try:
                made = Compiled(request.spec.name, process, Path(errors.name))
                made.wait()
                yield made
            finally:
                process.kill()


def _surroundings(package: Path) -> dict[str, str]:
    """The jar as a URL; and no Flink of the surroundings may be taken for that of the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLINK_")}
    # What Java leaves behind goes with the folder. Options of the surroundings are the last, which count.
    options = f'{_JAVA} -Djava.io.tmpdir="{package.parent}" {os.environ.get("JDK_JAVA_OPTIONS", "")}'
    return {**kept, "PYTHONPATH": str(package), "PYTHONWARNINGS": "ignore", "JDK_JAVA_OPTIONS": options}


def _complaint(said: str) -> str:
    lines = [line.strip() for line in said.splitlines()]
    causes = [
        line.removeprefix("Caused by: ").removeprefix(": ") for line in lines if line.startswith(("Caused by: ", ": "))
    ]
    return causes[-1] if causes else "\n".join(lines[-5:])
