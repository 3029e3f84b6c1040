"""One call of a task: what is set up before the loop, what the driver works with, and what is cleaned up after."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from agex.captures import ridden_by
from agex.errors import ContractError
from agex.options import Options
from agex.outcome import TaskOutcome, outcome_of
from agex.prompt import SILENT_TURN, TOOLS, is_time_to_wrap_up, task_message, wrap_up
from agex.recap import with_recap
from agex.render import render_value
from agex_supervisor.bridge import waited_for
from agex_supervisor.events import (
    CancelledEvent,
    ClarifyEvent,
    ErrorEvent,
    Event,
    FailEvent,
    SuccessEvent,
    TaskStartEvent,
)
from agex_supervisor.execution import Executed, Executor
from agex_supervisor.loop import Brief, Finish
from agex_supervisor.model import LLM
from agex_supervisor.outbound import NotSendable

if TYPE_CHECKING:
    from agex.agent import Agent
    from agex.task import Task

MAX_INPUT_CHARS = 2_400
RECAP_TIMEOUT_S = 5.0


class Call:
    """One call of a task: what the driver works with, and what is set up before and cleaned up after."""

    def __init__(self, agent: Agent, task: Task[Any, Any], options: Options, inputs: dict[str, object]) -> None:
        self._agent = agent
        self._task = task
        self._options = options
        self._inputs = inputs
        self._events: list[Event] = []
        self._cancelled = threading.Event()
        self._executor: Executor | None = None
        # Before a model is asked, and before anything is sent.
        riders = ridden_by(inputs) if agent.isolation != "none" else ()
        self._captured = (*agent.captured, *riders)
        self.llm: LLM = agent.model
        self.on_token = options.on_token
        self.budget = (
            agent.budget if options.max_actions is None else replace(agent.budget, max_actions=options.max_actions)
        )
        timeout_s = options.timeout_s if options.timeout_s is not None else agent.task_timeout_s
        self.deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self.brief = self._brief()

    def __enter__(self) -> Self:
        session = self._options.session
        workspace = self._agent.sessions.acquire(session)
        try:
            bench = self._agent.workbench(self._task.terms.classes)
            returns = self._task.terms.returns
            bench.check_result(returns)
            self._executor = bench.executor(workspace, cache=self._agent.sessions.cache(session))
            self._executor.start(keeps=returns.has_handles)
            self.brief = replace(self.brief, system=with_recap(self.brief.system, self._recap(self._executor)))
            self._agent.running.add(self._task.__qualname__, session, self)
        except BaseException:
            self._release()
            raise
        return self

    def _recap(self, executor: Executor) -> str:
        left = None if self.deadline is None else max(0.001, self.deadline - time.monotonic())
        return executor.outline(RECAP_TIMEOUT_S if left is None else min(RECAP_TIMEOUT_S, left))

    def __exit__(self, *_: object) -> None:
        self._agent.running.remove(self._task.__qualname__, self._options.session, self)
        self._release()

    # --- the driver's hands ---

    def act(self, code: str, timeout_s: float | None) -> Executed:
        limit = self._agent.action_timeout_s
        wall = min(limit, self._bench_wall(), *([] if timeout_s is None else [timeout_s]))
        assert self._executor is not None
        try:
            return self._executor.execute(code, self._inputs, self._task.terms.returns, task=True, timeout_s=wall)
        except NotSendable as error:
            raise ContractError(f"{self._task.__name__}(): {error}") from error

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        self._cancelled.set()
        self.interrupt()

    def interrupt(self) -> None:
        if self._executor is not None:
            self._executor.cancel()

    def tell(self, event: Event) -> Awaitable[None] | None:
        self._events.append(event)
        if self._options.on_event is None:
            return None
        return self._agent.handled(self._options.on_event, event)

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
        told = self.tell(self._last_event(finish))
        if told is not None:
            waited_for(told)
        return self._outcome(finish)

    async def aend(self, finish: Finish) -> TaskOutcome:
        told = self.tell(self._last_event(finish))
        if told is not None:
            await told
        return self._outcome(finish)

    def _outcome(self, finish: Finish) -> TaskOutcome:
        assert self._executor is not None
        cost = self.budget.cost(finish.usage) if self._agent.priced else None
        return outcome_of(finish, self._events, self._executor.report, cost)

    def _first_event(self) -> Event:
        return TaskStartEvent(
            agent=self._agent.name,
            session=self._options.session,
            task=self._task.__name__,
            message=self.brief.task,
            captured=self._captured,
        )

    def _last_event(self, finish: Finish) -> Event:
        agent, session = self._agent.name, self._options.session
        match finish.status:
            case "success":
                return SuccessEvent(agent=agent, session=session, type=type(finish.value).__name__)
            case "failed":
                return FailEvent(agent=agent, session=session, message=finish.message)
            case "needs_input":
                return ClarifyEvent(agent=agent, session=session, question=finish.message)
            case "cancelled":
                return CancelledEvent(agent=agent, session=session, actions=finish.actions)
            case _:
                return ErrorEvent(agent=agent, session=session, status=finish.status, message=finish.message)

    def _brief(self) -> Brief:
        task, terms = self._task, self._task.terms
        room = MAX_INPUT_CHARS // max(len(self._inputs), 1)
        message = task_message(
            name=task.__name__,
            docstring=task.__doc__ and inspect.cleandoc(task.__doc__),
            signature_text=task.signature_text,
            inputs={name: (terms.texts[name], render_value(value, room)) for name, value in self._inputs.items()},
            return_type_text=terms.returns_text,
            primer=task.primer,
        )
        most = self.budget.max_actions
        return Brief(
            system=self._agent.system_prompt(terms.classes),
            task=message,
            tools=TOOLS,
            silent_nudge=SILENT_TURN,
            wrap_up=lambda left: wrap_up(left) if is_time_to_wrap_up(left, most) else None,
            agent=self._agent.name,
            session=self._options.session,
        )

    def _bench_wall(self) -> float:
        return self._agent.workbench(self._task.terms.classes).limits.wall_time_s

    def _release(self) -> None:
        if self._executor is not None:
            self._executor.release()
        self._agent.sessions.release(self._options.session, forget=self._options.ephemeral)


@dataclass
class Running:
    """The calls under way, so that they can be cancelled from anywhere."""

    _calls: dict[tuple[str, str], list[Call]] = field(default_factory=dict[tuple[str, str], list[Call]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, task: str, session: str, call: Call) -> None:
        with self._lock:
            self._calls.setdefault((task, session), []).append(call)

    def remove(self, task: str, session: str, call: Call) -> None:
        with self._lock:
            calls = self._calls.get((task, session), [])
            if call in calls:
                calls.remove(call)

    def cancel(self, task: str, session: str) -> bool:
        with self._lock:
            calls = list(self._calls.get((task, session), []))
        for call in calls:
            call.cancel()
        return bool(calls)
