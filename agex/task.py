"""A task: a typed function whose body the model fills in at call time."""

from __future__ import annotations

import ast
import copy
import inspect
import secrets
import textwrap
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from agex.call import Call
from agex.options import OPTION_NAMES, Options, changed
from agex.outcome import TaskOutcome
from agex.signatures import render_signature
from agex.terms import Terms
from agex_supervisor.bridge import on_thread
from agex_supervisor.contract import Unpickle
from agex_supervisor.drive import adrive, drive
from agex_supervisor.loop import loop

if TYPE_CHECKING:
    from agex.agent import Agent

P = ParamSpec("P")
R = TypeVar("R")


class Task(Generic[P, R]):
    """Call it like the function it was made from. Made by `@agent.task`.

    `f(...)` gives the value or raises; `f.run(...)` gives a TaskOutcome; `arun` is awaited; `with_options(session=...)`
    gives the same task with other options. An `async def` task is awaited.
    """

    def __init__(
        self,
        agent: Agent,
        function: Callable[P, R],
        primer: str | None,
        scope: Mapping[str, Any] | None = None,
        trust: str | None = None,
    ) -> None:
        self._agent = agent
        self._function = function
        self._primer = primer
        self._options = Options()
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.__signature__ = inspect.signature(function)
        self._check_empty()
        self._unpickle = _trusted(agent, trust)
        self._terms: Terms | None = None
        self._early_terms(scope)

    # --- calling ---

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if inspect.iscoroutinefunction(self._function):
            return cast(R, self._awaited(args, kwargs))
        return cast(R, self.run(*args, **kwargs).unwrap())

    def run(self, *args: Any, **kwargs: Any) -> TaskOutcome:
        """As a call, but how it ended is in the outcome; raises only for what the caller or the machine lacks."""
        call = self._call(args, kwargs)
        with call:
            call.begin()
            return call.end(drive(loop(call.brief, call.budget), call))

    async def arun(self, *args: Any, **kwargs: Any) -> TaskOutcome:
        """As `run`, awaited. Cancelling it ends the action under way, cleans up and lets CancelledError pass."""
        call = self._call(args, kwargs)
        await on_thread(call.__enter__)
        try:
            await call.abegin()
            return await call.aend(await adrive(loop(call.brief, call.budget), call))
        finally:
            await on_thread(call.__exit__)

    def with_options(self, **options: Any) -> Task[P, R]:
        """The same task with these options: session, on_event, on_token, timeout_s, max_actions."""
        return self._with(changed(self._options, options))

    def map(self, items: Iterable[Any], concurrency: int = 4, outcomes: bool = False, **common: Any) -> list[Any]:
        """Call it with each item as first argument, each in a session of its own.

        The first failure cancels the rest and raises; with outcomes=True the list holds a TaskOutcome for each.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        stop = threading.Event()

        def one(item: Any) -> TaskOutcome | None:
            if stop.is_set():
                return None
            own = replace(self._options, session=f"map-{secrets.token_hex(8)}", ephemeral=True)
            outcome = self._with(own).run(item, **common)
            if outcome.error is not None and not outcomes:
                stop.set()
            return outcome

        with ThreadPoolExecutor(concurrency, thread_name_prefix="agex-map") as threads:
            done = list(threads.map(one, list(items)))
        if outcomes:
            return done
        for outcome in done:
            if outcome is not None and outcome.error is not None:
                raise outcome.error
        return [cast(TaskOutcome, outcome).value for outcome in done]

    async def amap(
        self, items: Iterable[Any], concurrency: int = 4, outcomes: bool = False, **common: Any
    ) -> list[Any]:
        """As `map`, awaited."""
        return await on_thread(lambda: self.map(items, concurrency, outcomes, **common))

    def cancel(self, session: str = "default") -> bool:
        """Cancel the call of this task that runs in the session, from anywhere in the process. False if there is none."""
        return self._agent.running.cancel(self.__qualname__, session)

    def __repr__(self) -> str:
        return f"<task {self.__name__}{self.__signature__} of {self._agent!r}>"

    # --- its terms ---

    @property
    def terms(self) -> Terms:
        """The contract; ContractError if a declared type cannot be had."""
        if self._terms is None:
            local = self._agent.isolation == "none"
            self._terms = Terms.of(self._function, local=local, unpickle=self._unpickle)
        return self._terms

    def _early_terms(self, scope: Mapping[str, Any] | None) -> None:
        try:
            local = self._agent.isolation == "none"
            self._terms = Terms.of(self._function, local=local, scope=scope, unpickle=self._unpickle)
        except NameError:
            return  # a forward reference: it is resolved at the first call

    def _check_empty(self) -> None:
        if not callable(self._function) or isinstance(self._function, (type, Task)):
            raise ValueError(f"@task takes a plain function, not {self._function!r}")
        if not _is_empty(self._function):
            raise ValueError(
                f"task {self.__name__}: the body must be empty (a docstring, pass, ... or raise NotImplementedError),"
                " because the model writes it"
            )
        if not (self._primer or inspect.getdoc(self._function)):
            raise ValueError(f"task {self.__name__} needs a docstring or a primer that says what to do")

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        own = self.__signature__.parameters
        inline = {name: kwargs.pop(name) for name in OPTION_NAMES if name in kwargs and name not in own}
        options = changed(self._options, inline)
        return Call(self._agent, self, options, self.terms.checked(self.__signature__, self.__name__, args, kwargs))

    def _with(self, options: Options) -> Task[P, R]:
        other = copy.copy(self)
        other._options = options
        return other

    async def _awaited(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (await self.arun(*args, **kwargs)).unwrap()

    @property
    def primer(self) -> str | None:
        return self._primer

    @property
    def signature_text(self) -> str:
        """The signature as the model reads it."""
        return render_signature(self.__name__, self.terms.signature, max_chars=1000)


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


def _is_empty(function: Callable[..., Any]) -> bool:
    """Whether a body says nothing. Where there is no source to look at, its code object is asked."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        node = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        code = function.__code__
        return not set(code.co_names) - {"NotImplementedError"}
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return not set(function.__code__.co_names) - {"NotImplementedError"}
    return all(_says_nothing(statement) for statement in node.body)


def _says_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(ast.Constant()):
            return True
        case ast.Raise(ast.Name("NotImplementedError") | ast.Call(ast.Name("NotImplementedError"))):
            return True
        case _:
            return False
