"""The server: an event loop of its own in a thread of its own, so that no request can hold up the feed."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from tapeflow.api.counts import Counts
from tapeflow.api.guard import Guard, Keys
from tapeflow.api.limits import Limits
from tapeflow.api.protocol import bounded
from tapeflow.api.stream import Streams
from tapeflow.api.upgrade import Upgraded
from tapeflow.domain.errors import SettingsError

#: How long a stop waits for what is being answered.
STOP_S = 3.0
#: Open files that are not for connections of clients.
FILES = 256


class Part(Protocol):
    """What lives in the loop of the server, from its start to its stop."""

    async def begin(self) -> None: ...

    async def end(self) -> None: ...


class Server:
    """Serves an application, behind its guard, from `start` to `stop`; and the clients of its stream, if it has one."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        limits: Limits,
        keys: Keys,
        streams: Streams | None = None,
        parts: tuple[Part, ...] = (),
        counts: Counts | None = None,
    ) -> None:
        self._counts = Counts() if counts is None else counts
        self._app = app
        self._host = host
        self._port = port
        self._limits = limits
        self._keys = keys
        self._streams = streams
        self._parts = parts
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._is_bound = threading.Event()

    @property
    def address(self) -> str:
        """Where it is, such as ``http://127.0.0.1:8600``."""
        if self._socket is None:
            raise RuntimeError("the server has not been started")
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Return when it can be reached; raises `SettingsError` if the address is taken or not ours."""
        self._socket = self._bind()
        guarded = Guard(self._app, self._limits, self._keys, names=(self._host,), counts=self._counts)
        self._server = _Server(self._config(guarded), self._is_bound, self._streams, self._parts)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="api", daemon=True)
        self._thread.start()
        while not self._is_bound.wait(0.05):
            if not self._thread.is_alive():
                raise SettingsError("the server of [api] ended at once; see what it logged")

    def stop(self) -> None:
        """Answer what is being answered, for so long as that takes but at most `STOP_S`."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(STOP_S - 0.5)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(0.5)
        if self._socket is not None:
            self._socket.close()

    def _upgraded(self, guard: Guard) -> Callable[..., Upgraded]:
        streams = self._streams
        assert streams is not None
        return lambda **_: Upgraded(guard, streams.welcome)

    def _config(self, app: Guard) -> uvicorn.Config:
        limits = self._limits
        return uvicorn.Config(
            app,
            http=bounded(limits, _connections(limits.connections)),
            ws=self._upgraded(app) if self._streams is not None else "none",  # type: ignore[arg-type]
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.idle_s),
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=limits.head_bytes,
        )

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # With its protocol named: asyncio sets TCP_NODELAY on no other, and each answer would wait for an ACK, 40 ms.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self._host, self._port))
            made.listen(256)
        except OSError as error:
            made.close()
            raise SettingsError(
                f"cannot serve on {self._host}:{self._port}: {error.strerror or error}; choose another `port` in "
                "[api] (0 for any that is free), or `enabled = false`"
            ) from error
        return made


def _connections(wanted: int) -> int:
    """How many connections there can be such that the tape and the store never lack a file; as many as are wanted."""
    if os.name != "posix":
        return wanted
    import resource  # noqa: PLC0415 - not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + FILES if hard == resource.RLIM_INFINITY else min(wanted + FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
        soft = enough
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - FILES))


class _Server(uvicorn.Server):
    """Tells when it listens, and leaves signals to the run."""

    def __init__(
        self, config: uvicorn.Config, is_bound: threading.Event, streams: Streams | None, parts: tuple[Part, ...]
    ) -> None:
        super().__init__(config)
        self._parts = parts
        self._is_bound = is_bound
        self._streams = streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._streams is not None:
            await self._streams.begin()
        for part in self._parts:
            await part.begin()
        self._is_bound.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for part in self._parts:
            await part.end()
        if self._streams is not None:
            await self._streams.end()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
