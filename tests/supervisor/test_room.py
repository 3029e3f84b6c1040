"""A room: what one session may take of it, and what is left for the others whatever the rest of them do."""

from __future__ import annotations

import threading

from agex_supervisor.room import Room, Share
from tests.supervisor.conftest import HANG_S


def filled(share: Share) -> int:
    """How many places it can take in a row."""
    before = share.taken
    while share.take():
        pass
    return share.taken - before


def test_a_session_gets_no_more_places_than_its_own_bound() -> None:
    room = Room(100)
    assert filled(Share(room, 4)) == 4
    assert room.left == 96


def test_each_greedy_session_leaves_as_many_places_as_it_took_and_the_last_ones_go_to_those_without_any() -> None:
    room = Room(64)
    assert [filled(Share(room, 64)) for _ in range(8)] == [32, 16, 8, 4, 2, 1, 1, 0]


def test_sessions_that_hold_all_they_may_do_not_keep_a_newcomer_out() -> None:
    room = Room(64)
    hanging = [Share(room, 4) for _ in range(16)]
    assert [filled(share) for share in hanging] == [4] * 15 + [2]
    assert Share(room, 4).take()


def test_what_was_given_back_can_be_taken_again_by_whoever_waited_for_it() -> None:
    share = Share(Room(10), 1)
    assert share.take()
    assert not share.take()
    threading.Timer(0.05, share.give_back).start()
    assert share.take(HANG_S)
    assert (share.taken, share.take()) == (1, False)
