"""``tapeflow stack``: real servers on this machine, without containers, for development and tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option, Typer

from tapeflow.cli.options import Json

if TYPE_CHECKING:
    from tapeflow.stack.stack import Stack

stack = Typer(
    name="stack",
    help="Kafka, PostgreSQL, Flink on this machine, without containers: for development and tests, on loopback only.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path, Option("--data", help="The folder of the stack: its data, its logs.", metavar="DIR")]
Services = Annotated[
    str | None,
    Option(
        "--services",
        help="Which, between commas: kafka, postgres, flink. Those of before, or kafka,postgres.",
        metavar="NAMES",
    ),
]
Brokers = Annotated[int | None, Option("--brokers", help="Brokers of Kafka: 1 or 3; 1 unless given.")]
KafkaPort = Annotated[
    int | None, Option("--kafka-port", help="Of the first broker, the others follow; a free one.", min=1, max=65_533)
]
PostgresPort = Annotated[
    int | None, Option("--postgres-port", help="Of PostgreSQL; a free one unless given.", min=1, max=65_535)
]
FlinkPort = Annotated[
    int | None, Option("--flink-port", help="Of Flink's REST and page; a free one unless given.", min=1, max=65_534)
]
Cache = Annotated[
    Path,
    Option("--cache", envvar="TAPEFLOW_CACHE", help="Where what is fetched is kept.", metavar="DIR", show_envvar=True),
]
Name = Annotated[str, Argument(help="A service, or one of its servers such as kafka-2.", metavar="SERVICE")]
Lines = Annotated[int, Option("--lines", "-n", help="How many of the last lines.", min=1)]
Wipe = Annotated[bool, Option("--wipe", help="Remove data and logs too.")]

_DATA = Path("tapeflow-stack")
_CACHE = Path("~/.cache/tapeflow/stack")


@stack.command("up")
def up(
    services: Services = None,
    brokers: Brokers = None,
    data: Data = _DATA,
    kafka_port: KafkaPort = None,
    postgres_port: PostgresPort = None,
    flink_port: FlinkPort = None,
    cache: Cache = _CACHE,
) -> None:
    """Start what does not run yet, and wait until all is ready. What is missing here is said first, all of it.

    The servers go on when the command has ended. What has to be fetched is fetched once, by Maven and pip, and held
    against checksums. Data and ports stay over `down` and over kills.

    Example: tapeflow stack up --brokers 3
    """
    from tapeflow.cli.progress import bar
    from tapeflow.stack.plan import Wanted

    ports = {"kafka": kafka_port, "postgres": postgres_port, "flink": flink_port}
    wanted = Wanted(
        _names(services),
        {} if brokers is None else {"kafka": brokers},
        {name: port for name, port in ports.items() if port is not None},
    )
    _stack(data, cache).up(wanted, _say, bar)


@stack.command("status")
def status(data: Data = _DATA, json: Json = False) -> None:
    """Show how each server is; 1 unless all are ready.

    Example: tapeflow stack status --json
    """
    import msgspec

    states = _stack(data).states()
    if json:
        for one in states:
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
    elif states:
        from rich.markup import escape
        from rich.table import Table

        from tapeflow.cli.console import console

        table = Table("server", "state", "port", "process", "memory", "since", "", box=None, pad_edge=False)
        for one in states:
            lives = (str(one.pid), f"{one.resident_mib} MiB", f"{one.age_s:.0f} s") if one.pid else ("", "", "")
            table.add_row(one.name, one.state, str(one.ports["client"]), *lives, escape(one.detail))
        console(sys.stdout).print(table)
    else:
        sys.stderr.write(f"{data} has no stack; start one: tapeflow stack up\n")
    if not states or any(one.state != "ready" for one in states):
        raise Exit(1)


@stack.command("logs")
def logs(name: Name, lines: Lines = 50, data: Data = _DATA) -> None:
    """Print the last lines that a server has said.

    Example: tapeflow stack logs kafka -n 100
    """
    found = _stack(data).tail(name, lines)
    for server, said in found.items():
        if len(found) > 1:
            sys.stdout.write(f"==> {server} <==\n")
        sys.stdout.writelines(line + "\n" for line in said)


@stack.command("down")
def down(data: Data = _DATA, wipe: Wipe = False) -> None:
    """Stop all servers; what they hold stays.

    Example: tapeflow stack down --wipe
    """
    _stack(data).down(_say, wipe=wipe)


@stack.command("env")
def env(data: Data = _DATA) -> None:
    """Print how clients find what runs, as lines NAME=value, which a shell takes and a file of variables holds.

    Example: export $(tapeflow stack env)
    """
    for name, value in _stack(data).variables().items():
        sys.stdout.write(f"{name}={value}\n")


@stack.command("compose")
def compose(services: Services = None, brokers: Brokers = None) -> None:
    """Print a Compose file with the same servers as containers.

    Example: tapeflow stack compose --brokers 3 > compose.yml
    """
    from tapeflow.stack import compose as file
    from tapeflow.stack.plan import Wanted

    wanted = Wanted(_names(services), {} if brokers is None else {"kafka": brokers})
    sys.stdout.write(file.compose(wanted))


def _names(services: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (services or "").split(",") if name.strip())


def _stack(data: Path, cache: Path = _CACHE) -> Stack:
    from tapeflow.stack.service import Place
    from tapeflow.stack.stack import Stack

    return Stack(Place(data, cache.expanduser()))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
