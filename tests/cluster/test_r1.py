"""R1 from end to end: one command, two topics, the page in Chromium, and nothing left after Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
import pytest

from cluster.cluster import rows
from cluster.r1 import (
    KLINES,
    MEANS,
    SYMBOLS,
    Arrivals,
    Recipe,
    Row,
    arrivals,
    browsed,
    change,
    closed,
    folder,
    in_words,
    latencies,
    means_of,
)
from paging import CHROMIUM, until
from serving import Client
from tapeflow.stack import machine

pytestmark = pytest.mark.slow

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
    arrived = _show(recipe)
    _form(recipe.address)
    pushes = rows(recipe.bootstrap, KLINES)
    expected = means_of(pushes)
    assert len(expected) > 20 * len(SYMBOLS)

    def differing() -> list[str]:
        found = closed(rows(recipe.bootstrap, MEANS))
        return [f"{key}: {found.get(key)}, true {want}" for key, want in expected.items() if found.get(key) != want]

    until(lambda: not differing() or bool(closed(rows(recipe.bootstrap, MEANS)).keys() >= expected.keys()))
    assert differing() == []
    print(f"\n{len(expected)} means compared", *_told_of("exactly_once", arrived, pushes), sep="\n")
    change(recipe, "at_least_once")
    with browsed(recipe.address) as shown:
        arrived = arrivals(shown, 15)
    print(*_told_of("at_least_once", arrived, rows(recipe.bootstrap, KLINES)), sep="\n")
    assert recipe.stop() == 0, recipe.said.read_text()
    assert recipe.processes() == []


def _told_of(guarantee: str, arrived: Arrivals, pushes: Sequence[Row]) -> list[str]:
    """The latency in words; what was drawn is in the topic, and came before it was drawn."""
    assert latencies(arrived.drawn, pushes), "forming rows come, and what is in them is in the topic"
    assert all(arrived.socket[key] <= drawn for key, drawn in arrived.drawn.items())
    return list(in_words(guarantee, arrived, pushes))


STEPS = ("sma_20", "ema_20", "rsi_14")
Key = tuple[str, str, int]


def _form(address: str) -> None:
    """Indicators form, by the stream and by REST, and windows close with what was told of them last."""
    forming, closed = asyncio.run(_told(address, 30))
    both = [key for key in closed if key in forming and forming[key]["revision"] == closed[key]["revision"]]
    assert len(both) > 10 * len(SYMBOLS) * len(STEPS)
    assert [key for key in both if forming[key]["bars"] != closed[key]["bars"]] == []
    # What a window closes with may have come with its end; but it stays open two seconds longer than its trades do.
    equal = [key for key in both if forming[key]["values"] == pytest.approx(closed[key]["values"], rel=1e-9)]
    print(f"\n{len(equal)} of {len(both)} windows closed with the values that had formed")
    assert len(equal) > 0.9 * len(both)
    rows = Client(address).rows(f"/v1/indicators?symbol={SYMBOLS[0]}&interval=1s&forming=true&limit=100")
    assert {row["name"] for row in rows if not row["closed"]} == set(STEPS)


async def _told(address: str, seconds: float) -> tuple[dict[Key, Any], dict[Key, Any]]:
    """The last forming row of each window that closed, and the first closed one, as a client of the stream has them."""
    forming: dict[Key, Any] = {}
    closed: dict[Key, Any] = {}
    asked = {"symbols": list(SYMBOLS), "interval": "1s", "snapshot": 0}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/v1/stream") as ws:
        for channel in ("indicators", "indicators.forming"):
            await ws.send_json({"method": "subscribe", "params": asked | {"channel": channel}})
        end = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < end:
                async with asyncio.timeout(seconds):
                    message = await ws.receive_json()
                for row in message["data"] if message["type"] in ("snapshot", "update") else ():
                    key = (row["symbol"], row["name"], row["ts_start"])
                    if row["closed"]:
                        closed.setdefault(key, row)
                    elif key not in closed:
                        forming[key] = row
    return forming, closed


def _show(recipe: Recipe) -> Arrivals:
    """The page, in Chromium: the mean moves, its trend is drawn; when its rows came."""
    assert CHROMIUM is not None, "no Chromium: apt-get install chromium, or name one in CHROMIUM"
    with browsed(recipe.address) as shown:
        seen: set[str] = set()

        def changes() -> bool:
            seen.add(shown.text("#mean-value"))
            return len([text for text in seen if text[:1].isdigit()]) >= 3

        until(changes)
        assert shown.text("#mean-window") == "3 s every 0.5 s"
        until(lambda: shown.page.evaluate(_TREND) > 20)
        found = arrivals(shown, 20)
        print("\nrefused to the page:", *sorted(shown.refused), sep="\n  ")  # a gateway has no alerts
        assert [text for text in shown.errors if "Failed to load resource" not in text] == []
        assert shown.violations() == []
    return found
