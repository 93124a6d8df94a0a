"""The page: the files that `web/` is built into, read once. Nothing on it comes from another server, or is inline.

Where they are not there, as in a tree whose page was never built, the welcome page stands at ``/``.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path

import msgspec
from starlette.responses import Response

from tapeflow._version import version
from tapeflow.api.limits import Limits
from tapeflow.api.respond import tag
from tapeflow.api.source import Source

#: Where the build puts them.
BUILT = Path(__file__).resolve().parent.parent / "web"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
#: What the page's script asks for first: a browser asks for it while it reads the script.
_FIRST = ("/v1/about", "/v1/symbols", "/v1/catalogue")
_AHEAD = {"Link": ", ".join(f"<{path}>; rel=preload; as=fetch; crossorigin" for path in _FIRST)}
#: The names of these files have their hash: they never change.
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_HTML = "text/html; charset=utf-8"
_MEDIA = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class About(msgspec.Struct, frozen=True):
    """What a client has to know before it asks: `/v1/about`."""

    version: str
    venue: str
    channels: tuple[str, ...]
    intervals: tuple[str, ...]
    indicators: tuple[str, ...]
    timezone: str
    has_sql: bool
    has_alerts: bool
    needs_key: bool


def about(source: Source, limits: Limits) -> About:
    """What is served here."""
    return About(
        version(),
        source.venue,
        source.channels,
        source.intervals,
        source.indicators,
        source.timezone,
        limits.has_sql,
        limits.has_alerts,
        limits.needs_key,
    )


class Built:
    """The files of a page that was built, by name; none where there is none."""

    def __init__(self, folder: Path = BUILT) -> None:
        index, assets = folder / "index.html", folder / "assets"
        self._index = index.read_bytes() if index.is_file() else None
        found = sorted(assets.iterdir()) if self._index is not None and assets.is_dir() else []
        self._assets = {path.name: path.read_bytes() for path in found if path.is_file()}

    def index(self, asked: Mapping[str, str], *, needs_key: bool = False) -> Response | None:
        """The page itself; None where it was not built. A browser can ask ahead where that ``needs_key`` no key."""
        headers = HEADERS if needs_key else HEADERS | _AHEAD
        return None if self._index is None else tag(self._index, _HTML, asked, headers=headers)

    def asset(self, name: str, asked: Mapping[str, str]) -> Response | None:
        """A script, a style or a picture of it; None for any other name."""
        body = self._assets.get(name)
        if body is None:
            return None
        suffix = Path(name).suffix
        media = _MEDIA.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return tag(body, media, asked, headers=_FOREVER)
