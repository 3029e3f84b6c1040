"""What a worker may say when: the whole table, tried cell by cell."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from agex_protocol import messages as m
from agex_protocol import zygote_messages as zm
from agex_protocol.errors import ProtocolError
from agex_protocol.turns import ENDINGS, FROM_WORKER, FROM_ZYGOTE, Conversation

ACTION = b"a" * 16
NOTHING = m.Encoded(b"")
SAID: dict[type, Any] = {
    m.Notifying: m.Notifying(),
    m.Ready: m.Ready(1, (), ()),
    m.Refused: m.Refused("seccomp", "no"),
    m.Begun: m.Begun(""),
    m.Buffer: m.Buffer(ACTION, b"", True),
    m.Call: m.Call(ACTION, 1, "f", ()),
    m.Dial: m.Dial(ACTION, 1, "host", 443),
    m.Room: m.Room(ACTION, 1, 1 << 20),
    m.Recall: m.Recall(ACTION, 1, "key"),
    m.Remember: m.Remember(ACTION, 1, "key", "plain", "int", "1", NOTHING),
    m.Forget: m.Forget(ACTION, 1, "key"),
    m.Recount: m.Recount(ACTION, 1),
    m.Viewed: m.Viewed(ACTION, NOTHING),
    m.Filled: m.Filled(ACTION, 64),
    m.Dropped: m.Dropped(ACTION, (1,)),
    m.Denied: m.Denied(ACTION, "landlock", "open", "/etc"),
    m.Returned: m.Returned(ACTION, ("@" + "0" * 32,)),
    m.Finished: m.Finished(ACTION, NOTHING),
    m.Succeeded: m.Succeeded(ACTION, NOTHING),
    m.GaveUp: m.GaveUp(ACTION, ""),
    m.Asked: m.Asked(ACTION, ""),
    m.Raised: m.Raised(ACTION, "", "", ""),
    m.Kept: m.Kept(ACTION, "", "", ""),
    m.Done: m.Done(ACTION, "", 0, (), ()),
}
LEADS_TO = {
    m.Notifying: "notified",
    m.Refused: "over",
    m.Call: "answering",
    m.Dial: "answering",
    m.Room: "answering",
    m.Recall: "answering",
    m.Remember: "answering",
    m.Forget: "answering",
    m.Recount: "answering",
}


def conversation(state: str) -> Conversation:
    talk = Conversation()
    if state == "over":
        talk.heard(SAID[m.Refused])
    elif state == "notified":
        talk.heard(SAID[m.Notifying])
    elif state != "starting":
        talk.heard(SAID[m.Ready])
        if state == "beginning":
            talk.begin()
        elif state in ("running", "answering"):
            talk.run(ACTION)
        elif state == "using":
            talk.use(ACTION)
        elif state == "tending":
            talk.tend(ACTION)
        if state == "answering":
            talk.heard(SAID[m.Call])
    assert talk.state == state
    return talk


def test_the_table_speaks_of_every_message_of_a_worker_and_of_nothing_else() -> None:
    assert set(SAID) == set(get_args(m.ToSupervisor)) == set().union(*FROM_WORKER.values())
    assert set(get_args(zm.FromZygote)) == set().union(*FROM_ZYGOTE.values())
    assert set(get_args(m.Ending)) == ENDINGS


@pytest.mark.parametrize("kind", SAID, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", FROM_WORKER)
def test_a_message_is_admitted_in_its_states_only(state: str, kind: type) -> None:
    talk = conversation(state)
    if kind not in FROM_WORKER[state]:
        with pytest.raises(ProtocolError) as caught:
            talk.heard(SAID[kind])
        assert str(caught.value) == f"{kind.__name__} while {state}"
        return
    talk.heard(SAID[kind])
    goes_on = state if kind in (m.Buffer, m.Denied, m.Filled, m.Dropped, m.Returned, m.Viewed) else "idle"
    assert talk.state == LEADS_TO.get(kind, goes_on)


@pytest.mark.parametrize(
    ("state", "kind"),
    [(state, kind) for state in ("running", "using") for kind in sorted(FROM_WORKER[state], key=str)],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_a_forged_action_id_is_refused_whatever_it_is_on(state: str, kind: type) -> None:
    forged = SAID[kind]._replace(action=b"b" * 16)
    with pytest.raises(ProtocolError) as caught:
        conversation(state).heard(forged)
    assert str(caught.value) == f"{kind.__name__} for an action that is not under way"


def test_an_ending_is_heard_once() -> None:
    talk = conversation("running")
    talk.heard(SAID[m.Finished])
    with pytest.raises(ProtocolError):
        talk.heard(SAID[m.Finished])


@pytest.mark.parametrize("number", [0, 2, -1])
@pytest.mark.parametrize("kind", [m.Call, m.Dial, m.Room, *get_args(m.OfCache)], ids=lambda kind: str(kind.__name__))
def test_all_that_is_answered_is_counted_together_from_one_without_a_gap(number: int, kind: type) -> None:
    with pytest.raises(ProtocolError) as caught:
        conversation("running").heard(SAID[kind]._replace(call=number))
    assert str(caught.value) == f"call {number} where 1 was due"


def test_a_call_that_was_answered_cannot_be_made_again() -> None:
    talk = conversation("answering")
    talk.answered()
    with pytest.raises(ProtocolError) as caught:
        talk.heard(SAID[m.Call])
    assert str(caught.value) == "call 1 where 2 was due"


def test_a_turn_goes_on_as_what_it_was_after_a_call_of_it_was_answered() -> None:
    talk = conversation("using")
    talk.heard(SAID[m.Call])
    assert talk.state == "answering"
    talk.answered()
    assert talk.state == "using"
    with pytest.raises(ProtocolError) as caught:
        talk.heard(SAID[m.Succeeded])
    assert str(caught.value) == "Succeeded while using"


def test_calls_are_answered_one_by_one_and_counted_anew_in_the_next_action() -> None:
    talk = conversation("answering")
    talk.answered()
    talk.heard(m.Dial(ACTION, 2, "host", 443))
    talk.answered()
    talk.heard(SAID[m.Finished])
    talk.run(ACTION)
    talk.heard(m.Call(ACTION, 1, "f", ()))


def test_the_cache_and_images_are_there_for_scripts_and_not_for_the_objects_behind_handles() -> None:
    only = FROM_WORKER["running"] - FROM_WORKER["using"] - ENDINGS
    assert only == {*get_args(m.OfCache), m.Viewed}


def test_the_listener_is_handed_over_once_and_only_before_the_worker_is_ready() -> None:
    talk = conversation("notified")
    with pytest.raises(ProtocolError) as caught:
        talk.heard(SAID[m.Notifying])
    assert str(caught.value) == "Notifying while notified"
    talk.heard(SAID[m.Ready])
    with pytest.raises(ProtocolError):
        talk.heard(SAID[m.Notifying])


@pytest.mark.parametrize("state", FROM_WORKER)
def test_the_supervisor_asks_only_an_idle_worker(state: str) -> None:
    if state == "idle":
        conversation(state).run(ACTION)
        conversation(state).use(ACTION)
        conversation(state).tend(ACTION)
        conversation(state).begin()
        return
    for ask in ("run", "use", "tend"):
        with pytest.raises(ProtocolError) as caught:
            getattr(conversation(state), ask)(ACTION)
        assert str(caught.value) == f"the worker is {state}, not idle"
    with pytest.raises(ProtocolError):
        conversation(state).begin()
