"""Which message may come when, as tables; and the two conversations that hold a peer to them.

One request in, any number of buffers and calls out, exactly one ending. No multiplexing.
"""

from __future__ import annotations

from typing import Any

from agex_protocol import messages as m
from agex_protocol import zygote_messages as zm
from agex_protocol.errors import ProtocolError

ENDINGS = frozenset({m.Finished, m.Succeeded, m.GaveUp, m.Asked, m.Raised, m.Kept, m.Done})
# Each is answered before anything else is said, and they are counted together.
_OF_CACHE = frozenset({m.Recall, m.Remember, m.Forget, m.Recount})
_ASKED = frozenset({m.Call, m.Dial, m.Room})
_QUESTIONS = _ASKED | _OF_CACHE
_WORDS = _ASKED | {m.Buffer, m.Filled, m.Dropped, m.Denied, m.Returned}

# What the supervisor may hear from a worker, by state.
FROM_WORKER: dict[str, frozenset[type]] = {
    "starting": frozenset({m.Notifying, m.Ready, m.Refused}),
    "notified": frozenset({m.Ready, m.Refused}),
    "idle": frozenset(),
    "beginning": frozenset({m.Begun}),
    "running": _WORDS | _OF_CACHE | {m.Viewed} | (ENDINGS - {m.Done}),
    "using": _WORDS | {m.Finished, m.Raised},
    "tending": _WORDS | {m.Done, m.Raised},
    "answering": frozenset(),
    "over": frozenset(),
}

# What the supervisor may hear from a zygote, by state.
FROM_ZYGOTE: dict[str, frozenset[type]] = {
    "booting": frozenset({zm.FindModule, zm.Booted, zm.BootFailed}),
    "ready": frozenset(),
    "serving": frozenset({zm.Forked, zm.Reaped}),
}


class Conversation:
    """The supervisor's view of one worker: a state, and the id of the action under way.

    Every method raises ProtocolError for what does not belong; the caller then kills the worker.
    """

    def __init__(self) -> None:
        self.state = "starting"
        self.action = b""
        self._turn = ""  # "running", "using" or "tending", also while a call of it is answered
        self._calls = 0

    def begin(self) -> None:
        self._move("idle", "beginning")

    def run(self, action: bytes) -> None:
        self._start("running", action)

    def use(self, action: bytes) -> None:
        self._start("using", action)

    def tend(self, action: bytes) -> None:
        self._start("tending", action)

    def answered(self) -> None:
        self._move("answering", self._turn)

    def heard(self, message: m.ToSupervisor) -> None:
        """Admit what the worker said, and move on."""
        kind = type(message)
        if kind not in FROM_WORKER[self.state]:
            raise ProtocolError(f"{kind.__name__} while {self.state}")
        if self.state in ("running", "using", "tending"):
            self._heard_of_action(message)
        else:
            self.state = "over" if kind is m.Refused else "notified" if kind is m.Notifying else "idle"

    def _heard_of_action(self, message: Any) -> None:
        if getattr(message, "action", None) != self.action:
            raise ProtocolError(f"{type(message).__name__} for an action that is not under way")
        kind = type(message)
        if kind in _QUESTIONS:
            self._calls += 1
            if message.call != self._calls:
                raise ProtocolError(f"call {message.call} where {self._calls} was due")
            self.state = "answering"
        elif kind in ENDINGS:
            self.state = "idle"

    def _start(self, turn: str, action: bytes) -> None:
        self._move("idle", turn)
        self._turn, self.action, self._calls = turn, action, 0

    def _move(self, before: str, after: str) -> None:
        if self.state != before:
            raise ProtocolError(f"the worker is {self.state}, not {before}")
        self.state = after
