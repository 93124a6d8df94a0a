"""Flink: a job manager and a task manager, from the cluster that its Python package holds.

Its Python environment is one of its own: it pins packages older than ours. The environment is also what compiles and
submits a flow (`tapeflow submit`), so it is here even where the cluster is another machine's. There is no second job
manager and no ZooKeeper: jobs of a killed one are not taken over; `tapeflow submit` goes on from their checkpoints.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tapeflow import files
from tapeflow.stack import environment, jars, machine, processes
from tapeflow.stack.service import HOST, Compose, Place, Progress, Server

#: What the locks are made from: the connector's jar, and the environment.
ROOTS = ("org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",)
LOCK = Path(__file__).with_name("flink.toml")
PYTHON_ROOTS = ("apache-flink==2.3.0", "msgspec==0.22.0")
PYTHON_LOCK = Path(__file__).with_name("flink.txt")

#: Versions of Python for which its packages are.
_PYTHONS = ((3, 11), (3, 12))
_PYTHON_BYTES = 850 << 20
_JOB_MIB, _TASK_MIB = 1024, 2560
_SLOTS = 8
_ANSWER_S = 3.0
_JOB, _TASK = 1, 2
_IMAGE = "flink:2.3"
_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss.SSS} %-5p %m (%c{1})%n%throwable{20}
logger.kafka.name = org.apache.flink.kafka.shaded.org.apache.kafka
logger.kafka.level = WARN
logger.pekko.name = org.apache.pekko
logger.pekko.level = WARN
"""


class Flink:
    """The service; see `tapeflow.stack.service.Service`. Its first server is the job manager."""

    name = "flink"
    sizes = (2,)
    parts = ("jobmanager", "taskmanager")
    #: Of the job manager the first is REST and the page, then its RPC and its blobs; of the task manager its data,
    #: and two that it does not use.
    ports = ("client", "rpc", "blob")
    stop = signal.SIGTERM

    def memory_mib(self, size: int) -> int:
        """The mean of both processes, Python workers of a job included."""
        return (_JOB_MIB + _TASK_MIB + 400) // size

    def lacks(self, place: Place, peers: Sequence[Server]) -> Iterator[str]:
        """Java, a Python that its packages are for, and Maven where the connector must be fetched."""
        yield from machine.lacks_java()
        for folder in {place.data.resolve(), place.cache.resolve()}:
            if " " in str(folder):
                yield f"flink: its scripts do not work in a folder with a space, such as {folder}; choose another"
        if not environment.has(python_folder(place.cache)) and sys.version_info[:2] not in _PYTHONS:
            known = " or ".join(f"{major}.{minor}" for major, minor in _PYTHONS)
            yield f"flink: its packages are for Python {known}, this is {sys.version.split()[0]}; run tapeflow with one"
        if not jars.has(jars.read_lock(LOCK), place.cache) and shutil.which("mvn") is None:
            yield "mvn: there is none, and a jar must be fetched once; install Maven (Debian: maven)"

    def missing_bytes(self, place: Place) -> int:
        """The environment and the connector, or what of them is not there."""
        lock = jars.read_lock(LOCK)
        made = environment.has(python_folder(place.cache))
        return (0 if made else _PYTHON_BYTES) + (0 if jars.has(lock, place.cache) else lock.bytes)

    def fetch(self, place: Place, progress: Progress | None) -> None:
        """The environment, and the connector's jar."""
        folder = python_folder(place.cache)
        if not environment.has(folder):
            environment.make(PYTHON_LOCK, folder, _PYTHON_BYTES, progress)
        jars.fetch(jars.read_lock(LOCK), place.cache, None)

    def prepare(self, place: Place, server: Server, peers: Sequence[Server]) -> None:
        """Settings; checkpoints and savepoints are the stack's, not a server's, and stay."""
        folder = place.folder(server.name).resolve()
        for name in ("conf", "log", "lib"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        scratch = place.scratch(server.name)
        home = _home(place.cache)
        _link(folder / "lib", (*home.glob("lib/*.jar"), *home.glob("opt/flink-python-*.jar"), connector(place.cache)))
        rows = settings(peers, place.folder(peers[0].name).resolve(), str(python(place.cache)))
        rows["io.tmp.dirs"] = str(scratch)
        rows["env.java.opts.all"] = _java_options(home)
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in rows.items())
        files.replace(folder / "conf" / "config.yaml", text.encode(), sync=False)
        files.replace(folder / "conf" / "log4j-console.properties", _LOG4J.encode(), sync=False)

    def command(self, place: Place, server: Server, peers: Sequence[Server]) -> tuple[str, ...]:
        """The script of the package, which becomes the process."""
        folder, home = place.folder(server.name).resolve(), _home(place.cache)
        variables = {
            "FLINK_HOME": home,
            "FLINK_CONF_DIR": folder / "conf",
            "FLINK_LIB_DIR": folder / "lib",
            "FLINK_LOG_DIR": folder / "log",
            "FLINK_PID_DIR": folder / "tmp",
            "JDK_JAVA_OPTIONS": f'{os.environ.get("JDK_JAVA_OPTIONS", "")} -Djava.io.tmpdir="{folder}/tmp"'.strip(),
            "PYTHONPATH": environment.site_packages(python_folder(place.cache)),  # Python inside the task manager
        }
        script = home / "bin" / ("jobmanager.sh" if server.number == _JOB else "taskmanager.sh")
        return ("env", *(f"{name}={value}" for name, value in variables.items()), str(script), "start-foreground")

    def waits_for(self, server: Server, peers: Sequence[Server]) -> str:
        """The job manager answers, and knows the task manager by its address."""
        if server.number == _JOB:
            return "" if _ask(peers, "/overview") is not None else f"{_address(peers)} does not answer"
        answer = _ask(peers, "/taskmanagers") or {}
        # One that was killed is still listed for a while; this one has been heard of since it began.
        since_ms = (time.time() - processes.age_s(server.began)) * 1000
        for one in answer.get("taskmanagers", []):
            heard_ms = one.get("timeSinceLastHeartbeat")
            if one.get("dataPort") == server.ports["client"] and isinstance(heard_ms, int) and heard_ms > since_ms:
                return ""
        return "the job manager does not know it yet"

    def variables(self, place: Place, peers: Sequence[Server]) -> Mapping[str, str]:
        """Where jobs are submitted to."""
        return {"TAPEFLOW_FLINK": _address(peers)}

    def compose(self, size: int) -> Compose:
        """The project's image; where a flow has indicators its task manager needs Python, msgspec and apache-flink."""
        common = {
            "jobmanager.rpc.address": "flink-jobmanager",
            "taskmanager.numberOfTaskSlots": str(_SLOTS),
            **_state("/var/lib/flink"),
        }
        text = "".join(f"{key}: {value}\n" for key, value in common.items())
        entry = {"image": _IMAGE, "environment": {"FLINK_PROPERTIES": text}, "volumes": ["flink-data:/var/lib/flink"]}
        # A new volume is root's, and the image's own entry goes on as another user.
        begin = "chown flink: /var/lib/flink && exec /docker-entrypoint.sh"
        job, task = ({**entry, "entrypoint": ["sh", "-c", f"{begin} {part}"]} for part in self.parts)
        job["ports"] = [f"{HOST}:8081:8081"]
        task["depends_on"] = ["flink-jobmanager"]
        return Compose({"flink-jobmanager": job, "flink-taskmanager": task}, ("flink-data",))


def python_folder(cache: Path) -> Path:
    """The folder of the environment."""
    return environment.folder(PYTHON_LOCK, "apache-flink", cache.absolute())


def python(cache: Path) -> Path:
    """The interpreter that compiles and submits a flow."""
    return environment.python(python_folder(cache))


def connector(cache: Path) -> Path:
    """The jar by which a job reads and writes Kafka."""
    lock = jars.read_lock(LOCK)
    return lock.folder(cache.absolute()) / lock.jars[0].file


def settings(peers: Sequence[Server], data: Path, interpreter: str) -> dict[str, object]:
    """What stands in ``config.yaml``; both servers have all of it, but for where they keep what is theirs."""
    job, task = peers
    return {
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": job.ports["rpc"],
        "jobmanager.bind-host": HOST,
        "jobmanager.memory.process.size": f"{_JOB_MIB}m",
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": job.ports["client"],
        "rest.bind-port": str(job.ports["client"]),
        "blob.server.port": str(job.ports["blob"]),
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.data.port": task.ports["client"],
        # Any: where one that was killed was known, the job manager and the next one may be deaf to each other for ever.
        "taskmanager.rpc.port": "0",
        "taskmanager.numberOfTaskSlots": _SLOTS,
        "taskmanager.memory.process.size": f"{_TASK_MIB}m",
        "taskmanager.memory.network.max": "256m",
        "taskmanager.memory.jvm-metaspace.size": "512m",
        # What jobs bring along is here already: a copy for each job would fill the metaspace after ten of them.
        "classloader.resolve-order": "parent-first",
        "taskmanager.memory.managed.size": "256m",
        # A killed server is missed after ten seconds, not after fifty.
        "heartbeat.interval": "2 s",
        "heartbeat.timeout": "10 s",
        "python.executable": interpreter,
        "python.client.executable": interpreter,
        **_state(f"file://{data}"),  # Flink would take what is escaped in a URI as it stands
    }


def _state(place: str) -> dict[str, object]:
    """How state is kept, and how often a job is tried again."""
    return {
        "state.backend.type": "hashmap",
        "execution.checkpointing.dir": f"{place}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"{place}/savepoints",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "1 min",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "10 min",
    }


def _link(folder: Path, targets: Iterable[Path]) -> None:
    """Have links to these files in a folder, and to no others."""
    for link in folder.iterdir():
        link.unlink()
    for target in targets:
        (folder / target.name).symlink_to(target.resolve())


def _home(cache: Path) -> Path:
    return environment.site_packages(python_folder(cache)) / "pyflink"


def _java_options(home: Path) -> str:
    """What the package itself gives to Java; without it newer ones refuse."""
    said = re.search(r"^\s*all: (--add-\S.*)$", (home / "conf" / "config.yaml").read_text("utf-8"), re.MULTILINE)
    return f"{said[1]} -Djava.net.preferIPv4Stack=true" if said else "-Djava.net.preferIPv4Stack=true"


def _address(peers: Sequence[Server]) -> str:
    return f"{HOST}:{peers[0].ports['client']}"


def _ask(peers: Sequence[Server], path: str) -> dict[str, list[dict[str, object]]] | None:
    try:
        with urllib.request.urlopen(f"http://{_address(peers)}{path}", timeout=_ANSWER_S) as answer:
            return json.load(answer)  # type: ignore[no-any-return]
    except (OSError, urllib.error.URLError, ValueError):
        return None
