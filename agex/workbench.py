"""From registrations, a policy and an isolation to something that runs code: what Agent and Sandbox share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from agex.captures import refuse_captured_data, refuse_riders
from agex.errors import ConfigurationError, ContractError
from agex.registry import Registry
from agex_policies.compile import compile_plan, compile_sandbox, limits_of, unenforced
from agex_policies.errors import PolicyError
from agex_policies.host_calls import host_call_limits_of
from agex_policies.schema import Policy
from agex_protocol.budget import Caps
from agex_protocol.plan import Isolation, Limits, LockdownPlan, SandboxPlan
from agex_supervisor.contract import Contract, Unportable
from agex_supervisor.execution import Executor, WorkerExecutor
from agex_supervisor.host_calls import HostCalls, Hosted, hosted
from agex_supervisor.outbound import NotSendable, dump_bindings, is_importable
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.session import Equipment, Session


class Workbench:
    """Compiles the policy once, when it is first needed, and makes executors from it.

    classes: those that a task's signature names; agent code knows them by their bare names.
    """

    def __init__(
        self,
        registry: Registry,
        policy: str | Path | Policy,
        isolation: Isolation,
        pool: Pool,
        classes: Iterable[type] = (),
    ) -> None:
        classes = tuple(classes)
        if isolation != "none":
            for cls in classes:
                if not is_importable(cls):
                    refuse_captured_data(cls, f"class {cls.__name__!r} of the signature")
        self.isolation: Isolation = isolation
        self.policy = policy if isinstance(policy, Policy) else Policy.load(policy)
        self._registry = registry
        self._pool = pool
        self._bindings = {**{cls.__name__: cls for cls in classes}, **registry.bindings()}
        self.unenforced = unenforced(self.policy, isolation)
        self.sandbox: SandboxPlan = compile_sandbox(self.policy, registry.grants())
        self.limits: Limits = limits_of(self.policy)
        self._plan: LockdownPlan | None = None
        self._equipment: Equipment | None = None

    def executor(self, workspace: Path | None = None, own_workspace: str = "") -> Executor:
        """One session's executor. `workspace` was made by the pool; `own_workspace` is a directory of the caller's.

        PolicyError and IsolationUnavailable say why there can be none.
        """
        functions = self._hosted()
        for contract in (each for function in functions.values() for each in function.contracts.values()):
            self.check_result(contract)
        if self.isolation == "none":
            # Here, because only `none` brings the worker's side of the house into this process.
            from agex.local import LocalExecutor

            place = workspace or Path(own_workspace)
            return LocalExecutor(self.sandbox, self._bindings, functions, place, self.limits, self.unenforced)
        caps = Caps.within(self.limits.result_bytes)
        calls = HostCalls(functions.values(), caps, refuse_riders, host_call_limits_of(self.policy))
        kit = Kit(self.plan(), self._preload(), own_workspace)
        session = Session(self._pool, kit, self._equip(calls), workspace, self.unenforced)
        return WorkerExecutor(session, calls, caps)

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

    def _hosted(self) -> dict[str, Hosted]:
        local = self.isolation == "none"
        try:
            return {
                name: hosted(name, entry.function, entry.signature, entry.docstring, local=local)
                for name, entry in self._registry.host_functions().items()
            }
        except Unportable as error:
            raise ContractError(str(error)) from error

    def _equip(self, calls: HostCalls) -> Equipment:
        if self._equipment is None:
            try:
                bindings = dump_bindings(self._bindings)
            except NotSendable as error:
                raise ConfigurationError(str(error)) from error
            may_seal = self.policy.results.opaque
            self._equipment = Equipment(self.sandbox, bindings, calls.declared, refuse_riders, may_seal)
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


def _modules_of(value: object) -> list[str]:
    """The modules that a class or function needs where it is rebuilt: its own, and those its bases come from."""
    sources: Iterable[Any] = value.__mro__ if isinstance(value, type) else (value,)
    names = [cast(str, getattr(source, "__module__", "")) for source in sources]
    return [name for name in names if name and name not in ("builtins", "__main__", "typing", "abc")]
