"""What alert rules see in rows, what the journal keeps, and who may be told: pure parts, and the routes over a hub."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import stat
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeflow.api import guard
from tapeflow.api.alerts import journal as journals
from tapeflow.api.alerts import outbox, watch
from tapeflow.api.alerts.addresses import Gate, Refused, is_public
from tapeflow.api.alerts.journal import KEPT, Delivery, Entry, Event, Journal, Line, encoded
from tapeflow.api.alerts.rulebook import Rulebook
from tapeflow.api.alerts.rules import (
    Coverage,
    Draft,
    Indicator,
    Level,
    Price,
    Rule,
    Stale,
    Webhook,
    check,
    merged,
    shown,
)
from tapeflow.api.alerts.targets import Teller, Undelivered, signature
from tapeflow.api.alerts.targets import check as check_target
from tapeflow.api.alerts.watch import Span, State, Trade, Value
from tapeflow.domain.errors import SettingsError

ABOVE = Price("BTCUSDT", "above", "100")


def crossings(when: Price, trades: list[tuple[int, str]]) -> list[int]:
    """By brute force, of whole trades in the order of their ids."""
    level, side, found = Level(when), None, []
    for number, price in sorted(trades):
        before, side = side, level.side(watch.Decimal(price), side)
        if before is False and side:
            found.append(number)
    return found


def seen(when: Price, trades: list[tuple[int, str]], state: State | None = None) -> list[str]:
    level, state = Level(when), state or State()
    rows = [watch.trade(when, level, state, Trade(str(number), price, number)) for number, price in trades]
    return [row.row for row in rows if row is not None]


def test_a_level_is_crossed_from_the_other_side_and_compared_exactly() -> None:
    prices = ["99.9", "100", "101", "99.99999999", "100.00000000", "99", "100.1"]
    assert seen(ABOVE, list(enumerate(prices, 1))) == ["2", "5", "7"]
    assert seen(Price("X", "below", "100"), list(enumerate(prices, 1))) == ["4"]  # at the level is beyond it
    assert seen(ABOVE, [(1, "100"), (2, "101")]) == []  # it has to come back first
    fine = Price("X", "above", "0.1", hysteresis="0.00000000000000000001")
    assert seen(fine, [(1, "0.0999"), (2, "0.1"), (3, "0.09999999999999999999"), (4, "0.1")]) == ["2"]


def test_within_the_hysteresis_the_side_stays() -> None:
    room = Price("X", "above", "100", hysteresis="1")
    assert seen(room, list(enumerate(["98", "100", "99", "100", "98.99", "100"], 1))) == ["2", "6"]


def test_trades_of_a_hole_tell_what_they_add() -> None:
    # 1 below, then a hole, 5 above: told once. The hole shows that it crossed twice.
    assert seen(ABOVE, [(1, "99"), (5, "101"), (2, "100"), (3, "99"), (4, "99")]) == ["5", "3-5"]
    assert seen(ABOVE, [(1, "99"), (4, "99"), (2, "100"), (3, "100")]) == ["2"]
    assert seen(ABOVE, [(1, "99"), (4, "99"), (3, "100"), (2, "99")]) == ["3"]
    assert seen(ABOVE, [(1, "99"), (2, "100"), (1, "99"), (2, "100")]) == ["2"]  # repeats are nothing


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["98", "99", "100", "101"]), min_size=2, max_size=40), st.integers(0, 1 << 30))
def test_once_holes_are_filled_every_crossing_was_told_once(prices: list[str], seed: int) -> None:
    order = list(enumerate(prices, 1))
    chance = random.Random(seed)
    late = [one for one in order[1:-1] if chance.random() < 0.5]
    chance.shuffle(late)
    given_rows = [one for one in order if one not in late]
    for one in late:  # no earlier than something newer
        given_rows.insert(chance.randint(given_rows.index(order[-1]) + 1, len(given_rows)), one)
    for when in (ABOVE, Price("X", "below", "100")):
        wanted, found = crossings(when, order), seen(when, given_rows)
        assert len(found) == len(set(found)) == len(wanted)
        ends = sorted(int(row.split("-")[-1]) for row in found)
        assert all(told >= true for told, true in zip(ends, wanted, strict=True))


@given(st.lists(st.sampled_from(["98", "99", "100", "101"]), max_size=30), st.integers(0, 30))
def test_a_state_that_was_written_and_read_goes_on_the_same(prices: list[str], cut: int) -> None:
    rows = [(number * 2 if number < 5 else number + 9, price) for number, price in enumerate(prices, 1)]
    rows += [(3, "99"), (5, "101")]
    state = State()
    first = seen(ABOVE, rows[:cut], state)
    state = msgspec.json.decode(msgspec.json.encode(state), type=State)
    assert first + seen(ABOVE, rows[cut:], state) == seen(ABOVE, rows)


def test_an_indicator_counts_by_its_newest_window() -> None:
    when = Indicator("X", "1s", "rsi_14", "rsi", "above", "70")
    level, state = Level(when), State()
    rows = [
        (1, 60.0, 0),
        (2, 70.0, 0),
        (2, 71.0, 1),
        (1, 80.0, 1),
        (3, 69.0, 0),
        (3, 70.5, 1),
        (3, 69.0, 2),
        (4, 75.0, 0),
    ]
    found = [watch.value(when, level, state, Value(at, at + 1, {"rsi": rsi}, n)) for at, rsi, n in rows]
    assert [one.row for one in found if one] == ["2.0", "4.0"]  # at 2 it was above already
    assert watch.value(when, level, state, Value(5, 6, {"other": 1.0})) is None


def test_holes_of_coverage_are_told_once_and_parts_of_them_are_no_others() -> None:
    when, state = Coverage("X"), State()
    run, old = Span("trades", 0, 10, "complete"), Span("trades", 10, 20, "gap", "missing_ids")
    assert watch.spans(when, state, [run, old]) == []
    new = Span("trades", 30, 50, "gap", "missing_ids")
    assert [one.row for one in watch.spans(when, state, [run, old, new])] == ["trades.30.opened"]
    parts = [Span("trades", 30, 35, "gap", "missing_ids"), Span("trades", 40, 50, "gap", "missing_ids")]
    assert watch.spans(when, state, [run, *parts]) == []
    given_up, state = Coverage("X", on="given_up"), State(known=[])
    assert watch.spans(given_up, state, [new]) == []
    assert len(watch.spans(given_up, state, [Span("trades", 30, 50, "gap", "not_at_venue")])) == 1


def test_a_silence_is_told_once_and_survives_a_restart() -> None:
    when, state, second = Stale("X", 5), State(), 1_000_000
    assert [watch.silence(when, state, 7, at * second) for at in range(6)] == [None] * 6
    state = msgspec.json.decode(msgspec.json.encode(state), type=State)
    found = watch.silence(when, state, 7, 6 * second)
    assert found is not None
    assert found.row == "7"
    assert watch.silence(when, state, 7, 9 * second) is None
    assert watch.silence(when, state, 8, 10 * second) is None
    assert watch.silence(when, state, 8, 16 * second) is not None


# -- rules and secrets -------------------------------------------------------------------------------------


def draft(**target: Any) -> Draft:
    return msgspec.convert(
        {"when": {"kind": "price", "symbol": "X", "crosses": "above", "level": "1"}, "targets": [target]}, Draft
    )


HOOK = {"type": "webhook", "name": "a", "url": "https://h.example/secret-path", "secret": "s3cret"}


def test_what_is_shown_has_no_secret() -> None:
    text = json.dumps(shown(Rule(id="1", **{n: getattr(draft(**HOOK), n) for n in Draft.__struct_fields__})))
    assert "s3cret" not in text
    assert "secret-path" not in text
    assert "https://h.example/..." in text


def test_a_target_keeps_url_and_secret_unless_the_url_is_another(tmp_path: Path) -> None:
    book = Rulebook(tmp_path)
    rule = book.add(draft(**HOOK))
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600
    assert Rulebook(tmp_path).rules == {rule.id: rule}
    for sent, secret in (
        ({"type": "webhook", "name": "a"}, "s3cret"),
        (HOOK | {"secret": None}, "s3cret"),
        (HOOK | {"secret": ""}, ""),
        (HOOK | {"secret": None, "url": "https://evil.example"}, None),
    ):
        (target,) = merged(draft(**sent), rule).targets
        assert isinstance(target, Webhook)
        assert target.secret == secret
    book.path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        Rulebook(tmp_path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "has no url"),
        ("ftp://a.example", "expected an http"),
        ("https://", "expected an http"),
        ("https://a b", "expected an http"),
        ("https://user:pw@a.example", "user and password"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check(draft(type="webhook", name="a", url=url))


@pytest.mark.parametrize("level", ["", "1e5", "nan", "0x1", "1.", "٣", "1" * 41, "+1"])
def test_a_level_is_a_plain_decimal(level: str) -> None:
    with pytest.raises(SettingsError, match="expected a decimal"):
        check(Draft(Price("X", "above", level)))


def test_apprise_only_where_it_is_allowed_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    (target,) = draft(type="apprise", name="a", url="json://localhost").targets
    with pytest.raises(Undelivered, match="apprise = true"):
        check_target(target, has_apprise=False)
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(Undelivered, match=r"pip install 'tapeflow\[alerts\]'"):
        check_target(target, has_apprise=True)


# -- who may be told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:db8::1", "127.1", "2130706433",
        "localhost", "", "::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::a00:1",
    ],
)  # fmt: skip
def test_what_is_no_public_address_is_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(Refused, match="allow_private"):
        Gate(allow_private=False).check(address)


def test_public_addresses_and_allowed_private_ones_are_let_through() -> None:
    for address in ("1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"):
        Gate(allow_private=False).check(address)
    for address in ("127.0.0.1", "::1", "10.0.0.1"):
        Gate(allow_private=True).check(address)
    with pytest.raises(Refused):
        Gate(allow_private=True).check("224.0.0.1")


def test_a_signature_is_the_hmac_of_time_and_body() -> None:
    made = hmac.new(b"key", b'17.{"a":1}', hashlib.sha256).hexdigest()
    assert signature("key", b'{"a":1}', 17) == f"t=17,v1={made}"


# -- the journal -------------------------------------------------------------------------------------------


def entry(number: int) -> Entry:
    return Entry(Event(f"r.t.{number}", "r", number, "X", "1.5", "1", "text"), {"a": Delivery(ts=number)})


def test_a_journal_is_what_was_written_up_to_the_last_whole_line(tmp_path: Path) -> None:
    lines = [
        Line(fired=(entry(1),), cursors={"t": "e.1"}, states={"r": State(side=True, last=1), "gone": State()}),
        Line(told=(("r.t.1", "a", Delivery("delivered", 2)),), states={"gone": None}),
        Line(fired=(entry(2),), cursors={"t": "e.2"}),
    ]
    journal = Journal(tmp_path)
    ends = [0]
    for line in lines:
        journal.write(encoded(line), sync=True)
        ends.append(journal.path.stat().st_size)
    journal.close()
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    whole = journal.path.read_bytes()
    for cut in range(len(whole) + 1):
        journal.path.write_bytes(whole[:cut])
        read = Journal(tmp_path)
        count = sum(end <= cut for end in ends[1:])
        expected = Journal(tmp_path / "none")
        for line in msgspec.convert(msgspec.to_builtins(lines[:count]), list[Line]):
            expected.take(line)
        assert (read.entries, read.cursors, read.states) == (expected.entries, expected.cursors, expected.states)
        if cut % 50 == 0:  # what was torn is gone, what is added is whole
            read.write(encoded(Line(cursors={"z": "1"})), sync=False)
            read.close()
            assert Journal(tmp_path).cursors == expected.cursors | {"z": "1"}


def test_a_journal_that_was_damaged_inside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alerts.journal").write_bytes(b'{"cursors":{}}\n{"cur\n{"cursors":{}}\n')
    with pytest.raises(SettingsError, match="line 2"):
        Journal(tmp_path)


def test_a_journal_is_bounded_and_written_anew_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.take(Line(fired=tuple(entry(number) for number in range(KEPT + 3)), states={"r": State(last=9)}))
    assert [id for id, _, _ in journal.trim()] == ["r.t.0", "r.t.1", "r.t.2"]
    journal.write(encoded(Line(fired=tuple(entry(number) for number in range(KEPT + 3)))), sync=False)
    assert Journal(tmp_path).entries == journal.entries  # what was dropped does not come back
    journal.renew(journal.whole())
    journal.write(encoded(Line(cursors={"t": "e.1"})), sync=False)
    journal.close()
    read = Journal(tmp_path)
    assert read.entries == journal.entries
    assert (read.cursors, read.states) == ({"t": "e.1"}, {"r": State(last=9)})


def test_a_journal_that_is_opened_often_is_written_anew_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "GROWTH", 1000)
    sizes = []
    for life in range(20):
        journal = Journal(tmp_path)
        if journal.is_grown:
            journal.renew(journal.whole())
        for number in range(10):
            line = Line(cursors={"t": f"e.{life}{number}"})
            journal.take(line)
            journal.write(encoded(line), sync=False)
        journal.close()
        sizes.append(journal.path.stat().st_size)
    assert max(sizes) < 2000


# -- deliveries --------------------------------------------------------------------------------------------


def test_a_lane_keeps_its_order_and_tries_again_with_the_same_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_S", 0.001)
    asyncio.run(_lane())


async def _lane() -> None:
    told: list[str] = []
    marks: list[tuple[str, str, int]] = []
    failures = 3
    (target,) = draft(**HOOK).targets

    async def tell(_: Any, event: Event) -> None:
        nonlocal failures
        told.append(event.id)
        if failures:
            failures -= 1
            raise Undelivered("down")

    async def mark(event: Event, name: str, delivery: Delivery) -> None:
        marks.append((event.id, delivery.state, delivery.attempts))

    box = outbox.Outbox(lambda rule, name: target if name == "a" else None, tell, mark)
    now = 4_000_000_000_000_000  # not given up
    events = [msgspec.structs.replace(entry(number).event, ts_fired=now) for number in (1, 2)]
    for event in events:
        box.put(event, "a", Delivery())
    box.put(events[0], "gone", Delivery())
    box.put(msgspec.structs.replace(events[0], id="old", rule="other", ts_fired=1), "a", Delivery())
    async with asyncio.timeout(10):
        while box._tasks:
            await asyncio.sleep(0.01)
    of_lane = [id for id in told if id != "old"]
    assert [id for n, id in enumerate(of_lane) if id not in of_lane[:n]] == ["r.t.1", "r.t.2"]
    assert ("r.t.1", "failed", 0) in marks  # its target was removed
    assert marks[-1][:2] in (("r.t.2", "delivered"), ("old", "delivered"))
    await box.close()


def test_a_lane_outlives_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_S", 0.001)
    marks: list[tuple[str, int, str]] = []
    (target,) = draft(**HOOK).targets

    async def tell(_: Any, event: Event) -> None:
        if not marks:
            raise RuntimeError("secret place")

    async def mark(event: Event, name: str, delivery: Delivery) -> None:
        marks.append((delivery.state, delivery.attempts, delivery.last_error))

    async def run() -> None:
        box = outbox.Outbox(lambda rule, name: target, tell, mark)
        box.put(msgspec.structs.replace(entry(1).event, ts_fired=4_000_000_000_000_000), "a", Delivery())
        async with asyncio.timeout(10):
            while len(marks) < 2:
                await asyncio.sleep(0.01)
        await box.close()

    asyncio.run(run())
    assert marks[1] == ("delivered", 2, "")
    assert marks[0][:2] == ("waiting", 1)
    assert "secret" not in marks[0][2]


def test_a_target_that_says_when_is_left_alone_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_S", 0.001)
    later = datetime.now(UTC) + timedelta(seconds=4)
    for asked, least, most in (("1", 1.0, 1.9), (format_datetime(later, usegmt=True), 1.0, 3.5), ("soon", 0.0, 0.9)):
        took = asyncio.run(_asked_to_wait(asked))
        assert least <= took <= most, (asked, took)


async def _asked_to_wait(after: str) -> float:
    """Seconds between the two attempts at a server that refuses the first one with this `Retry-After`."""
    came: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        came.append(time.monotonic())
        return web.Response(status=503 if len(came) == 1 else 200, headers={"Retry-After": after})

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    teller = Teller(allow_private=True, has_apprise=False)
    target = Webhook("a", f"http://127.0.0.1:{runner.addresses[0][1]}/")
    states: list[str] = []

    async def mark(event: Event, name: str, delivery: Delivery) -> None:
        states.append(delivery.state)

    box = outbox.Outbox(lambda rule, name: target, teller.tell, mark)
    box.put(msgspec.structs.replace(entry(1).event, ts_fired=4_000_000_000_000_000), "a", Delivery())
    async with asyncio.timeout(20):
        while "delivered" not in states:
            await asyncio.sleep(0.01)
    await box.close()
    await teller.close()
    await runner.cleanup()
    return came[1] - came[0]


def test_writing_takes_an_administrator_where_keys_are_needed() -> None:
    for method, path in (("POST", "/v1/alerts"), ("PUT", "/v1/alerts/1"), ("DELETE", "/v1/alerts/1")):
        assert guard._needed(method, path) == "admin"
    assert guard._needed("POST", "/v1/alerts/1/test") == "admin"
    assert guard._needed("GET", "/v1/alerts/events") == "read"
