"""The forms of an answer, and which of them a client wants."""

from __future__ import annotations

from tapeflow.api.problem import Problem

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"

#: By the word of ``format=``.
BY_NAME = {"json": JSON, "ndjson": NDJSON, "csv": CSV, "arrow": ARROW, "parquet": PARQUET}


def choose(accept: str | None, format: str | None) -> str:
    """The media type of an answer: of ``format=`` if given, else of ``Accept``; raises `Problem`."""
    if format is not None:
        if format not in BY_NAME:
            raise Problem(400, "unknown_format", f"no format {format[:20]!r}; there are {', '.join(BY_NAME)}")
        return BY_NAME[format]
    if not accept or not accept.strip():
        return JSON
    weights = _weights(accept)
    rated = [(_weight(weights, media), -place, media) for place, media in enumerate(BY_NAME.values())]
    best, _, media = max(rated)
    if best <= 0:
        known = ", ".join(BY_NAME.values())
        raise Problem(406, "not_acceptable", f"none of {accept[:100]!r} is given here; accept one of {known}, or */*")
    return media


def _weights(accept: str) -> dict[str, float]:
    """The weight of each range of an Accept header; one that cannot be read counts as 0."""
    found: dict[str, float] = {}
    for part in accept.split(","):
        media, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        try:
            found[media] = float(weight)
        except ValueError:
            found[media] = 0.0
    return found


def _weight(weights: dict[str, float], media: str) -> float:
    """The weight of a media type: the most exact range counts."""
    ranges = (media, media.partition("/")[0] + "/*", "*/*")
    return next((weights[name] for name in ranges if name in weights), 0.0)
