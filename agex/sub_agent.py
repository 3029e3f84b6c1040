"""A task of one agent as a function that another agent's code may call: an agent under an agent.

It runs in this process with a worker of its own. However it ends, the caller's code sees a value or an exception.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from agex.errors import BudgetExceeded, LLMError, TaskError, TaskNeedsInput
from agex.isolation import LEVELS
from agex.task import Task
from agex_policies.errors import PolicyError
from agex_policies.narrowing import wider_keys
from agex_policies.schema import Policy, values
from agex_supervisor.display import display
from agex_supervisor.handle import Handle
from agex_supervisor.opaque import Opaque

if TYPE_CHECKING:
    from agex.agent import Agent

MAX_MESSAGE_CHARS = 1_500


@dataclass(frozen=True)
class SubAgent:
    """What is registered in the task's place. Equal to another of the same task. wider: whether its policy may allow more
    than that of the agent whose code calls it."""

    task: Task[..., Any]
    wider: bool = False

    def __post_init__(self) -> None:
        task, own = self.task, vars(self)
        own |= {"__name__": task.__name__, "__qualname__": task.__qualname__, "__module__": task.__module__}
        own |= {"__doc__": task.__doc__, "__signature__": self._signature()}

    @property
    def definition(self) -> object:
        """The function that the task was made of; None where it is called on an object, of which there may be many."""
        return self.task.definition

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._awaited(args, kwargs) if self.task.is_async else self._value(args, kwargs)

    def _signature(self) -> inspect.Signature:
        """Of the task, which takes objects of the caller's worker as sealed ones: that waits for the task, and cannot seal
        them meanwhile."""
        signature = self.task.resolved_signature
        if self.task.agent.isolation == "none":
            return signature
        parameters = [each.replace(annotation=_sealed(each.annotation)) for each in signature.parameters.values()]
        return signature.replace(parameters=parameters)

    def _value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return self.task(*args, **kwargs)
        except TaskError as error:
            raise self._told(error) from None

    async def _awaited(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return await self.task(*args, **kwargs)
        except TaskError as error:
            raise self._told(error) from None

    def _told(self, error: TaskError) -> TaskError:
        """An error of the same type for the caller's code, which is told what happened and given nothing to hold."""
        message = display(str(error), limit=MAX_MESSAGE_CHARS)
        name = self.task.__name__
        match error:
            case TaskNeedsInput():
                return TaskNeedsInput(f"{name}() asks: {message} (call it again with what it needs to know)")
            case BudgetExceeded():
                return BudgetExceeded(f"{name}(): {message}", budget=error.budget)
            case LLMError():
                return LLMError(f"{name}(): {message}", model=error.model)
            case _:
                return type(error)(f"{name}(): {message}")


def check_narrow(agent: Agent, policy: Policy, sub_agents: Iterable[SubAgent]) -> None:
    """PolicyError for a sub-agent that may do more than the agent whose code calls it, with the keys and the remedy."""
    for each in sub_agents:
        under = each.task.agent
        called = f"sub-agent {under.name} (task {each.task.__name__})"
        if LEVELS.index(under.isolation) < LEVELS.index(agent.isolation):
            raise PolicyError(
                f"{called} runs with isolation={under.isolation!r}, {agent.name} with {agent.isolation!r}, and so its code"
                f" would be held less; make it Agent(isolation={agent.isolation!r})",
                key="isolation.require",
            )
        if each.wider:
            continue
        if keys := wider_keys(values(under.loaded_policy()), values(policy)):
            raise PolicyError(
                f"{called} has a policy that allows more than that of {agent.name}, which calls it: {', '.join(keys)}",
                key=keys[0],
                remedy=f"narrow it, or say agent.fn({each.task.__name__}, wider=True)",
            )


def _sealed(annotation: Any) -> Any:
    """An annotation with Opaque in the place of Handle."""
    origin, given = get_origin(annotation), get_args(annotation)
    if (origin or annotation) is Handle:
        sealed: Any = Opaque
        return sealed[given or (Any,)]
    parts = tuple(map(_sealed, given))
    if parts == given or origin is None:
        return annotation
    return Union[parts] if origin in (Union, UnionType) else origin[parts]  # noqa: UP007 -- made of what is known now only
