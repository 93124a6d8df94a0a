"""Which servers there shall be: those of before where there are any, on ports that can be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.stack import machine, processes
from tapeflow.stack.flink import Flink
from tapeflow.stack.kafka import Kafka
from tapeflow.stack.postgres import Postgres
from tapeflow.stack.service import HOST, Server, Service

#: In the order in which they are started.
SERVICES: Mapping[str, Service] = {service.name: service for service in (Kafka(), Postgres(), Flink())}

#: So large that they are started only by name.
BY_NAME = frozenset({"flink"})

#: So long the ports of a server that was killed may still be taken.
_KILLED_S = 5.0


class Wanted(msgspec.Struct, frozen=True):
    """What is asked for: services, how many servers of each, the first port of each; the rest as it was, or usual."""

    services: tuple[str, ...] = ()
    sizes: Mapping[str, int] = {}
    ports: Mapping[str, int] = {}


class Plan(msgspec.Struct, frozen=True):
    """The servers by service, and what of the wish cannot be."""

    peers: dict[str, tuple[Server, ...]]
    problems: tuple[str, ...]

    @property
    def servers(self) -> tuple[Server, ...]:
        """All of them, in the order in which they are started."""
        return tuple(one for each in self.peers.values() for one in each)


def is_running(server: Server) -> bool:
    """Whether its process is there."""
    return processes.is_running(server.pid, server.began)


def by_service(servers: Sequence[Server]) -> dict[str, tuple[Server, ...]]:
    """The servers of each service, in order."""
    names = dict.fromkeys(one.service for one in servers)
    return {name: tuple(one for one in servers if one.service == name) for name in names}


def plan(wanted: Wanted, before: Sequence[Server]) -> Plan:
    """What shall run, given what was started before, for a wish that was not refused."""
    known = by_service(before)
    names = wanted.services or tuple(known) or usual()
    used = {port for one in before for port in one.ports.values()} | set(wanted.ports.values())
    peers: dict[str, tuple[Server, ...]] = {}
    problems: list[str] = []
    for name, service in SERVICES.items():
        if name not in names:
            continue
        size, first = wanted.sizes.get(name), wanted.ports.get(name)
        there = known.get(name) or _new(service, size or service.sizes[0])
        if any(map(is_running, there)):
            peers[name] = there
        else:
            peers[name] = tuple(_placed(one, first, used) for one in there)
        problems += _problems(peers[name], size, first)
    return Plan(peers, tuple(problems))


def refuse(wanted: Wanted) -> None:
    """Raise `SettingsError` where a wish names what there is not."""
    for name in wanted.services:
        if name not in SERVICES:
            raise SettingsError(f"no service {name!r}; there are {', '.join(SERVICES)}")
    for name, size in wanted.sizes.items():
        sizes = SERVICES[name].sizes
        if size not in sizes:
            raise SettingsError(f"{name}: expected {' or '.join(map(str, sizes))} servers, got {size}")


def usual() -> tuple[str, ...]:
    """The services that are meant where none is named."""
    return tuple(name for name in SERVICES if name not in BY_NAME)


def _new(service: Service, size: int) -> tuple[Server, ...]:
    """Servers without ports yet; one alone has the name of the service."""
    parts = service.parts or tuple(str(number) for number in range(1, size + 1))
    names = [service.name] if size == 1 else [f"{service.name}-{part}" for part in parts]
    return tuple(Server(name, service.name, number, {}) for number, name in enumerate(names, 1))


def _placed(server: Server, first: int | None, used: set[int]) -> Server:
    """A server that does not run, with ports: those asked for, those it had, free ones."""
    ports = {}
    for purpose in SERVICES[server.service].ports:
        had = server.ports.get(purpose, 0)
        if purpose == "client" and first is not None:
            ports[purpose] = first + server.number - 1
        elif had and machine.is_free(had):
            ports[purpose] = had
        else:
            ports[purpose] = machine.free_port(used)
        used.add(ports[purpose])
    return msgspec.structs.replace(server, ports=ports)


def _problems(peers: Sequence[Server], size: int | None, first: int | None) -> Iterator[str]:
    name, runs = peers[0].service, any(map(is_running, peers))
    if size is not None and size != len(peers):
        yield (
            f"{name}: it was made with {len(peers)} servers, not {size}; choose another --data, or remove this one "
            "with all that it holds: tapeflow stack down --wipe"
        )
    if first is not None and runs and first != peers[0].ports["client"]:
        yield f"{name}: it runs on port {peers[0].ports['client']}; to change that, tapeflow stack down first"
    for one in peers:
        if not is_running(one):
            processes.end_orphans(one.pid)
        for port in one.ports.values():
            patience_s = _KILLED_S if one.pid else 0.0
            if not is_running(one) and not machine.becomes_free(port, patience_s):
                advice = "end what uses it" + ("" if runs else f", or choose another with --{name}-port")
                yield f"{one.name}: port {port} of {HOST} is taken; {advice}"
