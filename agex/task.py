"""A task: a typed function whose body the model fills in at call time."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, Unpack, overload

from agex.call import Call
from agex.calling import Calling, P, R_co
from agex.driving import arun, avalue, run
from agex.emptiness import is_empty
from agex.mapped import Mapped
from agex.options import OPTION_NAMES, GivenOptions, Options, changed
from agex.outcome import TaskOutcome
from agex.question import Answer
from agex.scope import Scope
from agex.signatures import render_signature
from agex.terms import LateTerms, Terms
from agex_supervisor.contract import Unpickle

if TYPE_CHECKING:
    from agex.agent import Agent

Q = ParamSpec("Q")


class Task(Mapped[P, R_co]):
    """Call it like the function it was made from. Made by `@agent.task`.

    `f(...)` gives the value or raises; `f.run(...)` gives a TaskOutcome; `arun` is awaited; `with_options(session=...)`
    gives the same task with other options. An `async def` task is awaited. In a class it is a method: what it is called on
    stays here, and the agent gets the other arguments.
    """

    def __init__(
        self,
        agent: Agent,
        function: Callable[P, R_co],
        primer: str | None,
        scope: Scope | None = None,
        trust: str | None = None,
        setup: str | None = None,
    ) -> None:
        self._agent = agent
        self._function = function
        self._primer = primer
        self._options = Options()
        self._check_plain()
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.__signature__ = inspect.signature(function)
        self._bound = False
        self._check_empty()
        self._setup = _checked_setup(self.__name__, setup)
        self._terms = LateTerms(function, scope, agent.isolation == "none", _trusted(agent, trust))

    # --- calling ---

    if TYPE_CHECKING:

        @property
        def run(self) -> Calling[P, TaskOutcome]:
            """As a call, but how it ended is in the outcome; raises only for what the caller or the machine lacks."""
            raise NotImplementedError

        @property
        def arun(self) -> Calling[P, Coroutine[Any, Any, TaskOutcome]]:
            """As `run`, awaited. Cancelling it ends the action under way, cleans up and lets CancelledError pass."""
            raise NotImplementedError

    else:

        def run(self, /, *args: Any, **kwargs: Any) -> TaskOutcome:
            """As a call, but how it ended is in the outcome; raises only for what the caller or the machine lacks."""
            return run(self._call(args, kwargs))

        async def arun(self, /, *args: Any, **kwargs: Any) -> TaskOutcome:
            """As `run`, awaited. Cancelling it ends the action under way, cleans up and lets CancelledError pass."""
            return await arun(self._call(args, kwargs))

    def with_options(self, **options: Unpack[GivenOptions]) -> Task[P, R_co]:
        """The same task with these options: session, tenant, on_event, on_token, timeout_s, max_actions."""
        return self._with(changed(self._options, options))

    def cancel(self, session: str = "default") -> bool:
        """Cancel the call of this task that runs in the session, from anywhere in the process. False if there is none."""
        own = self._options
        options = own if session == "default" else Options(session=session, tenant=own.tenant)
        return self._agent.running.cancel(self.__qualname__, options.session_of_tenant)

    def __repr__(self) -> str:
        return f"<task {self.__name__}{self.__signature__} of {self._agent!r}>"

    # --- as a method ---

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(
        self: Task[Concatenate[Any, Q], R_co], instance: object, owner: type | None = None
    ) -> Task[Q, R_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None or self._bound:
            return self
        parameters = list(self.__signature__.parameters.values())
        ordinary = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if not parameters or parameters[0].kind not in ordinary:
            raise TypeError(f"task {self.__name__} has no first parameter for what it is called on; see staticmethod")
        other = copy.copy(self)
        other._bound = True
        other.__signature__ = self.__signature__.replace(parameters=parameters[1:])
        return other

    # --- for sub-agents and answers ---

    @property
    def agent(self) -> Agent:
        """The agent that fills it in."""
        return self._agent

    @property
    def definition(self) -> Callable[P, R_co] | None:
        """The function that it was made of; None for a method of an object."""
        return None if self._bound else self._function

    @property
    def is_async(self) -> bool:
        """Whether a call of it is awaited."""
        return inspect.iscoroutinefunction(self._function)

    def as_host_function(self) -> Callable[..., Any]:
        """What the code of a sandbox gets that was given this task."""
        # Here, for that module knows tasks.
        from agex.sub_agent import SubAgent

        return SubAgent(self)

    def go_on(self, answer: Answer) -> Any:
        """Call it again with the conversation so far and an answer."""
        return self._value(self._continued(answer))

    async def ago_on(self, answer: Answer) -> TaskOutcome:
        """The same, awaited."""
        return await arun(self._continued(answer))

    # --- its terms ---

    @property
    def terms(self) -> Terms:
        """The contract; ContractError if a declared type cannot be had."""
        return self._terms.now()

    @property
    def resolved_signature(self) -> inspect.Signature:
        """The signature with annotations as objects."""
        resolved = self.terms.resolved
        return resolved.replace(parameters=list(resolved.parameters.values())[1:]) if self._bound else resolved

    def _check_plain(self) -> None:
        function: Any = self._function
        if isinstance(function, Task):
            raise ValueError(
                f"{function.__name__} is a task already; decorate it once, with the agent that is to fill it in"
            )
        if not inspect.isfunction(function):
            raise ValueError(f"@task takes a plain function, not {function!r}; @staticmethod goes above it")
        if self._agent.registers(function):
            raise ValueError(
                f"{function.__name__} was given to the agent's code as a function, with an empty body: write @agent.fn above"
                " @specialist.task, not below it"
            )

    def _check_empty(self) -> None:
        if not is_empty(self._function):
            raise ValueError(
                f"task {self.__name__}: the body must be empty (a docstring, pass, ... or raise NotImplementedError),"
                " because the model writes it"
            )
        for name in self.__signature__.parameters:
            if name.startswith("__") and name.endswith("__"):
                raise ValueError(f"task {self.__name__}: agent code cannot read inputs.{name}; rename the parameter")
        if not (self._primer or inspect.getdoc(self._function)):
            raise ValueError(f"task {self.__name__} needs a docstring or a primer that says what to do")

    def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._value(self._call(args, kwargs))

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        options = self._chosen(kwargs)
        return self._call_with(options, args, kwargs)

    def _chosen(self, kwargs: dict[str, Any]) -> Options:
        """The options among the keywords of a call, which are taken out."""
        own = self.__signature__.parameters
        # With `**kwargs` every keyword is an argument: agent code that calls a sub-agent chooses these, and no options.
        takes_all = any(each.kind is each.VAR_KEYWORD for each in own.values())
        chosen = [] if takes_all else [name for name in OPTION_NAMES if name in kwargs and name not in own]
        return changed(self._options, {name: kwargs.pop(name) for name in chosen})

    def _call_with(self, options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        inputs = self.terms.checked(self.__signature__, self.__name__, args, kwargs)
        return Call(self._agent, self, options, inputs)

    def _continued(self, answer: Answer) -> Call:
        question = answer.question
        return Call(self._agent, self, question.options, question.inputs, answer)

    def _value(self, call: Call) -> Any:
        return avalue(call) if self.is_async else run(call).unwrap()

    def _with(self, options: Options) -> Task[P, R_co]:
        other = copy.copy(self)
        other._options = options
        return other

    @property
    def primer(self) -> str | None:
        return self._primer

    @property
    def setup(self) -> str:
        """Code that is run before the model's first action; empty where there is none."""
        return self._setup

    @property
    def signature_text(self) -> str:
        """The signature as the model reads it."""
        shown = self.terms.signature
        if self._bound:
            shown = shown.replace(parameters=list(shown.parameters.values())[1:])
        return render_signature(self.__name__, shown, max_chars=1000)


def _checked_setup(task: str, setup: str | None) -> str:
    if setup is None:
        return ""
    try:
        ast.parse(setup)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"task {task}: setup= is not Python: {error}") from None
    return setup


def _trusted(agent: Agent, trust: str | None) -> Unpickle | None:
    """What opens the results of a task that trusts its agent with this process. PolicyError where the policy does not."""
    if trust is None:
        return None
    if trust != "unpickle":
        raise ValueError(f"trust={trust!r} is none that there is: 'unpickle', or leave it out")
    agent.check_trust()
    # Here, because no program needs it that did not ask for it.
    from agex_supervisor.trusted_unpickle import unpickle

    return unpickle
