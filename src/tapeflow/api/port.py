"""Whether a port can be listened on."""

from __future__ import annotations

import os
import socket


def taken(host: str, port: int) -> str:
    """Why an address cannot be listened on; empty if it can."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return f"{host} is no address of this machine: {error.strerror}"
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as tried:
        if os.name == "posix":  # a port whose last connections still fade can be had, as by the server
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(address)
        except OSError as error:
            return error.strerror or str(error)
    return ""
