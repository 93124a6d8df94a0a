"""The page's files: how they are served, and what stands there where none was built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tapeflow.api.page import BUILT, Built


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "assets" / "index-abc.js").write_text("let a = 1;")
    (tmp_path / "made-from").write_text("0")
    return tmp_path


def test_the_page_may_load_nothing_from_elsewhere_and_run_nothing_inline(folder: Path) -> None:
    answer = Built(folder).index({})
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["cache-control"] == "no-cache"


def test_what_the_script_asks_first_is_asked_ahead_but_where_that_needs_a_key(folder: Path) -> None:
    built = Built(folder)
    open, closed = built.index({}), built.index({}, needs_key=True)
    assert open is not None
    assert closed is not None
    assert "</v1/about>; rel=preload; as=fetch; crossorigin" in open.headers["link"]
    assert "link" not in closed.headers


def test_it_is_not_sent_again_to_who_has_it(folder: Path) -> None:
    built = Built(folder)
    first = built.index({})
    assert first is not None
    again = built.index({"if-none-match": first.headers["etag"]})
    assert again is not None
    assert again.status_code == 304


def test_assets_never_change(folder: Path) -> None:
    answer = Built(folder).asset("index-abc.js", {})
    assert answer is not None
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("name", ["nothing.js", "../index.html", "made-from", "..", ""])
def test_there_are_no_other_files(folder: Path, name: str) -> None:
    assert Built(folder).asset(name, {}) is None


def test_where_none_was_built_there_is_none(tmp_path: Path) -> None:
    assert Built(tmp_path).index({}) is None


def test_the_built_page_has_nothing_inline_and_no_other_address() -> None:
    if not (BUILT / "index.html").is_file() and os.environ.get("CI") != "true":
        pytest.skip("the page is not built")
    text = (BUILT / "index.html").read_text()
    assert "<style" not in text
    assert "style=" not in text
    assert " onclick" not in text
    assert text.count("<script") == text.count('<script type="module" crossorigin src="/assets/')
    assert [part.split('"')[0] for part in text.split('src="')[1:] if not part.startswith("/assets/")] == []
