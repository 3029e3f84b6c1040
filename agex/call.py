"""One call of a task: what is set up before the loop, what the driver works with, and what is cleaned up after."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from agex.asking import Asking
from agex.captures import ridden_by
from agex.cutoff import Cutoff
from agex.errors import ContractError, TaskNeedsInput
from agex.file_news import FileNews
from agex.handlers import handled
from agex.kin import Kin
from agex.lineage import called_by, caller
from agex.options import EventHandler, Options
from agex.outcome import TaskOutcome, outcome_of
from agex.prompt import SILENT_TURN, is_time_to_wrap_up, task_message, tools, wrap_up
from agex.question import Answer, Question
from agex.recap import with_recap
from agex.render import render_value
from agex.sessions import Stay
from agex_protocol.errors import AgexError
from agex_supervisor.bridge import ENDING, WaitEnded, on_thread, waited_for
from agex_supervisor.display import display
from agex_supervisor.events import (
    ActionEvent,
    CancelledEvent,
    ClarifyEvent,
    EndEvent,
    ErrorEvent,
    Event,
    FailEvent,
    SuccessEvent,
    TaskStartEvent,
)
from agex_supervisor.execution import Executed, Executor
from agex_supervisor.loop import Brief, Finish, cut_off, out_of_time
from agex_supervisor.model import LLM, Action, PythonAction, Usage
from agex_supervisor.outbound import NotSendable
from agex_supervisor.promises import LockdownReport
from agex_supervisor.seats import Seat
from agex_supervisor.transfer import Late
from agex_supervisor.workspace_reading import WorkspaceChanges

if TYPE_CHECKING:
    from agex.agent import Agent
    from agex.task import Task

logger = logging.getLogger("agex")

MAX_INPUT_CHARS = 2_400
MAX_VALUE_CHARS = 1_000
RECAP_TIMEOUT_S = 5.0


class Call:
    """One call of a task: what the driver works with, and what is set up before and cleaned up after."""

    def __init__(
        self,
        agent: Agent,
        task: Task[Any, Any],
        options: Options,
        inputs: Mapping[str, object],
        answer: Answer | None = None,
    ) -> None:
        self._agent = agent
        self._task = task
        self._options = options
        self._inputs = dict(inputs)
        self._answer = answer
        self._events: list[Event] = []
        self._unkept: list[Event] = []  # those of its own that no version has yet
        self._commit: str | None = None
        self._kept_in: dict[str, str] = {}  # by the ids of events, sub-agents' too: the version that has them
        self._note: Event | None = None
        self._stay: Stay | None = None
        self._changes: WorkspaceChanges | None = None
        self._current: str | None = None
        self._cancelled = threading.Event()
        self._executor: Executor | None = None
        self.live = False
        self.early: Finish | None = None  # how it ended before it could begin
        self._entered = False
        # Before a model is asked, and before anything is sent.
        riders = ridden_by(self._inputs) if agent.isolation != "none" else ()
        self._captured = (*agent.captured, *riders)
        self.kin = Kin(agent, options, caller())
        self.session = self.kin.session
        self.budget = self.kin.budget
        self._news = FileNews(agent.name, self.session)
        self.deadline = self.kin.deadline
        self._asking = Asking(agent.model, agent.name, self.kin.namespace, estimates=self.budget.counts_tokens)
        self.llm: LLM = self._asking
        self.on_token = self.kin.on_token
        self._pictures = self._pictures_of_inputs()
        self.brief = self._brief()

    def __enter__(self) -> Self:
        """Have the session and a worker. Where the wait for these is ended, by cancelling or by the deadline, `early` says so,
        and neither is there for sure."""
        ending = ENDING.set(self._asking.ending)
        self.kin.join(self)
        try:
            self._have_all(float("inf") if self.deadline is None else self.deadline)
        except WaitEnded:
            self.early = cut_off()
        except Late as late:
            self.early = out_of_time(str(late))
        except BaseException:
            self._leave()
            raise
        finally:
            ENDING.reset(ending)
        self._entered = True
        return self

    def _have_all(self, until: float) -> None:
        self._stay = stay = self._agent.sessions.acquire(self.session, until, ephemeral=self._options.ephemeral)
        self._agent.running.add(self._task.__qualname__, self.session, self)
        bench = self._agent.workbench(self._task.terms.classes)
        returns = self._task.terms.returns
        bench.check_result(returns)
        self._executor = bench.executor(stay.workspace, cache=stay.cache)
        self._executor.start(until, keeps=returns.has_handles or self._executor.takes_handles)
        self.brief = self._informed(self.brief, self._executor, stay)
        self.live = True

    def _informed(self, brief: Brief, executor: Executor, stay: Stay) -> Brief:
        """With what the session holds already: the agent's own modules, and how earlier tasks ended."""
        left = None if self.deadline is None else max(0.001, self.deadline - time.monotonic())
        recap = executor.outline(RECAP_TIMEOUT_S if left is None else min(RECAP_TIMEOUT_S, left))
        news = "" if self._answer is not None else stay.news()
        task = f"{brief.task}\n\n{news}" if news else brief.task
        return replace(brief, system=with_recap(brief.system, recap), task=task)

    def __exit__(self, *_: object) -> None:
        """Nothing happens where `__enter__` failed."""
        if not self._entered:
            return
        self.live = False
        if self._unkept:
            try:
                self.look()
                self.keep("cut off")
            except AgexError:
                logger.exception("the last events of session %s could not be kept", self.session)
        self._leave()

    # --- the driver's hands ---

    def act(self, action: Action, number: int, timeout_s: float | None) -> Executed:
        limit = self._agent.action_timeout_s
        wall = min(limit, self._bench_wall(), *([] if timeout_s is None else [timeout_s]))
        assert self._executor is not None
        try:
            with called_by(self), Cutoff(timeout_s, self.interrupt):
                if not isinstance(action, PythonAction):
                    return self._executor.tend(action, timeout_s=wall)
                returns = self._task.terms.returns
                return self._executor.execute(
                    action.code, self._inputs, returns, task=True, timeout_s=wall, number=number
                )
        except NotSendable as error:
            raise ContractError(f"{self._task.__name__}(): {error}") from error

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End it, from any thread: the action or the request to the model that is under way, and its sub-agents."""
        self._cancelled.set()
        self._asking.end()
        self.interrupt()

    def interrupt(self) -> None:
        """End the action under way and the sub-agents that it waits for, from any thread."""
        self.kin.cancel_children()
        if self._executor is not None:
            self._executor.cancel()

    def tell(self, event: Event) -> Awaitable[None] | None:
        event = replace(event, namespace=self.kin.namespace, parent=self.kin.parent_event)
        if isinstance(event, ActionEvent) and event.usage is not None and self.kin.priced:
            event = replace(event, cost=self.budget.cost(event.usage))
        if isinstance(event, TaskStartEvent | ActionEvent):
            self._current = event.id
        return _all_of(self.heard(event, []))

    @property
    def own_usage(self) -> Usage:
        """The tokens that it used itself so far."""
        return self._asking.usage

    @property
    def seat(self) -> Seat | None:
        """What it waits for may take it: sub-agents, and what handlers call."""
        return None if self._executor is None else self._executor.seat

    @property
    def current_event(self) -> str | None:
        """The event during which sub-agents are called now."""
        return self._current

    def heard(self, event: Event, told: list[EventHandler]) -> list[Awaitable[None]]:
        """Note an event of this call or of a sub-agent, and pass it to who listens, each handler once: `told` are those who
        know. Gives what is still to be awaited, in order."""
        self._events.append(event)
        if event.namespace == self.kin.namespace:
            self._unkept.append(event)
        return self._passed_on(event, told)

    def _passed_on(self, event: Event, told: list[EventHandler]) -> list[Awaitable[None]]:
        waiting: list[Awaitable[None]] = []
        handler = self._options.on_event
        if handler is not None and handler not in told:
            told.append(handler)
            pending = handled(handler, event, "on_event")
            waiting += [] if pending is None else [pending]
        parent = self.kin.parent
        return waiting if parent is None or not parent.live else waiting + parent.heard(event, told)

    def look(self) -> None:
        """See what an action did to the files, while nothing runs."""
        if self._stay is not None and self._executor is not None:
            self._changes = self._stay.read(self._executor.workspace())

    def tell_changes(self, last: Event | None = None) -> Awaitable[None] | None:
        """Tell what was seen, and then the last event."""
        seen = [] if self._changes is None else self._news.events(self._changes)
        told = [self.tell(event) for event in [*seen, *([] if last is None else [last])]]
        return _all_of([each for each in told if each is not None])

    def keep(self, message: str) -> None:
        """Store the session as it was seen last, with all that was told since it was stored."""
        if self._stay is not None and self._changes is not None:
            made = self._stay.commit(self._changes, self._unkept, f"{self._task.__name__}: {message}")
            self._commit, self._note = made.commit, made.note
            self.kept(dict.fromkeys((event.id for event in self._unkept), self._commit))
        self._unkept.clear()

    def tell_kept(self) -> Awaitable[None] | None:
        """Tell of what somebody else had changed at the same time, which the store noted in the version."""
        note, self._note = self._note, None
        if note is None or self._commit is None:
            return None
        # As in the log: what ends a task stays the last of it.
        stored = [at for at, event in enumerate(self._events) if self._kept_in.get(event.id) == self._commit]
        self._events.insert(max(stored, default=len(self._events)), note)
        self.kept({note.id: self._commit})
        return _all_of(self._passed_on(note, []))

    def kept(self, versions: Mapping[str, str]) -> None:
        """Events of this call or of a sub-agent are stored, in these versions."""
        if self._options.ephemeral:
            return  # its session and those below it end with it
        self._kept_in |= versions
        if (parent := self.kin.parent) is not None and parent.live:
            parent.kept(versions)

    # --- its begin and its end ---

    def begin(self) -> None:
        told = self.tell(self._first_event())
        if told is not None:
            waited_for(told)

    async def abegin(self) -> None:
        told = self.tell(self._first_event())
        if told is not None:
            await told

    def end(self, finish: Finish) -> TaskOutcome:
        last = self._last_event(finish)
        self.look()
        if (told := self.tell_changes(last)) is not None:
            waited_for(told)
        self.keep(finish.status)
        if (told := self.tell_kept()) is not None:
            waited_for(told)
        return self._outcome(finish, last)

    async def aend(self, finish: Finish) -> TaskOutcome:
        last = self._last_event(finish)
        await on_thread(self.look)
        if (told := self.tell_changes(last)) is not None:
            await told
        await on_thread(lambda: self.keep(finish.status))
        if (told := self.tell_kept()) is not None:
            await told
        return self._outcome(finish, last)

    def _outcome(self, finish: Finish, last: EndEvent) -> TaskOutcome:
        finish.usage = last.usage
        report = LockdownReport(self._agent.isolation) if self._executor is None else self._executor.report
        events = [replace(event, commit_hash=self._kept_in.get(event.id)) for event in self._events]
        outcome = outcome_of(finish, events, report, last.cost, self._commit)
        if isinstance(outcome.error, TaskNeedsInput):
            # The same session again, whichever way its name came about.
            options = replace(self._options, session=self.session, tenant=None, named=True)
            outcome.error.question_asked = Question(self._task, options, self._inputs, finish.messages, last.id)
        return outcome

    def _first_event(self) -> Event:
        return TaskStartEvent(
            agent=self._agent.name,
            session=self.session,
            task=self._task.__name__,
            message=self.brief.task,
            inputs={name: display(text) for name, text in self._pictures.items()},
            captured=self._captured,
            answers=None if self._answer is None else self._answer.question.event,
        )

    def _last_event(self, finish: Finish) -> EndEvent:
        spent = self.kin.spent(finish.usage)
        base: dict[str, Any] = {
            "agent": self._agent.name,
            "session": self.session,
            "usage": spent.usage,
            "cost": spent.cost if self.kin.priced else None,
        }
        match finish.status:
            case "success":
                return SuccessEvent(type=type(finish.value).__name__, value=self._picture(finish.value), **base)
            case "failed":
                return FailEvent(message=finish.message, **base)
            case "needs_input":
                return ClarifyEvent(question=finish.message, **base)
            case "cancelled":
                return CancelledEvent(actions=finish.actions, **base)
            case _:
                return ErrorEvent(status=finish.status, message=finish.message, **base)

    def _picture(self, value: object) -> str:
        # In `none` the value may be of a class that the agent wrote, whose repr may do anything, and for ever.
        if self._agent.isolation == "none" and type(value) not in _PLAIN:
            return f"<{display(type(value).__name__, limit=200, one_line=True)}>"
        return display(render_value(value, MAX_VALUE_CHARS))

    def _pictures_of_inputs(self) -> dict[str, str]:
        room = MAX_INPUT_CHARS // max(len(self._inputs), 1)
        return {name: render_value(value, room) for name, value in self._inputs.items()}

    def _brief(self) -> Brief:
        task, terms = self._task, self._task.terms
        message = task_message(
            name=task.__name__,
            docstring=task.__doc__ and inspect.cleandoc(task.__doc__),
            signature_text=task.signature_text,
            inputs={name: (terms.texts[name], text) for name, text in self._pictures.items()},
            return_type_text=terms.returns_text,
            primer=task.primer,
        )
        most = self.budget.max_actions
        goes_on = self._answer is not None
        return Brief(
            system=self._agent.system_prompt(terms.classes),
            task=self._answer.message if self._answer is not None else message,
            tools=tools(self._agent.commands_text()),
            silent_nudge=SILENT_TURN,
            wrap_up=lambda left: wrap_up(left) if is_time_to_wrap_up(left, most) else None,
            agent=self._agent.name,
            session=self.session,
            setup="" if goes_on else task.setup,
            earlier=self._answer.question.messages if self._answer is not None else (),
            delegated=self.kin.delegated,
        )

    def _bench_wall(self) -> float:
        return self._agent.workbench(self._task.terms.classes).limits.wall_time_s

    def _leave(self) -> None:
        self._agent.running.remove(self._task.__qualname__, self.session, self)
        self.kin.leave(self, self.own_usage)
        if self._executor is not None:
            self._executor.release()
        if self._stay is not None:
            self._agent.sessions.release(self.session, forget=self._options.ephemeral)
        if self._options.ephemeral:
            self.kin.forget_heirs()


_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def _all_of(waiting: list[Awaitable[None]]) -> Awaitable[None] | None:
    async def one_by_one() -> None:
        for each in waiting:
            await each

    return one_by_one() if waiting else None
