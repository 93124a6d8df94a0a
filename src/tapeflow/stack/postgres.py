"""PostgreSQL: the system's own programs, a data folder of its own, an owner, and a role that may only read.

It refuses to run as root; then it is run as the user ``postgres`` of the system's package.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tapeflow import files
from tapeflow.domain.errors import StackError
from tapeflow.stack.service import HOST, Compose, Place, Progress, Server

#: Where Debian's packages put the programs of each version.
_VERSIONS = Path("/usr/lib/postgresql")
_ACCOUNT = "postgres"
#: The user and the database of the stack.
NAME = "tapeflow"
#: A role that may only read what it is given, for SQL of strangers; where its password is.
READER, _READING = "tapeflow_reader", "reader-password"
#: What is done in a new cluster, a statement a line. The passwords have no quotes in them.
_FIRST = (
    f"CREATE DATABASE {NAME}\nCREATE ROLE {READER} LOGIN CONNECTION LIMIT 8 PASSWORD '{{password}}'\n"
    f"ALTER ROLE {READER} SET temp_file_limit = '4GB'\n"
)
_IMAGE = "postgres:15"
_INSTALL = "install PostgreSQL (Debian: postgresql)"


class Postgres:
    """The service; see `tapeflow.stack.service.Service`."""

    name = "postgres"
    sizes = (1,)
    parts: tuple[str, ...] = ()
    ports = ("client",)
    #: Asked by SIGTERM it would wait until the last client has gone.
    stop = signal.SIGINT

    def memory_mib(self, size: int) -> int:
        """Shared buffers, and a few connections."""
        return 128

    def lacks(self, place: Place, peers: Sequence[Server]) -> Iterator[str]:
        """The programs of the version that the data is of, and a way not to be root."""
        for server in peers:
            version = _version(place.folder(server.name))
            if _programs(version) is None:
                yield f"postgres: there is no PostgreSQL {version}".rstrip() + f"; {_INSTALL}"
        if _is_root():
            yield from _lacks_account(place)

    def missing_bytes(self, place: Place) -> int:
        """It comes with the system."""
        return 0

    def fetch(self, place: Place, progress: Progress | None) -> None:
        """Nothing to fetch."""

    def prepare(self, place: Place, server: Server, peers: Sequence[Server]) -> None:
        """A database cluster the first time, made aside: it is there whole or not at all."""
        folder = place.folder(server.name)
        data, staging = folder / "data", folder / "data.new"
        if data.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        password, reading = folder / "password", secrets.token_urlsafe(24)
        files.replace(password, secrets.token_urlsafe(24).encode(), mode=0o600)
        files.replace(folder / _READING, reading.encode(), mode=0o600)
        folder.chmod(0o700)
        if _is_root():
            for path in (folder, password):
                shutil.chown(path, _ACCOUNT, _ACCOUNT)
        programs, place_of = _found(folder), str(staging.resolve())
        ways = ("--auth=scram-sha-256", f"--pwfile={password.resolve()}", f"--username={NAME}")
        _call((str(programs / "initdb"), "--no-locale", "--encoding=UTF8", *ways, place_of), "")
        _call((str(programs / "postgres"), "--single", "-D", place_of, "postgres"), _FIRST.format(password=reading))
        staging.rename(data)

    def command(self, place: Place, server: Server, peers: Sequence[Server]) -> tuple[str, ...]:
        """The server; by TCP only."""
        folder = place.folder(server.name)
        settings = {"listen_addresses": HOST, "port": str(server.ports["client"]), "unix_socket_directories": ""}
        options = (word for key, value in settings.items() for word in ("-c", f"{key}={value}"))
        return (*_account(), str(_found(folder) / "postgres"), "-D", str((folder / "data").resolve()), *options)

    def waits_for(self, server: Server, peers: Sequence[Server]) -> str:
        """``pg_isready`` says so; it needs no password."""
        programs = _programs("")
        if programs is None:
            return f"there is no pg_isready; {_INSTALL}"
        where = ("-h", HOST, "-p", str(server.ports["client"]), "-t", "2")
        done = subprocess.run((str(programs / "pg_isready"), *where), capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stdout.strip()

    def variables(self, place: Place, peers: Sequence[Server]) -> Mapping[str, str]:
        """The address with the password, which only root and who started the stack can read."""
        folder, where = place.folder(peers[0].name), f"{HOST}:{peers[0].ports['client']}/{NAME}"
        address = f"postgresql://{NAME}:{_secret(folder / 'password')}@{where}"
        made = {"DATABASE_URL": address, "TAPEFLOW_POSTGRES": address}
        if (folder / _READING).exists():  # a stack of before has no reader
            made["TAPEFLOW_POSTGRES_READER"] = f"postgresql://{READER}:{_secret(folder / _READING)}@{where}"
        return made

    def compose(self, size: int) -> Compose:
        """The project's image."""
        return Compose({self.name: _container()}, ("postgres-data",))


def _secret(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError as error:
        raise StackError(f"{path}: {error.strerror}; ask as the user who started the stack") from error


def _container() -> dict[str, object]:
    return {
        "image": _IMAGE,
        "environment": {
            "POSTGRES_USER": NAME,
            "POSTGRES_DB": NAME,
            "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?put one into the environment or into .env}",
            "POSTGRES_INITDB_ARGS": "--no-locale --encoding=UTF8 --auth=scram-sha-256",
        },
        "ports": [f"{HOST}:5432:5432"],
        "volumes": ["postgres-data:/var/lib/postgresql/data"],
        "healthcheck": {
            "test": ["CMD", "pg_isready", "-h", HOST, "-U", NAME],
            "interval": "5s",
            "timeout": "5s",
            "retries": 12,
        },
    }


def _version(folder: Path) -> str:
    """The version that a data folder is of; empty where there is none yet."""
    try:
        return (folder / "data" / "PG_VERSION").read_text("ascii").strip()
    except OSError:
        return ""


def _programs(version: str) -> Path | None:
    """The folder with the programs of a version, or of the newest there is; Debian's, else those on PATH."""
    found = sorted(_VERSIONS.glob(f"{version or '[0-9]*'}/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path is None or (version and version != _major(on_path)):
        return None
    return Path(on_path).resolve().parent


def _major(program: str) -> str:
    """The version of a program as data folders have it."""
    done = subprocess.run((program, "--version"), capture_output=True, text=True, check=False)
    said = re.search(r"(\d+)\.", done.stdout)
    return said[1] if said else ""


def _found(folder: Path) -> Path:
    programs = _programs(_version(folder))
    if programs is None:
        raise StackError(f"postgres: there is none of the version of {folder}; {_INSTALL}")
    return programs


def _is_root() -> bool:
    return os.geteuid() == 0


def _account() -> tuple[str, ...]:
    """What goes before a command so that it is not run as root."""
    if not _is_root():
        return ()
    return ("setpriv", f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--init-groups", "--")


def _lacks_account(place: Place) -> Iterator[str]:
    import pwd  # noqa: PLC0415 - only POSIX has it

    if shutil.which("setpriv") is None:
        yield "setpriv: there is none, and postgres refuses to be run as root; install util-linux, or do not be root"
    try:
        pwd.getpwnam(_ACCOUNT)
    except KeyError:
        yield f"postgres: there is no user {_ACCOUNT} to run it as, and it refuses root; {_INSTALL}"
        return
    folder = place.data.absolute()
    closed = [path for path in (folder, *folder.parents) if path.exists() and not path.stat().st_mode & 0o001]
    if closed:
        yield (
            f"postgres: its user {_ACCOUNT} cannot enter {closed[0]}; choose another --data, or allow it: "
            f"chmod o+x {closed[0]}"
        )


def _call(command: Sequence[str], said: str) -> None:
    whole = (*_account(), *command)
    done = subprocess.run(whole, input=said, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"postgres: {Path(command[0]).name} failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")
