"""Dead letters hold whatever came: they are shown so that a terminal takes no orders from them."""

from __future__ import annotations

import base64

from tapeflow.bus.dead import Letter


def test_what_is_not_printable_is_shown_as_its_escape_in_one_line() -> None:
    value = base64.b64encode("Grüße \x1b[2J\n\x00".encode() + b"\xff" + b"x" * 100).decode()
    shown = Letter("t", 0, 1, "why", 0, None, value).begins
    assert shown.startswith("Grüße \\x1b[2J\\n\\x00\ufffdxxx")
    assert shown.isprintable()
    assert Letter("t", 0, 1, "why", 0, None, None).begins == ""
