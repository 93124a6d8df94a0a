"""R1 from end to end: one command, two topics, the page in Chromium, and nothing left after Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from cluster.cluster import rows
from cluster.r1 import KLINES, MEANS, SYMBOLS, Recipe, arrivals, closed, folder, in_words, latencies, means_of
from paging import CHROMIUM, Shown, until
from tapeflow.stack import machine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flink")]

#: Pixels of the mean's canvas that are coloured and not the line of the mean itself: the trend is green or red.
_TREND = """() => {
  const canvas = document.getElementById("mean-canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = style.getPropertyValue(name);
    document.body.append(probe);
    const found = getComputedStyle(probe).color.match(/[0-9.]+/g).map(Number);
    probe.remove();
    return found;
  };
  const wanted = [colour("--up"), colour("--down")];
  let count = 0;
  const is = (one, at) => [0, 1, 2].every((channel) => Math.abs(one[channel] - data[at + channel]) < 24);
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 60 && wanted.some((one) => is(one, at))) count++;
  return count;
}"""


@pytest.fixture
def recipe() -> Iterator[Recipe]:
    if list(machine.lacks_java()) and not os.environ.get("CI"):
        pytest.skip("no Java")
    with folder() as made:
        one = Recipe(made)
        try:
            one.start()
            yield one
        finally:
            one.end()


def test_r1_from_frame_to_page(recipe: Recipe) -> None:
    until(lambda: len(closed(rows(recipe.bootstrap, MEANS))) > 20 * len(SYMBOLS))
    _show(recipe)
    arrived = asyncio.run(arrivals(recipe.address, 20))
    pushes = rows(recipe.bootstrap, KLINES)
    expected = means_of(pushes)
    assert len(expected) > 20 * len(SYMBOLS)

    def differing() -> list[str]:
        found = closed(rows(recipe.bootstrap, MEANS))
        return [f"{key}: {found.get(key)}, true {want}" for key, want in expected.items() if found.get(key) != want]

    until(lambda: not differing() or bool(closed(rows(recipe.bootstrap, MEANS)).keys() >= expected.keys()))
    assert differing() == []
    found = latencies(arrived, pushes)
    assert found, "forming rows come, and what is in them is in the topic"
    print(f"\n{len(expected)} means compared; {in_words('exactly_once', found)}")
    assert recipe.stop() == 0, recipe.said.read_text()
    assert recipe.processes() == []


def _show(recipe: Recipe) -> None:
    """The page, in Chromium: the mean moves, its trend is drawn."""
    assert CHROMIUM is not None, "no Chromium: apt-get install chromium, or name one in CHROMIUM"
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = Shown(browser.new_page(viewport={"width": 1440, "height": 900}))
        shown.page.set_default_timeout(120_000)
        refused: set[str] = set()
        shown.page.on("response", lambda one: refused.add(f"{one.status} {one.url}") if one.status >= 400 else None)
        shown.page.goto(f"{recipe.address}/#symbol={SYMBOLS[0]}&interval=1s")
        shown.live()
        seen: set[str] = set()

        def changes() -> bool:
            seen.add(shown.text("#mean-value"))
            return len([text for text in seen if text[:1].isdigit()]) >= 3

        until(changes)
        assert shown.text("#mean-window") == "3 s every 0.5 s"
        until(lambda: shown.page.evaluate(_TREND) > 20)
        print("\nrefused to the page:", *sorted(refused), sep="\n  ")  # a gateway has no alerts and no forming steps
        assert [text for text in shown.errors if "Failed to load resource" not in text] == []
        assert shown.violations() == []
        browser.close()
