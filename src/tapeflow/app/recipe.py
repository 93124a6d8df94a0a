"""Recipes: a reference system from one file, with the servers it needs, on this machine or on those of a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import msgspec

from tapeflow import files
from tapeflow.api.port import taken
from tapeflow.app import market
from tapeflow.app.config import show
from tapeflow.app.jobs import submit
from tapeflow.app.roles import ends, run_all
from tapeflow.domain.errors import OutputError, SettingsError, TapeflowError
from tapeflow.exchange.child import Child
from tapeflow.feed.recorder import Say
from tapeflow.runners.flink.rest import Rest
from tapeflow.runners.flink.submit import cancel
from tapeflow.runners.flink.submit import stop as stop_job
from tapeflow.settings import EndpointSettings, RunSettings, parse_toml
from tapeflow.stack.plan import Wanted
from tapeflow.stack.service import Place
from tapeflow.stack.stack import Bar, Stack
from tapeflow.tape.lock import Lock

#: The venue of a recipe that needs no network.
SIMULATED = "simulated"
HOST, PORT = "127.0.0.1", 8600
#: So long a job that does not run is waited for, to be stopped in order.
_COMES_UP_S = 10.0
#: Which variable says that a service runs elsewhere.
ELSEWHERE = {"kafka": "TAPEFLOW_KAFKA", "flink": "TAPEFLOW_FLINK", "postgres": "TAPEFLOW_POSTGRES"}
#: What the parts read of the servers that a recipe starts.
VARIABLES = (*ELSEWHERE.values(), "TAPEFLOW_POSTGRES_READER")


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of `tapeflow.recipes`: what it is, which servers and which engine it needs, and the run file."""

    title: str
    about: str
    services: tuple[str, ...]
    engine: str
    run: RunSettings


class Asked(msgspec.Struct, frozen=True):
    """How a recipe is to be run."""

    data: Path
    cache: Path
    source: str = SIMULATED
    port: int | None = None


def names() -> list[str]:
    """The recipes there are."""
    return sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.name.endswith(".toml"))


def text(name: str) -> str:
    """The file of a recipe; raises `SettingsError`."""
    if name not in names():
        raise SettingsError(f"no recipe {name!r}; there are {', '.join(names())}")
    return (_folder() / f"{name}.toml").read_text("utf-8")


def load(name: str) -> Recipe:
    """A recipe; raises `SettingsError`."""
    return parse_toml(text(name), Recipe, f"recipe {name}")


def _folder() -> resources.abc.Traversable:
    return resources.files("tapeflow.recipes")


def run(recipe: Recipe, asked: Asked, say: Say, bar: Bar, serving: Callable[[str], None]) -> None:
    """Run a recipe until Ctrl-C; ``serving`` is told the page's address. Raises `TapeflowError`s.

    What it started is stopped again, in order, also on SIGTERM or when the terminal is closed; the next run in the same
    folder goes on where this one ended.
    """
    if asked.source not in (known := (SIMULATED, recipe.run.venue)):
        raise SettingsError(f"no source {asked.source!r} here; there are {' and '.join(known)}")
    for number in ends():
        signal.signal(number, _end)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(asked))
        venue = stack.enter_context(_venue(recipe.run, asked))
        stack.enter_context(_servers(recipe, asked, say, bar))
        settings = _settings(recipe.run, asked, venue)
        config = asked.data / "run.toml"
        files.replace(config, show(settings).encode(), sync=False)
        say(f"the settings of this run are in {config}")
        stack.enter_context(_job(settings, asked, say, bar))
        seen: list[str] = []

        def look() -> None:
            if not seen and (found := _address(asked.data, began)):
                seen.append(found)
                serving(found)

        began = time.time()
        run_all(["run", str(config)], say, look)


def _end(*_: object) -> None:
    """End, once: what is being stopped then goes on to be, whoever asks again."""
    for number in ends():
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _alone(asked: Asked) -> Iterator[None]:
    """Have the folder, which is of one source for good: what two have told makes no market."""
    path = asked.data / "source"
    try:
        asked.data.mkdir(parents=True, exist_ok=True)
        known = path.read_text("utf-8").strip() if path.exists() else ""
    except OSError as error:
        raise OutputError(f"{asked.data}: {error.strerror}; choose another --data") from error
    lock = Lock(asked.data, "recipe.lock", "run a recipe in")
    try:
        if known not in ("", asked.source):
            raise SettingsError(f"{asked.data} holds what {known} told, not {asked.source}: choose another --data")
        files.replace(path, f"{asked.source}\n".encode())
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _venue(run: RunSettings, asked: Asked) -> Iterator[EndpointSettings]:
    """Where the venue is: a simulated one is started, and ended again."""
    if asked.source != SIMULATED:
        yield EndpointSettings()
        return
    with market.opened(asked.data, None, len(run.symbols)) as child:
        yield _told(child, run)


def _told(child: Child, run: RunSettings) -> EndpointSettings:
    told = child.wait()
    missing = [symbol for symbol in run.symbols if symbol not in told.symbols]
    if missing:
        raise SettingsError(f"the simulated venue does not list {', '.join(missing)}")
    return EndpointSettings(told.websocket, told.rest)


@contextlib.contextmanager
def _servers(recipe: Recipe, asked: Asked, say: Say, bar: Bar) -> Iterator[None]:
    """The servers: those that the environment names, the others started here and stopped again; their data stay."""
    wanted = tuple(name for name in recipe.services if not os.environ.get(ELSEWHERE[name]))
    if not wanted:
        yield
        return
    stack = Stack(Place(asked.data / "stack", asked.cache))
    began = time.monotonic()
    stack.up(Wanted(wanted), say, bar)
    say(f"servers are ready after {time.monotonic() - began:.0f} s")
    known = {name: os.environ.get(name) for name in VARIABLES}
    try:
        if "postgres" in wanted:
            os.environ.pop("TAPEFLOW_POSTGRES_READER", None)  # it is of another database
        os.environ.update({name: value for name, value in stack.variables().items() if name in VARIABLES})
        yield
    finally:
        for name, value in known.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        stack.down(say)


def _settings(run: RunSettings, asked: Asked, endpoints: EndpointSettings) -> RunSettings:
    port = _free_port() if asked.port is None else asked.port
    api = msgspec.structs.replace(run.api, host=HOST, port=port)
    return msgspec.structs.replace(run, data=str((asked.data / "data").resolve()), endpoints=endpoints, api=api)


def _free_port() -> int:
    return next((port for port in range(PORT, PORT + 100) if not taken(HOST, port)), 0)


@contextlib.contextmanager
def _job(settings: RunSettings, asked: Asked, say: Say, bar: Bar) -> Iterator[None]:
    """The flow on Flink; at the end it is stopped with a savepoint, from which the next run goes on."""
    server = settings.flink.server
    id = submit(settings, server, asked.cache, say, bar)
    try:
        yield
    finally:
        rest = Rest(server)
        with contextlib.suppress(TapeflowError):  # its checkpoints are good for the next start too
            job = rest.find(id)
            place = cancel(rest, job) if rest.waits_for(id, _COMES_UP_S) else stop_job(rest, job)
            say(f"the job is stopped, its state is in {place}")


def _address(data: Path, since: float) -> str | None:
    """Where the gateway of this run serves, once it does."""
    path = data / "data" / "gateway.json"
    try:
        told = msgspec.json.decode(path.read_bytes())
        return str(told["api"]) if path.stat().st_mtime >= since and told.get("api") else None
    except (OSError, msgspec.DecodeError, KeyError):
        return None
