"""Seats: so many at once, and what waits for others lends its own."""

from __future__ import annotations

import threading
from contextvars import copy_context

from agex_supervisor.seats import Seat, Seats, lending


class Holder:
    def __init__(self, seat: Seat | None) -> None:
        self.seat = seat


def taken(seats: Seats) -> Seat:
    seat = seats.take(0)
    assert seat is not None
    return seat


def test_there_are_so_many_and_one_that_is_given_back_is_free_again() -> None:
    seats = Seats(2)
    first, _ = taken(seats), taken(seats)

    assert seats.take(0) is None
    seats.give_back(first)
    taken(seats)
    assert seats.take(0) is None


def test_what_a_lender_waits_for_takes_its_seat_and_no_free_one() -> None:
    seats = Seats(2)
    with lending(Holder(taken(seats))):
        below = taken(seats)
        assert seats.lent == 1
        taken(seats)  # the lender's is taken: this is the free one
        assert seats.take(0) is None
        seats.give_back(below)
        assert seats.lent == 0
        taken(seats)  # the lender's again
    assert seats.take(0) is None


def test_a_chain_of_any_length_needs_one_seat() -> None:
    seats = Seats(1)
    chain = [taken(seats)]

    def deeper() -> None:
        with lending(Holder(chain[-1])):
            if len(chain) < 20:
                chain.append(taken(seats))
                deeper()

    deeper()
    assert seats.lent == 19
    for seat in reversed(chain):
        seats.give_back(seat)
    assert seats.lent == 0
    taken(seats)
    assert seats.take(0) is None


def test_who_took_a_seat_keeps_it_when_the_lender_gives_it_back_first() -> None:
    seats = Seats(1)
    top = taken(seats)
    with lending(Holder(top)):
        middle = taken(seats)
        with lending(Holder(middle)):
            bottom = taken(seats)
    for gone in (middle, top):
        seats.give_back(gone)
        assert seats.take(0) is None

    assert seats.lent == 0
    seats.give_back(bottom)
    taken(seats)
    assert seats.take(0) is None


def test_nothing_is_lent_that_was_given_back_or_belongs_elsewhere_or_is_not_there() -> None:
    seats, others = Seats(1), Seats(1)
    gone = taken(seats)
    seats.give_back(gone)
    here = taken(seats)

    with lending(Holder(here)):
        assert others.take(0) is not None
        assert others.take(0) is None
        # Between the two are levels without a seat here: the nearest that has one lends it.
        with lending(Holder(None)), lending(Holder(gone)):
            assert taken(seats).under is here


def test_two_below_one_follow_each_other() -> None:
    seats = Seats(1)
    with lending(Holder(taken(seats))):
        first = taken(seats)
        context = copy_context()
        had: list[Seat | None] = []
        second = threading.Thread(target=context.run, args=(lambda: had.append(seats.take(60)),))
        second.start()
        seats.give_back(first)
        second.join()
    assert had[0] is not None
