"""The table of turns against a worker that says anything at any time: what it admits is in the table, and the rest changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from agex_protocol import messages as m
from agex_protocol.errors import ProtocolError
from agex_protocol.turns import ENDINGS, FROM_WORKER, Conversation
from tests.fuzz.samples import sample

KINDS = sorted(get_args(m.ToSupervisor), key=lambda kind: str(kind.__name__))
ACTIONS = [bytes([number]) * 16 for number in range(4)]

# Counted together, and answered one at a time.
ASKING = (m.Call, m.Dial, m.Room, *get_args(m.OfCache))

# What each message leads to, told a second time here: the state that the conversation has to be in afterwards.
AFTER: dict[str, Callable[[type], str]] = {
    "starting": lambda kind: {m.Notifying: "notified", m.Refused: "over"}.get(kind, "idle"),
    "notified": lambda kind: {m.Refused: "over"}.get(kind, "idle"),
    "beginning": lambda kind: "idle",
    "running": lambda kind: "idle" if kind in ENDINGS else "answering" if kind in ASKING else "running",
    "using": lambda kind: "idle" if kind in ENDINGS else "answering" if kind in ASKING else "using",
}


class Talk(RuleBasedStateMachine):
    """`state`, `action` and `calls` are this machine's own account; after each step the conversation has to agree."""

    @initialize()
    def begin(self) -> None:
        self.said: list[Any] = []
        self.another_worker(ready=False)

    @precondition(lambda self: self.dead)
    @rule(ready=st.booleans())
    def another_worker(self, ready: bool) -> None:
        """One that broke the rules is killed; the next may say again what that one said."""
        self.conversation = Conversation()
        self.state, self.action, self.calls = "starting", b"", 0
        self.asked_in = "running"
        self.dead = False
        if ready:
            self._heard(sample(m.Ready))
            self.the_supervisor_asks(ACTIONS[0])

    @precondition(lambda self: not self.dead)
    @rule(kind=st.sampled_from(KINDS), action=st.sampled_from([*ACTIONS, b""]), call=st.integers(-1, 3))
    def the_worker_says(self, kind: type[NamedTuple], action: bytes, call: int) -> None:
        given = {name: value for name, value in (("action", action), ("call", call)) if name in kind._fields}
        self._heard(sample(kind)._replace(**given))

    @precondition(lambda self: not self.dead and FROM_WORKER[self.state])
    @rule(data=st.data(), wrong=st.sampled_from(["", "", "", "action", "call"]))
    def the_worker_says_what_is_due(self, data: st.DataObject, wrong: str) -> None:
        kind = data.draw(st.sampled_from([kind for kind in KINDS if kind in FROM_WORKER[self.state]]))
        action = data.draw(st.sampled_from(ACTIONS)) if wrong == "action" else self.action
        call = self.calls + data.draw(st.integers(-1, 3)) if wrong == "call" else self.calls + 1
        given = {name: value for name, value in (("action", action), ("call", call)) if name in kind._fields}
        self._heard(sample(kind)._replace(**given))

    @precondition(lambda self: not self.dead and self.said)
    @rule(data=st.data())
    def the_worker_says_again_what_it_said(self, data: st.DataObject) -> None:
        self._heard(data.draw(st.sampled_from(self.said)))

    @precondition(lambda self: not self.dead)
    @rule(action=st.sampled_from(ACTIONS))
    def the_supervisor_asks(self, action: bytes) -> None:
        if self._moved(lambda: self.conversation.run(action), "idle", "running"):
            self.action, self.calls = action, 0

    @precondition(lambda self: not self.dead)
    @rule(action=st.sampled_from(ACTIONS))
    def the_supervisor_uses_an_object(self, action: bytes) -> None:
        if self._moved(lambda: self.conversation.use(action), "idle", "using"):
            self.action, self.calls = action, 0

    @precondition(lambda self: not self.dead)
    @rule()
    def the_supervisor_begins(self) -> None:
        self._moved(self.conversation.begin, "idle", "beginning")

    @precondition(lambda self: not self.dead)
    @rule()
    def the_supervisor_answers(self) -> None:
        self._moved(self.conversation.answered, "answering", self.asked_in)

    def _moved(self, move: Callable[[], None], before: str, after: str) -> bool:
        """The supervisor's own step is refused in every state but one."""
        fits = self.state == before
        if fits:
            move()
            self.state = after
        else:
            with pytest.raises(ProtocolError):
                move()
        assert self.conversation.state == self.state
        return fits

    def _heard(self, message: Any) -> None:
        self.said.append(message)
        if self._is_due(message):
            self.conversation.heard(message)
            self.calls += isinstance(message, ASKING)
            self.asked_in = self.state
            self.state = AFTER[self.state](type(message))
            assert (self.conversation.state, self.conversation.action) == (self.state, self.action)
            return
        with pytest.raises(ProtocolError):
            self.conversation.heard(message)
        assert self.conversation.action == self.action
        self.dead = True

    def _is_due(self, message: Any) -> bool:
        if type(message) not in FROM_WORKER[self.state]:
            return False
        if self.state in ("running", "using") and message.action != self.action:
            return False
        return not isinstance(message, ASKING) or message.call == self.calls + 1


def test_nothing_that_a_worker_says_leaves_the_table_of_turns() -> None:
    run_state_machine_as_test(Talk, settings=settings(derandomize=True, max_examples=150, stateful_step_count=30))
