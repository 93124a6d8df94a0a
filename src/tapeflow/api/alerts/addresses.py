"""Addresses that may be told something: none of this machine or its networks, unless that is allowed.

A name is resolved once for each attempt, every address it has is looked at, and again the one that is connected to: a
name that means something else a moment later (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Forms of an IPv4 address that only a network of one's own translates, or nobody any more.
_LOCAL = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48")))


class Refused(OSError):
    """An address that nothing is sent to."""


def is_public(text: str) -> bool:
    """True of an address on the Internet, whatever form hides another one in it.

    >>> [is_public(a) for a in ("1.1.1.1", "10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "224.0.0.1", "127.1")]
    [True, False, False, False, False, False]
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
        if address.is_site_local or any(address in network for network in _LOCAL):
            return False
    return address.is_global and not address.is_multicast


def is_numeric(text: str) -> bool:
    """An address, and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Gate:
    """Lets through what may be connected to."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    def check(self, host: str, name: str = "") -> None:
        """Raise `Refused` for an address that is not to be connected to."""
        allowed = is_public(host)
        if not allowed and self._allow_private and is_numeric(host):
            allowed = not ipaddress.ip_address(host).is_multicast
        if not allowed:
            of = f"{name} is {host}, which is" if name and name != host else f"{host} is"
            hint = "" if self._allow_private else "; `allow_private = true` in [alerts] lets them be told"
            raise Refused(f"{of} no public address{hint}")

    def open(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for an address that aiohttp is about to connect to."""
        family, kind, protocol, _, address = info
        self.check(str(address[0]))
        return socket.socket(family, kind, protocol)


class Resolver(AbstractResolver):
    """Resolves a name, and refuses it if any of its addresses is refused."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for one in found:
            self._gate.check(one["host"], host)
        return found

    async def close(self) -> None:
        await self._inner.close()
