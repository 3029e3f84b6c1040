"""Sandbox: the same worker without a model, for code that comes from anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from agex.entries import Module
from agex.errors import CodeError, ConfigurationError, ContractError
from agex.isolation import asked
from agex.pools import shared_pool
from agex.registry import Registry
from agex.workbench import Workbench
from agex_policies.python_paths import imported_from
from agex_policies.schema import Policy, refuse_sources_in
from agex_supervisor.bridge import Ending, WaitEnded, ended_by, on_thread
from agex_supervisor.contract import Contract, Unportable
from agex_supervisor.denials import Denial
from agex_supervisor.execution import ErrorInfo, Executed, Executor, RunUsage
from agex_supervisor.outbound import NotSendable
from agex_supervisor.pool import Pool
from agex_supervisor.promises import LockdownReport


@dataclass(frozen=True, slots=True)
class SandboxOutcome:
    """How a run ended. status: "ok", "error", "timeout", "killed", "cancelled" or "violation".

    value: the last expression, validated as `returns`; without `returns` plain data, or Unsent. error: what the code
    raised, or why it was ended. denials: what was refused to it meanwhile, also where it went on.
    """

    status: str
    value: Any = None
    stdout: str = ""
    stderr: str = ""
    error: ErrorInfo | None = None
    denials: list[Denial] = field(default_factory=list[Denial])
    usage: RunUsage = field(default_factory=RunUsage)
    lockdown: LockdownReport = field(default_factory=lambda: LockdownReport("none"))

    def unwrap(self) -> Any:
        """The value; or CodeError, which carries this outcome."""
        if self.status == "ok":
            return self.value
        told = f"{self.error.type}: {self.error.message}" if self.error else "no more is known"
        raise CodeError(f"the code ended with status {self.status!r}: {told}", self, error=self.error)


class Sandbox:
    """Runs code in a locked worker, each run in a fresh namespace; files in the workspace stay.

    modules: what restricted code may import, by name, module object or `agex.Module`. functions: called by the code, run
    HERE, with arguments validated by their annotations. workspace: a directory of yours to work in; by default one is
    made, and removed by `close()`. Use it as a context manager. Not for two runs at once; `cancel()` is for any thread.
    """

    def __init__(
        self,
        isolation: str = "kernel",
        policy: str | Path | Policy = "default",
        modules: Iterable[ModuleType | str | Module] = (),
        functions: Mapping[str, Callable[..., Any]] | None = None,
        workspace: str | Path | None = None,
        pool: Pool | None = None,
    ) -> None:
        self.isolation = asked(isolation)
        self._pool = pool or shared_pool()
        registry = Registry.of(modules, functions)
        self._bench = Workbench(registry, policy, self.isolation, self._pool)
        self.policy = self._bench.policy
        self._given = _directory(workspace) if workspace is not None else None
        if self._given is not None:
            refuse_sources_in(self.policy, self._given)
            if self.isolation == "kernel":
                _refuse_own_code_in(self._given)
        self._made: Path | None = None
        self._runs = 0
        self._executor: Executor | None = None
        self._last_contract: tuple[Any, Contract] | None = None
        self._running = threading.Lock()
        self._ending = Ending()
        self._closed = False

    def run(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        returns: Any = None,
        timeout_s: float | None = None,
    ) -> SandboxOutcome:
        """Run a script; what the code does never raises here.

        inputs: names for the code, by identifier. returns: the type of its last expression. timeout_s: seconds of wall
        clock, at most the policy's limits.wall_time. Raises ContractError, ConfigurationError, PolicyError,
        IsolationUnavailable and PoolExhausted for what the caller or the machine lacks.
        """
        given = _checked_inputs(code, inputs, timeout_s)
        contract = self._contract(returns)
        if not self._running.acquire(blocking=False):
            raise RuntimeError(
                "this sandbox is running something: wait for it, or use another Sandbox (also from a host function)"
            )
        self._ending = Ending()
        try:
            limit = self._bench.limits.wall_time_s
            try:
                with ended_by(self._ending):
                    executor = self._ready(keeps=contract.has_handles)
            except WaitEnded:
                return SandboxOutcome("cancelled", error=_CANCELLED, lockdown=LockdownReport(self.isolation))
            if self._ending.ended:  # while the worker was made
                return SandboxOutcome("cancelled", error=_CANCELLED, lockdown=executor.report)
            self._runs += 1
            within = limit if timeout_s is None else min(timeout_s, limit)
            executed = executor.execute(code, given, contract, task=False, timeout_s=within, number=self._runs)
            return _outcome(executed, executor.report)
        except NotSendable as error:
            raise ContractError(str(error)) from error
        finally:
            try:
                if self._bench.sandbox.mode == "full" and self._executor is not None:
                    # Ordinary Python can change its interpreter for whatever runs in it next: that must be nothing but
                    # the objects of this run behind handles.
                    self._executor.release()
            finally:
                self._running.release()

    async def arun(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        returns: Any = None,
        timeout_s: float | None = None,
    ) -> SandboxOutcome:
        """As `run`, awaited. Cancelling it ends the run."""
        return await on_thread(lambda: self.run(code, inputs, returns, timeout_s), self.cancel)

    def cancel(self) -> None:
        """End the run under way, which then has status "cancelled". Nothing happens if there is none."""
        if self._running.locked():
            self._ending.end()
            if (executor := self._executor) is not None:
                executor.cancel()

    @property
    def workspace(self) -> Path | None:
        """The directory given by the caller, or None while the sandbox works in one of its own."""
        return self._given

    def close(self) -> None:
        """Kill the worker and remove the workspace that was made for it. A closed sandbox runs nothing more, and the objects
        behind its handles are gone."""
        self._closed = True
        if self._executor is not None:
            self._executor.close()
            self._executor = None
        if self._made is not None:
            self._pool.drop_workspace(self._made)
            self._made = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Sandbox(isolation={self.isolation!r}, policy={self.policy.name!r})"

    def _ready(self, *, keeps: bool) -> Executor:
        if self._closed:
            raise ConfigurationError("this sandbox is closed; make another")
        if self._executor is None:
            if self._given is not None:
                self._executor = self._bench.executor(own_workspace=str(self._given))
            else:
                self._made = self._pool.new_workspace()
                self._executor = self._bench.executor(self._made)
        full = self._bench.sandbox.mode == "full"  # then the session is over with the run
        self._executor.start(keeps=full and (keeps or self._executor.takes_handles))
        return self._executor

    def _contract(self, returns: Any) -> Contract:
        annotation = Any if returns is None else returns
        last = self._last_contract
        if last is not None and last[0] is annotation:
            return last[1]  # most sandboxes ask for one type again and again, and compiling it costs as much as a run
        try:
            contract = Contract.of(annotation, where="returns", local=self.isolation == "none", result=True)
        except Unportable as error:
            raise ContractError(str(error)) from error
        self._bench.check_result(contract)
        self._last_contract = (annotation, contract)
        return contract


def _directory(workspace: str | Path) -> Path:
    path = Path(workspace).resolve()
    if not path.is_dir():
        raise ConfigurationError(f"workspace={str(workspace)!r} is not a directory; make it first")
    if path == Path(path.anchor) or path == Path.home():
        raise ConfigurationError(f"workspace={str(workspace)!r} is far more than a workspace; make a directory for it")
    return path


def _refuse_own_code_in(workspace: Path) -> None:
    if place := imported_from(workspace):
        raise ConfigurationError(
            f"workspace={str(workspace)!r} cannot be worked in: this process runs what it imports from {place}, and agent"
            " code could change that; make a directory for its files alone"
        )


def _checked_inputs(code: Any, inputs: Mapping[str, object] | None, timeout_s: float | None) -> dict[str, object]:
    if not isinstance(code, str):
        raise ContractError(f"code must be a string of Python, not {type(code).__name__}")
    if timeout_s is not None and not timeout_s > 0:
        raise ContractError(f"timeout_s must be above 0, not {timeout_s!r}")
    given: dict[Any, object] = dict(inputs or {})
    for name in given:
        if not isinstance(name, str) or not name.isidentifier():
            raise ContractError(f"inputs: {name!r} is not a name that code could use")
    return given


_CANCELLED = ErrorInfo("cancelled", "cancelled by the caller")
_ENDINGS = {"timeout": "timeout", "cancelled": "cancelled", "violation": "violation"}


def _outcome(executed: Executed, report: LockdownReport) -> SandboxOutcome:
    status, error = "ok", executed.error
    if executed.death is not None:
        status = _ENDINGS.get(executed.death.cause, "killed")
        error = ErrorInfo(executed.death.cause, executed.death.detail)
    elif error is not None:
        status = "error"
    return SandboxOutcome(
        status=status,
        value=executed.value if status == "ok" else None,
        stdout=executed.stdout,
        stderr=executed.stderr,
        error=error,
        denials=executed.denials,
        usage=executed.usage,
        lockdown=report,
    )
