"""Coverage of streams without a sequence: from what a tape says of its connections."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tapeflow.engine.presence import KEPT, Presence, PresenceState

QUOTES = [("x@bookTicker", ("quotes", "X"))]


def spans(presence: Presence) -> list[tuple[int, int, str, str | None]]:
    return [(row["ts_start"], row["ts_end"], row["state"], row["reason"]) for row in presence.rows()]


def test_a_stream_is_complete_from_the_first_message_after_the_request_to_the_last() -> None:
    presence = Presence()
    presence.connected("c", 10)
    presence.heard("c", 11, 12)
    presence.asked("c", QUOTES)
    assert spans(presence) == []
    presence.heard("c", 15, 40)
    assert spans(presence) == [(15, 40, "complete", None)]
    (row,) = presence.rows()
    assert (row["stream"], row["symbol"], row["guarantee"], row["first_id"]) == ("quotes", "X", "none", None)


def test_between_two_connections_is_a_gap_with_its_reason() -> None:
    presence = Presence()
    for begin, why in ((10, "disconnected"), (50, "stopped"), (90, "")):
        presence.connected("c", begin)
        presence.asked("c", QUOTES)
        presence.heard("c", begin + 1, begin + 20)
        if why == "disconnected":
            presence.disconnected("c")
        elif why:
            presence.started()
    assert spans(presence) == [
        (11, 30, "complete", None),
        (30, 51, "gap", "disconnected"),
        (51, 70, "complete", None),
        (70, 91, "gap", "stopped"),
        (91, 110, "complete", None),
    ]


def test_connections_that_overlap_leave_no_gap() -> None:
    presence = Presence()
    for name, begin in (("a", 0), ("b", 50)):
        presence.connected(name, begin)
        presence.asked(name, QUOTES)
        presence.heard(name, begin + 1, begin + 60)
    presence.disconnected("a")
    presence.heard("b", 111, 200)
    assert spans(presence) == [(1, 200, "complete", None)]


def test_a_connection_that_died_without_a_word_ends_when_it_was_last_heard() -> None:
    presence = Presence()
    presence.connected("c", 0)
    presence.asked("c", QUOTES)
    presence.heard("c", 1, 10)
    presence.connected("c", 500)  # no end of the first is on the tape
    presence.asked("c", QUOTES)
    presence.heard("c", 501, 510)
    assert spans(presence)[1] == (10, 501, "gap", "stopped")


def test_a_stream_given_up_and_asked_for_again() -> None:
    presence = Presence()
    presence.connected("c", 0)
    presence.asked("c", QUOTES)
    presence.heard("c", 1, 10)
    presence.given_up("c", ["x@bookTicker", "never@asked"])
    presence.heard("c", 11, 20)
    presence.asked("c", QUOTES)
    presence.heard("c", 21, 30)
    assert spans(presence) == [(1, 10, "complete", None), (10, 21, "gap", "not_followed"), (21, 30, "complete", None)]


def test_old_spans_are_given_away_once_and_nothing_is_lost() -> None:
    presence, plain, given = Presence(), Presence(), []
    for turn in range(3 * KEPT):
        for one in (presence, plain):
            one.connected("c", turn * 100)
            one.asked("c", QUOTES)
            one.heard("c", turn * 100 + 1, turn * 100 + 50)
            one.disconnected("c")
        given += presence.settled()
    assert len(presence.rows()) == 2 * KEPT - 1
    assert given + presence.rows() == plain.rows()


STEPS = st.lists(
    st.tuples(st.sampled_from(["connected", "heard", "disconnected", "asked", "started"]), st.sampled_from("ab")),
    max_size=40,
)


def told(presence: Presence, steps: list[tuple[str, str]], at: int) -> None:
    for step, name in steps:
        at += 7
        arguments: dict[str, tuple[Any, ...]] = {
            "connected": (name, at),
            "heard": (name, at, at + 3),
            "disconnected": (name,),
            "asked": (name, QUOTES),
            "started": (),
        }
        getattr(presence, step)(*arguments[step])


@given(STEPS, STEPS)
def test_a_presence_restored_goes_on_as_the_one_that_was_kept(before: list[Any], after: list[Any]) -> None:
    whole, first, second = Presence(), Presence(), Presence()
    told(whole, before, 0)
    told(first, before, 0)
    packed = msgspec.msgpack.encode(first.state())
    second.restore(msgspec.msgpack.decode(packed, type=PresenceState))
    for one in (whole, second):
        told(one, after, 10_000)
    assert second.rows() == whole.rows()


@given(STEPS)
def test_complete_and_gap_take_turns_without_overlap(steps: list[Any]) -> None:
    presence = Presence()
    told(presence, steps, 0)
    found = spans(presence)
    assert [state for _, _, state, _ in found] == ["complete", "gap"] * (len(found) // 2) + ["complete"] * bool(found)
    for (_, end, _, _), (begin, _, _, _) in itertools.pairwise(found):
        assert begin == end
