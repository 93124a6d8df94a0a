"""Jars by coordinates and checksums: a lock names each, Maven brings them, nothing is used that differs.

Where from is Maven's own matter (its settings on this machine); the lock holds no address.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import msgspec

from tapeflow.domain.errors import StackError
from tapeflow.stack.service import Progress

_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
#: What Maven says of a file that it has fetched: ``Downloaded from NAME: ADDRESS/FILE (SIZE at SPEED)``.
_FETCHED = re.compile(r"Downloaded .*/([^/\s]+\.jar)\b")


class Jar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``name`` is ``group:artifact:version``."""

    name: str
    sha256: str
    bytes: int

    @property
    def file(self) -> str:
        """The name of its file."""
        _, artifact, version = self.name.split(":")
        return f"{artifact}-{version}.jar"


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All jars of a program: those it was asked for as ``roots``, and what these need."""

    roots: tuple[str, ...]
    jars: tuple[Jar, ...]

    @property
    def bytes(self) -> int:
        """The size of all."""
        return sum(jar.bytes for jar in self.jars)

    @property
    def version(self) -> str:
        """The version of the first root."""
        return self.roots[0].split(":")[2]

    def folder(self, cache: Path) -> Path:
        """Where its jars are kept; another lock has another folder."""
        mark = hashlib.sha256("".join(jar.sha256 for jar in self.jars).encode()).hexdigest()[:8]
        return cache / f"{self.roots[0].split(':')[1]}-{self.version}-{mark}"


def read_lock(path: Path) -> Lock:
    """The lock of a file."""
    return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Lock)


def has(lock: Lock, cache: Path) -> bool:
    """Whether nothing must be fetched; says nothing of what the files hold."""
    return lock.folder(cache).is_dir()


def verify(lock: Lock, folder: Path) -> None:
    """Hold each file against the lock; raises `StackError` that names all that differ."""
    wrong = list(_wrong(lock, folder))
    if wrong:
        raise StackError(
            f"{folder}: not what the lock says; remove the folder to have it fetched again, and do not use it if it "
            "comes again\n  " + "\n  ".join(wrong)
        )


def _wrong(lock: Lock, folder: Path) -> Iterator[str]:
    for jar in lock.jars:
        try:
            found = hashlib.sha256((folder / jar.file).read_bytes()).hexdigest()
        except FileNotFoundError:
            yield f"{jar.file}: missing"
            continue
        if found != jar.sha256:
            yield f"{jar.file}: expected SHA-256 {jar.sha256}, got {found}"
    for more in sorted({path.name for path in folder.glob("*.jar")} - {jar.file for jar in lock.jars}):
        yield f"{more}: not in the lock"  # all of the folder is on the class path


def fetch(lock: Lock, cache: Path, progress: Progress | None) -> None:
    """Have all jars of a lock in the cache, verified. They appear at once or not at all; raises `StackError`."""
    folder = lock.folder(cache)
    if not has(lock, cache):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as work:
            staging = Path(work) / "jars"
            # Without what they need in turn: the lock has it all, and no version is chosen anew.
            _copy({jar.name: False for jar in lock.jars}, staging, Path(work), _Counted(lock, progress))
            verify(lock, staging)
            staging.replace(folder)
    verify(lock, folder)


def resolve(roots: Iterable[str]) -> Lock:
    """Make a lock anew: the roots, and what they need as Maven chooses it now."""
    roots = tuple(roots)
    with tempfile.TemporaryDirectory() as work:
        staging = Path(work) / "jars"
        _copy(dict.fromkeys(roots, True), staging, Path(work), None, "-Dmdep.useRepositoryLayout=true")
        return Lock(roots, tuple(_jar(path, staging) for path in sorted(staging.rglob("*.jar"))))


def _jar(path: Path, root: Path) -> Jar:
    """A jar by its place in a repository: ``org/example/artifact/version/artifact-version.jar``."""
    *group, artifact, version, _ = path.relative_to(root).parts
    content = path.read_bytes()
    made = Jar(f"{'.'.join(group)}:{artifact}:{version}", hashlib.sha256(content).hexdigest(), len(content))
    if made.file != path.name:
        raise StackError(f"{path.name}: expected {made.file}; a lock has plain jars only")
    return made


def written(lock: Lock) -> str:
    """A lock as text."""
    lines = [
        "# Jars, their sizes and checksums. Written by requirements/jars.py: change the roots, then run it.",
        "roots = [",
        *(f'  "{root}",' for root in lock.roots),
        "]",
        "jars = [",
        *(f'  {{ name = "{jar.name}", bytes = {jar.bytes}, sha256 = "{jar.sha256}" }},' for jar in lock.jars),
        "]",
    ]
    return "\n".join(lines) + "\n"


class _Counted:
    """Counts the bytes of a lock while Maven says which files it has."""

    def __init__(self, lock: Lock, progress: Progress | None) -> None:
        self._sizes = {jar.file: jar.bytes for jar in lock.jars}
        self._total = lock.bytes
        self._progress = progress

    def hear(self, line: str) -> None:
        found = _FETCHED.search(line)
        if found and self._progress is not None:
            self._sizes.pop(found[1], None)
            self._progress(self._total - sum(self._sizes.values()), self._total)


def _copy(names: Mapping[str, bool], to: Path, work: Path, counted: _Counted | None, *options: str) -> None:
    """Have Maven copy artifacts, those with True with what they need; raises `StackError` with what it complains of."""
    pom = work / "pom.xml"
    pom.write_text(_pom(names), "utf-8")
    command = ["mvn", "--batch-mode", "--file", str(pom), _GOAL, f"-DoutputDirectory={to}", *options]
    complaints = []
    with subprocess.Popen(
        [*command, "-DincludeScope=runtime"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as maven:  # fmt: skip
        assert maven.stdout is not None
        for line in maven.stdout:
            if counted is not None:
                counted.hear(line)
            if "[ERROR]" in line:
                complaints.append(line.replace("[ERROR]", "").strip())
    if maven.returncode:
        shutil.rmtree(to, ignore_errors=True)
        raise StackError("mvn could not fetch the jars:\n  " + "\n  ".join(complaints[:5]))


def _pom(names: Mapping[str, bool]) -> str:
    rows = "".join(map(_dependency, names, names.values()))
    return (
        "<project><modelVersion>4.0.0</modelVersion>\n"
        "<groupId>tapeflow</groupId><artifactId>stack</artifactId><version>1</version>\n"
        f"<dependencies>\n{rows}</dependencies></project>\n"
    )


def _dependency(name: str, with_its_own: bool) -> str:  # noqa: FBT001 - a row of a table
    group, artifact, version = map(escape, name.split(":"))
    none = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        f"{'' if with_its_own else none}</dependency>\n"
    )
