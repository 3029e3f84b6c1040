"""Agent: what a model may reach, where its code runs, and the tasks it fills in."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

from agex.budgets import Prices, budget_of
from agex.catalogue import render_registry
from agex.entries import MemberSpec, Side, Visibility
from agex.errors import ConfigurationError
from agex.isolation import asked
from agex.members import Pattern
from agex.policy_words import policy_words
from agex.pools import shared_pool
from agex.prompt import system_prompt
from agex.registry import Registry
from agex.running import Running
from agex.scope import Scope
from agex.session_state import SessionState
from agex.sessions import Sessions
from agex.skills import Skills
from agex.state import State
from agex.sub_agent import SubAgent, check_narrow
from agex.task import Task
from agex.terminal import Commands, Handler
from agex.workbench import Workbench, refusal
from agex_policies.schema import Policy
from agex_protocol.plan import Isolation
from agex_supervisor.model import LLM
from agex_supervisor.pool import Pool

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)
H = TypeVar("H", bound=Handler)


class Agent:
    """Opens nothing when made: it needs no key and no kernel feature before `start()` or the first call.

    isolation: "none" (this process, a guard rail only), "process" or "kernel" (a locked worker); AGEX_ISOLATION can
    raise it. policy: a packaged name, a path to a .toml, or a Policy. Modules and classes registered by `module` and
    `cls` are imported by the worker; functions registered by `fn`, live objects given to `module`, and whatever has
    `runs="host"` run in YOUR process, with arguments that the agent chose and your annotations validated. action_timeout_s and task_timeout_s are seconds of wall clock; max_tokens counts both
    ways; max_cost is in the currency of prices=(a million tokens in, a million out), or with a third price of those in that the provider had cached.
    """

    def __init__(
        self,
        name: str | None = None,
        primer: str | None = None,
        llm: str | LLM | None = None,
        isolation: str = "none",
        policy: str | Path | Policy = "default",
        state: str | State | None = None,
        pool: Pool | None = None,
        max_actions: int = 10,
        action_timeout_s: float = 30.0,
        task_timeout_s: float | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        prices: Prices | None = None,
    ) -> None:
        self.isolation: Isolation = asked(isolation)
        self.name = name or f"agent-{secrets.token_hex(4)}"
        self._given_name = name
        self.primer = primer
        self._given_state = state
        self._state = State.of(state)
        if not action_timeout_s > 0:
            raise ValueError(f"action_timeout_s must be above 0, not {action_timeout_s!r}")
        self.budget = budget_of(max_actions, max_tokens, max_cost, prices)
        self._policy = policy
        self._given_pool = pool
        self._given_llm = llm
        self._llm: LLM | None = None
        self._registry = Registry()
        self._sub_agents: dict[str, SubAgent] = {}
        self._skills = Skills()
        self._prompts: dict[tuple[type, ...], str] = {}
        self._commands = Commands()
        self._benches: dict[tuple[Any, ...], Workbench] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.action_timeout_s = action_timeout_s
        self.task_timeout_s = task_timeout_s
        self.priced = prices is not None
        self.running = Running()
        self.sessions = Sessions(self, self._state)
        if self.isolation == "none":
            # Now, and not in its first call, which waits for the model long enough.
            import_module("agex.local")
        if state is not None:
            import_module("kvgit")  # for the same reason

    # --- what the agent may reach ---

    def module(
        self,
        obj: object,
        *,
        name: str | None = None,
        visibility: Visibility = "medium",
        include: Pattern = None,
        exclude: Pattern = None,
        configure: Mapping[str, MemberSpec] | None = None,
        recursive: bool = False,
        runs: Side | None = None,
    ) -> None:
        """Let agent code import this module, or give it a live object under `name`. The worker imports a module; a live
        object stays HERE, and its methods run in YOUR process with arguments that the agent chose, as do a module's
        functions with `runs="host"`. See `Registry.module` for the choices."""
        self._registry.module(
            obj,
            name=name,
            visibility=visibility,
            include=include,
            exclude=exclude,
            configure=configure,
            recursive=recursive,
            runs=runs,
        )
        self._changed()

    @overload
    def cls(self, obj: C, **choices: Any) -> C: ...
    @overload
    def cls(self, **choices: Any) -> Callable[[C], C]: ...
    def cls(self, obj: Any = None, **choices: Any) -> Any:
        """Give agent code a class under its bare name; also a decorator. Its instances live in the worker; with
        `runs="host"` they live HERE, their methods run in YOUR process, and code holds handles to them."""
        if obj is None:
            return partial(self.cls, **choices)
        self._registry.cls(obj, **choices)
        self._changed()
        return obj

    @overload
    def fn(self, obj: F, **choices: Any) -> F: ...
    @overload
    def fn(self, **choices: Any) -> Callable[[F], F]: ...
    def fn(self, obj: Any = None, **choices: Any) -> Any:
        """Give agent code a function; also a decorator. It runs HERE, in your process, trusted: treat its arguments as
        chosen by an adversary within their annotations. `runs="worker"` sends it to the worker instead. A task of another
        agent becomes a sub-agent, whose policy may allow no more than this one's, unless wider=True."""
        if obj is None:
            return partial(self.fn, **choices)
        if isinstance(obj, Task):
            self._add_sub_agent(obj, **choices)
        else:
            self._registry.fn(obj, names=Scope.of_caller().names(), **choices)
        self._changed()
        return obj

    def skill(self, source: object) -> None:
        """Give the agent a skill: a folder with a SKILL.md, such a file, its bytes, or a Traversable of a package.

        SKILL.md opens with front matter: `name`, `description` and, for those it is about, `modules`. Its files are read-only
        below `skills/NAME/` of the workspace, and the prompt says what there is. ConfigurationError says what is wrong.
        """
        self._skills.add(source)
        self._changed()

    @overload
    def terminal(
        self, handler: H, *, name: str | None = None, visibility: Visibility = "high", docstring: str | None = None
    ) -> H: ...
    @overload
    def terminal(
        self, *, name: str | None = None, visibility: Visibility = "high", docstring: str | None = None
    ) -> Callable[[H], H]: ...
    def terminal(
        self,
        handler: Any = None,
        *,
        name: str | None = None,
        visibility: Visibility = "high",
        docstring: str | None = None,
    ) -> Any:
        """Give the agent's terminal a command; also a decorator. `handler(ctx)` runs HERE, in your process, trusted, on a
        thread of its own: treat ctx.args, ctx.stdin and files as chosen by an adversary. What it raises is exit code 1."""
        if handler is None:
            return partial(self.terminal, name=name, visibility=visibility, docstring=docstring)
        self._commands.add(handler, name, visibility, docstring)
        self._changed()
        return handler

    @overload
    def task(self, given: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        given: str | None = None,
        /,
        *,
        primer: str | None = None,
        setup: str | None = None,
        trust: Literal["unpickle"] | None = None,
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(
        self,
        given: Any = None,
        /,
        *,
        primer: str | None = None,
        setup: str | None = None,
        trust: Literal["unpickle"] | None = None,
    ) -> Any:
        """Make a typed function with an empty body a task: `@agent.task`, `@agent.task("primer")`, `@agent.task(primer=)`.

        setup: code that is run before the model's first action, in the same sandbox; the model is shown it and what it
        printed or raised, and its names are gone afterwards, as those of every action. trust="unpickle": a result of a
        class that cannot cross is unpickled HERE, which lets the agent run any code in YOUR process. The policy has to say
        `[results] trust_unpickle = true`.
        """
        if given is not None and not isinstance(given, str):
            return Task(self, given, primer, Scope.of_caller(), trust, setup)
        text = given if given is not None else primer

        def decorate(function: Callable[P, R]) -> Task[P, R]:
            return Task(self, function, text, Scope.of_caller(), trust, setup)

        return decorate

    def state(self, session: str = "default") -> SessionState:
        """What the session holds: its files, its cache, and every version of them. It follows the session; write to it while
        no task runs there, or what both changed is taken from whoever was later."""
        return self._state.session(session)

    # --- its life ---

    def start(self) -> Self:
        """Raise now what would be missing at the first call, and warm the pool. ConfigurationError, PolicyError,
        IsolationUnavailable or PreloadFailed say what it is."""
        _ = self.model
        self.workbench(()).warm()
        for each in self._sub_agents.values():
            _ = each.task.agent.model
        return self

    def close(self) -> None:
        """Remove the sessions' workspaces. The shared pool stays for other agents."""
        self._closed = True
        self.sessions.close()
        if self._state is not self._given_state:
            self._state.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        registry = self._registry
        live = [entry.name for entry in registry.objects]
        here = ", ".join([*registry.host_functions(), *live, *registry.host_classes()]) or "nothing"
        modules = [entry.name for entry in registry.modules if entry.runs == "worker"]
        there = ", ".join([*modules, *registry.bindings()]) or "nothing"
        policy = self._policy.name if isinstance(self._policy, Policy) else str(self._policy)
        return (
            f"<Agent {self.name} isolation={self.isolation!r} policy={policy!r};"
            f" in the worker: {there}; in this process: {here}>"
        )

    # --- what its tasks need ---

    @property
    def model(self) -> LLM:
        """The language model; ConfigurationError says how to name one."""
        if self._llm is None:
            # Here, for the clients take longer to import than all the rest.
            from agex.llm.select import from_setting

            self._llm = from_setting(self._given_llm)
        return self._llm

    @property
    def pool(self) -> Pool:
        return self._given_pool or shared_pool()

    @property
    def captured(self) -> tuple[str, ...]:
        """What functions with `runs="worker"` take along from this process."""
        return self._registry.captured()

    def workbench(self, classes: tuple[type, ...]) -> Workbench:
        """The compiled policy and registrations, with the classes that a task's signature names."""
        if self._closed:
            raise ConfigurationError(f"agent {self.name} is closed; make another")
        with self._lock:
            bench = self._benches.get(classes)
            if bench is None:
                check_narrow(self, self.loaded_policy(), self._sub_agents.values())
                skills, commands = self._skills.files(), self._commands.all
                bench = Workbench(self._registry, self._policy, self.isolation, self.pool, classes, skills, commands)
                self._benches[classes] = bench
            return bench

    def commands_text(self) -> str:
        """What the model is told of the commands that `terminal` registered."""
        return self._commands.text()

    @property
    def has_skills(self) -> bool:
        """Whether skills are mounted in its workspaces."""
        return any(True for _ in self._skills)

    def loaded_policy(self) -> Policy:
        """The policy as it is now. PolicyError where it is none."""
        return self._policy if isinstance(self._policy, Policy) else Policy.load(self._policy)

    def registers(self, function: object) -> bool:
        """Whether agent code was given this very function."""
        return any(entry.function is function for entry in self._registry.functions)

    def check_trust(self) -> None:
        """PolicyError unless the policy lets tasks unpickle results in this process."""
        policy = self.loaded_policy()
        if not policy.results.trust_unpickle:
            raise refusal(
                policy,
                "results.trust_unpickle",
                'trust="unpickle" lets the agent run code in your process, and this policy does not',
            )

    def system_prompt(self, classes: tuple[type, ...]) -> str:
        """What the model is told above every task of this agent: the same text, byte by byte, until something is registered."""
        bench = self.workbench(classes)
        text = self._prompts.get(classes)
        if text is None:
            text = self._prompts[classes] = self._made_prompt(bench)
        return text

    def _made_prompt(self, bench: Workbench) -> str:
        policy, registry = bench.policy, self._registry
        ordinary = [grant.name for grant in bench.ordinary]
        importable = {*ordinary, *(entry.name for entry in registry.modules)}
        if policy.python.mode != "full":
            self._skills.check(importable.__contains__)
        return system_prompt(
            agent_name=self._given_name,
            primer=self.primer,
            registry_text=render_registry(registry, skills=self._skills.modules()),
            policy_text=policy_words(policy, self.isolation, bench.limits),
            mode=policy.python.mode,
            max_actions=self.budget.max_actions,
            ordinary=ordinary,
            skills=[(each.name, each.entry, each.description) for each in self._skills],
        )

    def _add_sub_agent(
        self, task: Task[..., Any], *, wider: bool = False, runs: str | None = None, **choices: Any
    ) -> None:
        if task.agent is self:
            raise ValueError(
                f"{task.__name__} is a task of {self.name} itself, which would call itself without end;"
                " give it a task of another agent"
            )
        if runs not in (None, "host"):
            raise ConfigurationError(
                f"task {task.__name__} runs in your process, with a worker of its own; leave out runs="
            )
        sub_agent = SubAgent(task, wider)
        entry = self._registry.fn(sub_agent, **choices)
        self._sub_agents[entry.name] = sub_agent

    def _changed(self) -> None:
        with self._lock:
            self._benches.clear()
            self._prompts.clear()
