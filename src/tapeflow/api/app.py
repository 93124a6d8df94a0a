"""The application: routes, errors, and the guard before all of it."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from tapeflow._version import version
from tapeflow.api import routes
from tapeflow.api.limits import Limits
from tapeflow.api.metrics import Http
from tapeflow.api.problem import BY_ERROR
from tapeflow.api.source import Source
from tapeflow.api.symbols import Roster


def create(source: Source, limits: Limits, roster: Roster | None = None, http: Callable[[], Http] = Http) -> FastAPI:
    """The application over a source, without its guard: other routes may be added to it.

    Without a roster what is followed cannot be changed. ``http`` tells what the server has done, for its metrics.
    """
    app = FastAPI(
        title="Tapeflow", version=version(), openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    for error, answer in BY_ERROR.items():
        app.add_exception_handler(error, answer)
    routes.add(app, source, limits, roster, http)
    return app
