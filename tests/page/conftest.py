"""A demo for all tests of a file, a Chromium, a page for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from paging import CHROMIUM, Demo, Shown, until
from tapeflow.api.page import BUILT


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    if not (BUILT / "index.html").is_file():
        pytest.fail("the page is not built: run python web/build.py")
    made = Demo(tmp_path_factory.mktemp("page"))
    made.start()
    try:  # its past is fetched
        until(lambda: len(made.ask("/v1/candles?symbol=BTCUSDT&interval=1m&limit=1000")["data"]) > 900)
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        lacking = "no Chromium: apt-get install chromium, or name one in CHROMIUM"
        pytest.fail(lacking) if os.environ.get("CI") else pytest.skip(lacking)
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM)
        yield made
        made.close()


@pytest.fixture
def shown(browser: Any) -> Iterator[Shown]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    yield Shown(page)
    page.unroute_all(behavior="ignoreErrors")  # a request may be on its way
    page.close()
