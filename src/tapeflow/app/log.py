"""What a run says: one line of text for people, or one JSON object a line for machines; never a secret."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast

import structlog

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

#: What stands in the place of a secret.
HIDDEN = "***"

#: What is starred out, and what stays of it: the prefix of a key is shown in lists and identifies it.
_SECRETS = (
    (re.compile(r"\b(tf_[A-Za-z0-9]{8})_[A-Za-z0-9]+"), r"\1_***"),
    (re.compile(r"(?i)\b(authorization\b[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic|token)\s+)?[^\s\"',;]+"), r"\1***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+(?!\*|tf_)[A-Za-z0-9+/=._~-]{8,}"), r"\1 ***"),
    (
        re.compile(r"(?i)\b([\w-]*(?:key|token|secret|password|passwd|signature|jaas\.config))=(?!\*)[^&\s\"',;]+"),
        r"\1=***",
    ),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@\"']+@"), r"\1***@"),
)

#: Parts say sentences without a level; one with a word of trouble is a warning.
_TROUBLE = re.compile(
    r"(?i)\b(?:cannot|failed|fails?|refuses?|refused|error|given up|gives? up|damaged|torn|dead|silent|lost|"
    r"not listed|nothing is asked|closed by the venue|was set by|nothing ran)\b"
)

_Event = MutableMapping[str, Any]


def redact(text: str) -> str:
    """A text without what must not be read in a log.

    >>> redact("GET https://me:pw@host/x?token=abc&symbol=BTCUSDT")
    'GET https://***@host/x?token=***&symbol=BTCUSDT'
    """
    for pattern, stays in _SECRETS:
        text = pattern.sub(stays, text)
    return text


def is_secret(name: str) -> bool:
    """Whether the value of a name must not be read in a log.

    >>> is_secret("sasl.password"), is_secret("sasl.username")
    (True, False)
    """
    return redact(f"{name}=x") != f"{name}=x"


def level_of(text: str) -> Level:
    """The level of a sentence: ``warning`` if it tells of trouble, else ``info``."""
    return "warning" if _TROUBLE.search(text) else "info"


def setup(format: Format = "text", level: Level = "info", file: TextIO | None = None) -> None:
    """Have everything said from now on in this form, to standard error; libraries' warnings too."""
    out = cast("TextIO", _Lasting(file or sys.stderr))
    render = _as_json if format == "json" else _as_text
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, _clean, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _clean,
                render,
            ],
        )
    )
    handler.addFilter(Sparing())
    least = max(logging.getLevelNamesMapping()[level.upper()], logging.WARNING)
    logging.basicConfig(handlers=[handler], level=least, force=True)


class _Lasting:
    """A file to say things to. Once nobody has it any more, as a terminal that was closed, what is said is lost.

    What says it goes on all the same: a run whose terminal is closed still has to be ended in order.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()


class Sparing(logging.Filter):
    """Lets a library's or part's message through so many times in a while, then says how many were left out.

    Messages are told apart by their text before its values are put in: a client that provokes one and the same fault
    with every request must not fill the disk.
    """

    MOST, WHILE_S, KINDS = 5, 10.0, 1000

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = (record.name, str(record.msg)[:200]), time.monotonic()
        if len(self._seen) > self.KINDS:
            self._seen.clear()
        since, count = self._seen.get(kind, (now, 0))
        left_out = 0
        if now - since > self.WHILE_S:
            left_out, since, count = max(0, count - self.MOST), now, 0
        self._seen[kind] = (since, count + 1)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more of these before)", ()
        return count < self.MOST


def say(text: str, level: Level | None = None, **fields: Any) -> None:
    """Say something an operator would want to know; the level is that of the sentence unless given."""
    structlog.get_logger().log(logging.getLevelNamesMapping()[(level or level_of(text)).upper()], text, **fields)


def _clean(logger: object, method: str, event: _Event) -> _Event:
    return {key: _of_pair(key, value) for key, value in event.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        # A name and its value apart tell each other: {"token": "abc"} is as secret as token=abc.
        return {key: _of_pair(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner) for inner in value]
    return value if value is None or isinstance(value, (bool, int, float)) else redact(str(value))


def _of_pair(key: str, value: Any) -> Any:
    return HIDDEN if isinstance(value, str) and is_secret(key) else _cleaned(value)


def _as_text(logger: object, method: str, event: _Event) -> str:
    fields = dict(event)
    text, source, trace = fields.pop("event", ""), fields.pop("logger", ""), fields.pop("exception", "")
    fields.pop("level", None)
    more = "".join(f" {key}={value}" for key, value in fields.items())
    head = f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3] + (f" {source}:" if source else "")
    return f"{head} {text}{more}" + (f"\n{trace}" if trace else "")


def _as_json(logger: object, method: str, event: _Event) -> str:
    fields = dict(event)
    ts = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    row = {"ts": ts, "level": fields.pop("level", "info"), "event": fields.pop("event", "")} | fields
    return json.dumps(row, ensure_ascii=False, default=str)
