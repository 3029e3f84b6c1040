"""The agent loop without any I/O: a generator that asks for effects and is sent their results.

    Ask(request) -> Reply            the driver asks the model
    Act(action, number) -> Executed  the driver has it done
    Tell(event)  -> None             the driver passes it to whoever listens
    Keep(message) -> None            the driver stores what the action left, with all that was told of it

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
    EditFile,
    Message,
    ModelError,
    Observation,
    PythonAction,
    Reply,
    Request,
    TerminalAction,
    Tool,
    Usage,
    UserMessage,
    WriteFile,
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
    """number: that of its events; 0 for the setup."""

    action: Action
    number: int = 0


@dataclass(frozen=True, slots=True)
class Tell:
    event: Event


@dataclass(frozen=True, slots=True)
class Keep:
    """Of what an action left; `message` says which one."""

    message: str


Effect = Ask | Act | Tell | Keep


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
    # Price of a million tokens in and out, in the caller's currency; without it no cost is known. price_cached is that of those
    # in that the provider had cached; None: the same.
    price_in: float = 0.0
    price_out: float = 0.0
    price_cached: float | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether it bounds anything that is counted in tokens."""
        return self.max_tokens is not None or self.max_cost is not None

    def cost(self, usage: Usage) -> float:
        cached = self.price_in if self.price_cached is None else self.price_cached
        fresh = usage.input_tokens - usage.cached_tokens
        return (fresh * self.price_in + usage.cached_tokens * cached + usage.output_tokens * self.price_out) / 1e6


@dataclass(frozen=True, slots=True)
class Spending:
    """What a task used: tokens, and what they cost by the prices of whoever used them."""

    usage: Usage = Usage()
    cost: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.usage + other.usage, self.cost + other.cost)


@dataclass(frozen=True, slots=True)
class Brief:
    """All that the model is told before its first turn, and the words for the turns that go wrong.

    setup: code that is run before the first turn. earlier: the conversation that this one goes on with. delegated: what
    sub-agents have used so far; it counts for the budget.
    """

    system: str
    task: str
    tools: tuple[Tool, ...]
    silent_nudge: str
    wrap_up: Callable[[int], str | None]  # what to say when so many actions are left
    agent: str = ""
    session: str = ""
    setup: str = ""
    earlier: tuple[Message, ...] = ()
    delegated: Callable[[], Spending] = Spending


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
    messages: tuple[Message, ...] = ()  # the conversation, for a task that asked to go on with


Loop = Generator[Effect, Any, Finish]


def loop(brief: Brief, budget: Budget) -> Loop:
    """Generate, execute, observe, until the task ends in one of the ways that Finish names."""
    talk = _Talk(brief, budget)
    try:
        finish = yield from talk.run()
    except ModelError as error:
        finish = Finish("error", message=str(error), cause="llm", error=error)
    except DeadlinePassed:
        finish = out_of_time()
    except Cancelled:
        finish = cut_off()
    finish.usage, finish.actions, finish.denials = talk.usage, talk.actions, list(talk.denials)
    finish.last_error = finish.last_error or talk.last_error
    if finish.status == "needs_input":
        finish.messages = talk.messages
    return finish


def out_of_time(why: str = "") -> Finish:
    """It took longer than it may; `why`, where that was before it began."""
    return Finish("timeout", message=f"task_timeout_s is over{why and f': {why}'}")


def cut_off() -> Finish:
    """Somebody ended it."""
    return Finish("cancelled", message="the task was cancelled")


class _Talk:
    """The growing conversation of one task."""

    def __init__(self, brief: Brief, budget: Budget) -> None:
        self.usage = Usage()
        self.actions = 0
        self.last_error: str | None = None
        self.denials: dict[Denial, None] = {}  # each once, in their order
        self._brief = brief
        self._budget = budget
        self._messages: list[Message] = [*brief.earlier, UserMessage(brief.task)]
        self._deaths = 0
        self._images = sum(len(each.images) for each in brief.earlier if isinstance(each, Observation))

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(self._messages)

    def run(self) -> Loop:
        if self._brief.setup and (ended := (yield from self._set_up())) is not None:
            return ended
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

    def _set_up(self) -> Generator[Effect, Any, Finish | None]:
        code = self._brief.setup
        yield Tell(self._event(ActionEvent, number=0, text="", action=PythonAction(code), source="setup"))
        executed: Executed = yield Act(PythonAction(code))
        self.denials.update(dict.fromkeys(executed.denials))
        finish = self._finished(executed)
        if finish is not None:
            return finish
        self._deaths = 0  # no action of the model's
        text, error = observed(executed), executed.error.type if executed.error else ""
        denials = tuple(executed.denials)
        yield Tell(self._event(OutputEvent, number=0, text=text, error=error, denials=denials, source="setup"))
        yield Keep("setup")
        how = "It ended well" if executed.kind == "finished" else "It FAILED"
        note = f"The developer had this run before your first action:\n{code}\n\n{how}, and gave:\n{text}"
        self._messages.append(UserMessage(note))
        if executed.images:
            self._images += len(executed.images)
            self._messages.append(Observation((), tuple(executed.images)))
        if executed.kind != "finished":
            yield Tell(self._event(NoteEvent, message=note))
        return None

    def _act(self, reply: Reply) -> Generator[Effect, Any, Finish | None]:
        texts: list[str] = []
        images: list[Image] = []
        why_not = f"max_actions={self._budget.max_actions} is used up"
        for place, action in enumerate(reply.actions[: self._budget.max_actions - self.actions], 1):
            self.actions += 1
            yield Tell(self._event(ActionEvent, number=self.actions, text=reply.text, action=action, usage=reply.usage))
            executed: Executed = yield Act(action, self.actions)
            self.denials.update(dict.fromkeys(executed.denials))
            finish = self._finished(executed)
            if finish is not None:
                # For a conversation that goes on: what was run before in this turn, and this.
                last = _which(action, place, len(reply.actions)) + "(this ended the script)"
                self._messages.append(Observation((*texts, last), tuple(images)))
                return finish
            texts.append(_which(action, place, len(reply.actions)) + observed(executed))
            shown = executed.images[: max(MAX_IMAGES - self._images, 0)]
            images += shown
            self._images += len(executed.images)
            if left := len(executed.images) - len(shown):
                texts[-1] += f"\n[{left} of these are not shown: a task has {MAX_IMAGES} images at most]"
            self.last_error = None if executed.went_well else texts[-1]
            yield Tell(
                self._event(
                    OutputEvent,
                    number=self.actions,
                    text=texts[-1],
                    error=_error_type(executed),
                    denials=tuple(executed.denials),
                )
            )
            yield Keep(f"action {self.actions}: {_named(action)}")
            if not executed.went_well:
                why_not = f"action {place} failed"
                break
        self._messages.append(Observation((*self._hinted(texts, reply, why_not), *reply.problems), tuple(images)))
        return None

    def _hinted(self, texts: list[str], reply: Reply, why_not: str) -> list[str]:
        """A text for every action of the turn, those that were not run too, and the note that actions run out."""
        count = len(reply.actions)
        if (hint := self._brief.wrap_up(self._budget.max_actions - self.actions)) is not None:
            texts[-1] += "\n\n" + hint
        others = enumerate(reply.actions[len(texts) :], len(texts) + 1)
        return [*texts, *(f"{_which(action, place, count)}not run: {why_not}" for place, action in others)]

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
            return cut_off()
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
        yield Tell(self._event(NoteEvent, message=note, said=reply.text))

    def _exhausted(self) -> Finish | None:
        delegated = self._brief.delegated()
        usage, budget = self.usage + delegated.usage, self._budget
        used = usage.input_tokens + usage.output_tokens
        if self.actions >= budget.max_actions:
            return Finish("budget", message=f"max_actions={budget.max_actions} is used up", cause="max_actions")
        if budget.max_tokens is not None and used >= budget.max_tokens:
            return Finish("budget", message=f"{used} tokens used, max_tokens={budget.max_tokens}", cause="max_tokens")
        if budget.max_cost is not None and budget.cost(self.usage) + delegated.cost >= budget.max_cost:
            return Finish("budget", message=f"max_cost={budget.max_cost} is used up", cause="max_cost")
        return None

    def _event(self, kind: type[Event], **fields: Any) -> Event:
        return kind(agent=self._brief.agent, session=self._brief.session, **fields)


def _which(action: Action, place: int, count: int) -> str:
    """Which action of its turn a text is about; nothing where there was but one."""
    return f"[{place} of {count}: {_named(action)}]\n" if count > 1 else ""


def _named(action: Action) -> str:
    match action:
        case PythonAction():
            return "python_action"
        case TerminalAction():
            return "terminal_action"
        case WriteFile(path):
            return f"write_file {display(path, limit=200, one_line=True)}"
        case EditFile(path):
            return f"edit_file {display(path, limit=200, one_line=True)}"


def _error_type(executed: Executed) -> str:
    if executed.error is not None:
        return executed.error.type
    if executed.death is not None:
        return executed.death.cause
    return f"exit code {executed.exit_code}" if executed.exit_code else ""
