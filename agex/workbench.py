"""From registrations, a policy and an isolation to something that runs code: what Agent and Sandbox share."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from agex.captures import captured_by, refuse_riders
from agex.errors import ConfigurationError, ContractError
from agex.registry import Registry
from agex.skills import FOLDER
from agex.stdlib_modules import ordinary_grants
from agex_policies.compile import compile_plan, compile_sandbox, limits_of, unenforced
from agex_policies.errors import PolicyError
from agex_policies.host_calls import host_call_limits_of
from agex_policies.schema import Policy
from agex_protocol.budget import Caps
from agex_protocol.plan import ClassGrant, Isolation, Limits, LockdownPlan, SandboxPlan
from agex_supervisor.cache import Cache
from agex_supervisor.contract import Contract, Unportable
from agex_supervisor.equipment import Equipment
from agex_supervisor.execution import Executor, WorkerExecutor
from agex_supervisor.furnishing import Furniture
from agex_supervisor.host_calls import HostCalls, Hosted, hosted
from agex_supervisor.host_objects import HostedObject, hosted_object
from agex_supervisor.outbound import NotSendable, dump_bindings, is_importable
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.session import Session
from agex_supervisor.terminal_commands import TerminalCommand, TerminalCommands


class Workbench:
    """Compiles the policy once, when it is first needed, and makes executors from it.

    classes: those that a task's signature names; agent code knows them by their bare names. skills: files that stand below
    `skills/` in every workspace, for code to read only.
    """

    def __init__(
        self,
        registry: Registry,
        policy: str | Path | Policy,
        isolation: Isolation,
        pool: Pool,
        classes: Iterable[type] = (),
        skills: Mapping[str, bytes] | None = None,
        commands: Sequence[TerminalCommand] = (),
    ) -> None:
        here = {entry.cls for entry in registry.host_classes().values()} | {
            type(each.live) for each in registry.objects
        }
        classes = tuple(cls for cls in classes if cls not in here)
        if isolation != "none":
            for cls in classes:
                if not is_importable(cls):
                    captured_by(cls, f"class {cls.__name__!r} of the signature")
        self.isolation: Isolation = isolation
        self.policy = policy if isinstance(policy, Policy) else Policy.load(policy)
        self._registry = registry
        self._commands = tuple(commands)
        self._pool = pool
        self._bindings = {**{cls.__name__: cls for cls in classes}, **registry.bindings()}
        self.unenforced = unenforced(self.policy, isolation)
        said = [entry.name for entry in registry.modules]
        self.ordinary = ordinary_grants(self.policy, isolation, said)
        self.sandbox: SandboxPlan = compile_sandbox(self.policy, (*registry.grants(), *self.ordinary))
        self.limits: Limits = limits_of(self.policy)
        if registry.class_grants():
            self.sandbox = replace(self.sandbox, classes=_enforceable(registry, self.policy))
        self._furniture = Furniture(FOLDER, skills) if skills else None
        if self._furniture is not None:
            self.sandbox = replace(self.sandbox, read_only=(FOLDER,))
        self._plan: LockdownPlan | None = None
        self._equipment: Equipment | None = None
        self._host: _Host | None = None

    def executor(
        self, workspace: Path | None = None, own_workspace: str = "", *, cache: Cache | None = None
    ) -> Executor:
        """One session's executor. `workspace` was made by the pool; `own_workspace` is a directory of the caller's. cache: what
        the session's code keeps; a fresh one where there is none.

        PolicyError and IsolationUnavailable say why there can be none.
        """
        host = self._hosted()
        for each in host.callables:
            for contract in each.contracts.values():
                self.check_result(contract)
        caps = Caps.within(self.limits.result_bytes)
        if self.isolation == "none":
            # Here, because only `none` brings the worker's side of the house into this process.
            from agex.local import LocalExecutor

            place = workspace or Path(own_workspace)
            terminal = TerminalCommands(self._commands)
            direct = HostCalls(host.functions, caps, objects=host.objects, commanding=terminal.functions(local=True))
            return LocalExecutor(
                self.sandbox,
                self._bindings,
                direct,
                place,
                self.limits,
                self.unenforced,
                furniture=self._furniture,
                commands=terminal,
                cache=cache,
            )
        limits = host_call_limits_of(self.policy)
        terminal = TerminalCommands(self._commands, messages=limits.messages)
        calls = HostCalls(host.functions, caps, refuse_riders, limits, host.objects, terminal.functions())
        kit = Kit(self.plan(), self._preload(), own_workspace)
        session = Session(
            self._pool,
            kit,
            self._equip(calls, terminal),
            workspace,
            self.unenforced,
            handles=calls.handles,
            furniture=self._furniture,
            cache=cache,
        )
        return WorkerExecutor(session, calls, caps, terminal)

    def check_result(self, contract: Contract) -> None:
        """PolicyError where the policy does not let what comes from a worker be what this contract says."""
        if contract.has_opaque and not self.policy.results.opaque:
            raise refusal(self.policy, "results.opaque", "results that stay sealed bytes (Opaque) are not allowed")

    def plan(self) -> LockdownPlan:
        """The compiled lockdown; for isolation "process" and "kernel" only."""
        if self._plan is None:
            assert self.isolation != "none"
            self._plan = compile_plan(self.policy, self.isolation)
        return self._plan

    def warm(self) -> None:
        """Boot the zygote and lock one spare now; nothing to do where there is no process."""
        if self.isolation != "none":
            self._pool.warm(Kit(self.plan(), self._preload()))

    def _hosted(self) -> _Host:
        if self._host is None:
            try:
                self._host = _host(self._registry, local=self.isolation == "none")
            except Unportable as error:
                raise ContractError(str(error)) from error
        return self._host

    def _equip(self, calls: HostCalls, terminal: TerminalCommands) -> Equipment:
        if self._equipment is None:
            try:
                bindings = dump_bindings(self._bindings)
            except NotSendable as error:
                raise ConfigurationError(str(error)) from error
            may_seal = self.policy.results.opaque
            self._equipment = Equipment(
                self.sandbox,
                bindings,
                calls.declared,
                calls.objects,
                refuse_riders,
                may_seal,
                terminal.declared,
                calls.commanding,
            )
        return self._equipment

    def _preload(self) -> tuple[str, ...]:
        named = list(self._registry.preload())
        for value in self._bindings.values():
            named += _modules_of(value)
        return tuple(sorted(set(named)))


def refusal(policy: Policy, key: str, message: str) -> PolicyError:
    """A policy that forbids what is asked by one of its keys, which is a flag."""
    name = key.rpartition(".")[2]
    return policy.set_by(key).error(message, key=key, remedy=f'write `{name} = true`, and widen = ["{key}"] if need be')


def _enforceable(registry: Registry, policy: Policy) -> tuple[ClassGrant, ...]:
    """What is taken away of classes in the worker, which the inner sandbox holds. ConfigurationError where there is none."""
    grants = registry.class_grants()
    if policy.python.mode == "full":
        raise ConfigurationError(
            f"class {grants[0].qualname!r} is registered with include, exclude or constructable=False, which nothing holds with"
            f" mode = 'full' (policy {policy.name!r}): register it with runs='host', or use mode 'restricted'"
        )
    return grants


@dataclass(frozen=True, slots=True)
class _Host:
    """What runs in this process, compiled; the same for every session."""

    functions: tuple[Hosted, ...]
    objects: tuple[HostedObject, ...]

    @property
    def callables(self) -> list[Hosted]:
        return [*self.functions, *(member for each in self.objects for member in each.members.values())]


def _host(registry: Registry, *, local: bool) -> _Host:
    classes, live = registry.host_classes().values(), registry.objects
    stay = [entry.cls for entry in classes] + [type(entry.live) for entry in live]
    hosts = tuple(dict.fromkeys(cls for cls in stay if cls.__module__ != "builtins"))
    functions = tuple(
        hosted(name, entry.function, entry.signature, entry.docstring, local=local, hosts=hosts)
        for name, entry in registry.host_functions().items()
    )
    made = partial(hosted_object, local=local, hosts=hosts)
    objects = [made(each.name, type(each.live), each.live, each.members, doc=each.docstring) for each in live]
    for each in classes:
        doc = inspect.getdoc(each.cls) if each.docstring is None else each.docstring
        objects.append(made(each.name, each.cls, None, each.members, each.constructor, doc))
    return _Host(functions, tuple(objects))


def _modules_of(value: object) -> list[str]:
    """The modules that a class or function needs where it is rebuilt: its own, and those its bases come from."""
    sources: Iterable[Any] = value.__mro__ if isinstance(value, type) else (value,)
    names = [cast(str, getattr(source, "__module__", "")) for source in sources]
    return [name for name in names if name and name not in ("builtins", "__main__", "typing", "abc")]
