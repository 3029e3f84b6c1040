"""The agent loop without any I/O: a generator that asks for effects and is sent their results.

    Ask(request) -> Reply            the driver asks the model
    Act(code)    -> Executed         the driver has the code run
    Tell(event)  -> None             the driver passes it to whoever listens

It returns a Finish. The drivers throw ModelError, DeadlinePassed or Cancelled in at an effect; nothing else comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from agex_supervisor.denials import Denial
from agex_supervisor.display import display
from agex_supervisor.events import ActionEvent, Event, NoteEvent, OutputEvent
from agex_supervisor.execution import Executed
from agex_supervisor.model import (
    Action,
    AssistantMessage,
    Message,
    ModelError,
    Observation,
    PythonAction,
    Reply,
    Request,
    Tool,
    Usage,
    UserMessage,
)
from agex_supervisor.observation import observed
from agex_supervisor.png import Image

# A worker that dies is replaced and the model told; after this many deaths in a row the task ends.
MAX_DEATHS = 3
# Each is sent again with every later turn.
MAX_IMAGES = 20


@dataclass(frozen=True, slots=True)
class Ask:
    request: Request


@dataclass(frozen=True, slots=True)
class Act:
    code: str


@dataclass(frozen=True, slots=True)
class Tell:
    event: Event


Effect = Ask | Act | Tell


class DeadlinePassed(Exception):
    """Thrown in by a driver when `task_timeout_s` is over."""


class Cancelled(Exception):
    """Thrown in by a driver when the task was cancelled."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one task may use. None: no bound."""

    max_actions: int = 10
    max_tokens: int | None = None
    max_cost: float | None = None
    # Price of a million tokens in and out, in the caller's currency; without it no cost is known.
    price_in: float = 0.0
    price_out: float = 0.0

    def cost(self, usage: Usage) -> float:
        return (usage.input_tokens * self.price_in + usage.output_tokens * self.price_out) / 1e6


@dataclass(frozen=True, slots=True)
class Brief:
    """All that the model is told before its first turn, and the words for the turns that go wrong."""

    system: str
    task: str
    tools: tuple[Tool, ...]
    silent_nudge: str
    wrap_up: Callable[[int], str | None]  # what to say when so many actions are left
    agent: str = ""
    session: str = ""


@dataclass(slots=True)
class Finish:
    """status: "success", "failed", "needs_input", "timeout", "cancelled", "budget", "error".

    `cause` says which error it is: "llm", "worker", "violation", or the name of the budget.
    """

    status: str
    value: Any = None
    message: str = ""
    cause: str = ""
    last_error: str | None = None
    usage: Usage = field(default_factory=Usage)
    actions: int = 0
    error: BaseException | None = None
    denials: list[Denial] = field(default_factory=list[Denial])


Loop = Generator[Effect, Any, Finish]


def loop(brief: Brief, budget: Budget) -> Loop:
    """Generate, execute, observe, until the task ends in one of the ways that Finish names."""
    talk = _Talk(brief, budget)
    try:
        finish = yield from talk.run()
    except ModelError as error:
        finish = Finish("error", message=str(error), cause="llm", error=error)
    except DeadlinePassed:
        finish = Finish("timeout", message="task_timeout_s is over")
    except Cancelled:
        finish = Finish("cancelled", message="the task was cancelled")
    finish.usage, finish.actions, finish.denials = talk.usage, talk.actions, list(talk.denials)
    finish.last_error = finish.last_error or talk.last_error
    return finish


class _Talk:
    """The growing conversation of one task."""

    def __init__(self, brief: Brief, budget: Budget) -> None:
        self.usage = Usage()
        self.actions = 0
        self.last_error: str | None = None
        self.denials: dict[Denial, None] = {}  # each once, in their order
        self._brief = brief
        self._budget = budget
        self._messages: list[Message] = [UserMessage(brief.task)]
        self._deaths = 0
        self._images = 0

    def run(self) -> Loop:
        while (exhausted := self._exhausted()) is None:
            reply: Reply = yield Ask(Request(self._brief.system, tuple(self._messages), self._brief.tools))
            self.usage = self.usage + (reply.usage or Usage())
            self._messages.append(AssistantMessage(reply.text, tuple(reply.actions)))
            if not reply.actions:
                yield from self._nudge(reply)
                continue
            finish = yield from self._act(reply)
            if finish is not None:
                return finish
        return exhausted

    def _act(self, reply: Reply) -> Generator[Effect, Any, Finish | None]:
        texts: list[str] = []
        images: list[Image] = []
        for action in reply.actions[: self._budget.max_actions - self.actions]:
            self.actions += 1
            yield Tell(self._event(ActionEvent, number=self.actions, text=reply.text, action=action, usage=reply.usage))
            if not isinstance(action, PythonAction):
                texts.append(f"Error: {_tool_name(action)} is not available; use python_action.")
                continue
            executed: Executed = yield Act(action.code)
            self.denials.update(dict.fromkeys(executed.denials))
            finish = self._finished(executed)
            if finish is not None:
                return finish
            texts.append(observed(executed))
            images += executed.images[: max(MAX_IMAGES - self._images, 0)]
            self._images += len(executed.images)
            self.last_error = executed.error.type if executed.error else None
            yield Tell(
                self._event(
                    OutputEvent,
                    number=self.actions,
                    text=texts[-1],
                    error=self.last_error or "",
                    denials=tuple(executed.denials),
                )
            )
            if executed.kind != "finished":
                self.last_error = texts[-1]
                break
        left = self._budget.max_actions - self.actions
        if (hint := self._brief.wrap_up(left)) is not None and texts:
            texts[-1] += "\n\n" + hint
        self._messages.append(Observation(tuple(texts + reply.problems), tuple(images)))
        return None

    def _finished(self, executed: Executed) -> Finish | None:
        match executed.kind:
            case "succeeded":
                return Finish("success", value=executed.value)
            case "gave_up":
                return Finish("failed", message=executed.text)
            case "asked":
                return Finish("needs_input", message=executed.text)
            case "died":
                return self._died(executed)
            case _:
                self._deaths = 0
                return None

    def _died(self, executed: Executed) -> Finish | None:
        death = executed.death
        assert death is not None
        self._deaths += 1
        if death.cause == "violation":
            return Finish("error", message=f"the worker broke the protocol: {death.detail}", cause="violation")
        if death.cause == "cancelled":
            return Finish("cancelled", message="the task was cancelled")
        if self._deaths >= MAX_DEATHS:
            text = f"{self._deaths} workers died one after the other; the last one: {death.cause}: {death.detail}"
            return Finish("error", message=text, cause="worker")
        return None

    def _nudge(self, reply: Reply) -> Generator[Effect, Any, None]:
        self.actions += 1
        # A problem quotes the model, and what the loop last ran into ends up in errors and logs.
        note = display("\n".join(reply.problems)) or self._brief.silent_nudge
        self.last_error = note if reply.problems else self.last_error
        self._messages.append(UserMessage(note))
        yield Tell(self._event(NoteEvent, message=note))

    def _exhausted(self) -> Finish | None:
        budget, used = self._budget, self.usage.input_tokens + self.usage.output_tokens
        if self.actions >= budget.max_actions:
            return Finish("budget", message=f"max_actions={budget.max_actions} is used up", cause="max_actions")
        if budget.max_tokens is not None and used >= budget.max_tokens:
            return Finish("budget", message=f"{used} tokens used, max_tokens={budget.max_tokens}", cause="max_tokens")
        if budget.max_cost is not None and budget.cost(self.usage) >= budget.max_cost:
            return Finish("budget", message=f"max_cost={budget.max_cost} is used up", cause="max_cost")
        return None

    def _event(self, kind: type[Event], **fields: Any) -> Event:
        return kind(agent=self._brief.agent, session=self._brief.session, **fields)


def _tool_name(action: Action) -> str:
    return {"TerminalAction": "terminal_action", "WriteFile": "write_file", "EditFile": "edit_file"}[
        type(action).__name__
    ]
