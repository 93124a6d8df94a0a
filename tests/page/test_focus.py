"""Where the focus is: it goes through the page in order, is seen, comes back from dialogs, and is never lost."""

from __future__ import annotations

import pytest

from paging import Demo, Shown, until

pytestmark = pytest.mark.slow

VIEW = "symbol=BTCUSDT&interval=1m"
#: What has the focus: its place in the document, whether it can be seen, and how it is told from others.
_FOCUSED = """() => {
    const one = document.activeElement;
    if (one === document.body) return null;
    const {outlineStyle, outlineWidth} = getComputedStyle(one);
    const all = [...document.querySelectorAll('*')];
    return {place: all.indexOf(one), isSeen: one.checkVisibility(), html: one.outerHTML.slice(0, 90),
        isMarked: outlineStyle !== 'none' && parseFloat(outlineWidth) > 0};
}"""
_DIALOGS = [
    ("#indicators-open", "#catalogue"),
    ("#go-open", "#go"),
    ("#palette-open", "#palette"),
    ("#help", "#keys"),
]


def focused(shown: Shown) -> str:
    """The symbol of the row that has the focus; empty if none has."""
    script = "document.activeElement.closest('tr[data-symbol]')?.dataset.symbol ?? ''"
    return shown.page.evaluate(script)  # type: ignore[no-any-return]


def test_tab_goes_through_the_page_in_order(shown: Shown, demo: Demo) -> None:
    shown.open(demo, f"{VIEW}&show=sma_20")
    shown.page.wait_for_selector(".legend .name")
    shown.page.evaluate("document.activeElement.blur()")
    places: list[int] = []
    for _ in range(300):
        shown.page.keyboard.press("Tab")
        now = shown.page.evaluate(_FOCUSED)
        if now is None or now["place"] == 0:  # out of the page: all of it was gone through
            break
        assert now["isSeen"], now
        assert now["isMarked"], now
        if places and now["place"] <= places[0]:
            break
        places.append(now["place"])
    else:
        pytest.fail("the focus never leaves the page")
    assert len(places) > 30
    assert places == sorted(set(places)), "the order of the keys is that of the page"


@pytest.mark.parametrize(("opener", "dialog"), _DIALOGS)
def test_a_dialog_gives_the_focus_back(shown: Shown, demo: Demo, opener: str, dialog: str) -> None:
    shown.open(demo, VIEW)
    shown.page.focus(opener)
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector(dialog, state="visible")
    assert shown.page.evaluate(f"document.querySelector('{dialog}').contains(document.activeElement)")
    shown.page.keyboard.press("Escape")
    shown.page.wait_for_selector(dialog, state="hidden")
    assert shown.page.evaluate("'#' + document.activeElement.id") == opener


def test_an_added_symbol_has_the_focus_and_a_removed_one_gives_it_on(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    listed = demo.ask("/v1/symbols/listed?limit=1000")["data"]
    offered = next(row["symbol"] for row in listed if not row["is_followed"])
    shown.page.fill("#search", offered)
    shown.page.focus(f"#suggested button:text-is('Add {offered}')")
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector(f"tr[data-symbol={offered}]")
    until(lambda: focused(shown) == offered)
    shown.page.keyboard.press("Delete")
    shown.page.wait_for_selector(f"tr[data-symbol={offered}]", state="detached")
    until(lambda: focused(shown) not in ("", offered))
    shown.page.fill("#search", offered)
    shown.page.focus("#add")
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector(f"tr[data-symbol={offered}]")
    until(lambda: focused(shown) == offered)
    shown.page.keyboard.press("Delete")
    shown.page.wait_for_selector(f"tr[data-symbol={offered}]", state="detached")
    # What was asked of it at the moment at which it was removed may be a 404.
    assert not [error for error in shown.errors if offered not in error]
