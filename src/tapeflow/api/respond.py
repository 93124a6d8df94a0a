"""An answer as a response: its form, its tag, compressed where that is wanted."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping

import msgspec
import zstandard
from starlette.responses import Response

from tapeflow.api.formats import ARROW, CSV, JSON, NDJSON
from tapeflow.api.reading import Answer
from tapeflow.stores import render

#: Bodies larger than this are compressed.
SMALL = 1024
#: Gaps in a header at most; a JSON answer has them all.
GAPS_IN_HEADER = 20

_VARY = "Accept, Accept-Encoding, Origin"


def respond(answer: Answer, media: str, asked: Mapping[str, str]) -> Response:
    """The response in a media type, to a request with these headers."""
    headers = _headers(answer)
    if media == JSON:
        body, tagged = _json(answer)
    else:
        body = tagged = _render(answer, media)
    kind = f"{media}; charset=utf-8" if media in (CSV, NDJSON) else media
    return tag(body, kind, asked, tagged=tagged, is_weak=media == JSON, headers=headers)


def tag(
    body: bytes,
    media: str,
    asked: Mapping[str, str],
    *,
    tagged: bytes | None = None,
    is_weak: bool = False,
    headers: dict[str, str] | None = None,
) -> Response:
    """A response that may be asked for again at the price of its tag.

    The tag is the hash of the body and of its encoding. A JSON answer's is weak and leaves out ``ts_watermark``: rows
    that have not changed are not sent again because time went on; the header `Tapeflow-Watermark` tells it even so.
    """
    encoding = _encoding(asked.get("accept-encoding", "")) if len(body) > SMALL else ""
    digest = hashlib.blake2b(body if tagged is None else tagged, digest_size=12).hexdigest()
    etag = f'{"W/" if is_weak else ""}"{digest}{"-" + encoding if encoding else ""}"'
    made = {"ETag": etag, "Cache-Control": "no-cache", "Vary": _VARY} | (headers or {})
    if _matches(asked.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=made)
    if encoding:
        made["Content-Encoding"] = encoding
        body = zstandard.compress(body, 3) if encoding == "zstd" else gzip.compress(body, 5, mtime=0)
    return Response(body, 200, made, media)


def _json(answer: Answer) -> tuple[bytes, bytes]:
    """The body, and what of it is tagged."""
    encode, rows = msgspec.json.encode, msgspec.Raw(render.json_array(answer.rows))
    if not answer.has_frame:
        body = encode({"data": rows, "next": None, "truncated": answer.is_truncated})
        return body, body
    told = {"data": rows, "next": answer.next, "coverage": answer.coverage}
    tagged = encode(told)
    return tagged[:-1] + b',"ts_watermark":' + encode(answer.ts_watermark) + b"}", tagged


def _render(answer: Answer, media: str) -> bytes:
    if media == NDJSON:
        return render.ndjson(answer.rows)
    if media == CSV:
        return render.csv(answer.rows)
    return render.arrow_stream(answer.rows) if media == ARROW else render.parquet(answer.rows)


def _headers(answer: Answer) -> dict[str, str]:
    """What the frame of a JSON answer says, for the forms that are rows alone."""
    if not answer.has_frame:
        return {"Tapeflow-Truncated": "true" if answer.is_truncated else "false"}
    gaps = msgspec.json.encode(answer.coverage.gaps[:GAPS_IN_HEADER]).decode()
    found = {"Tapeflow-Complete": "true" if answer.coverage.complete else "false", "Tapeflow-Gaps": gaps}
    found["Tapeflow-Guarantee"] = answer.coverage.guarantee
    if answer.next is not None:
        found["Tapeflow-Next"] = answer.next
    if answer.ts_watermark is not None:
        found["Tapeflow-Watermark"] = str(answer.ts_watermark)
    return found


def _encoding(accepted: str) -> str:
    words = [part.strip().lower().replace(" ", "") for part in accepted.split(",")]
    wanted = {word.partition(";")[0] for word in words if not word.endswith((";q=0", ";q=0.0"))}
    return next((name for name in ("zstd", "gzip") if name in wanted), "")


def _matches(asked: str, etag: str) -> bool:
    """Weak comparison, as RFC 9110 wants it for If-None-Match."""
    opaque = etag.removeprefix("W/")
    return any(part.strip() == "*" or part.strip().removeprefix("W/") == opaque for part in asked.split(","))
