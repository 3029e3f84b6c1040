"""isolation="none": agent code runs in this process behind the inner sandbox, and objects pass as themselves.

A guard rail, not a wall. A run is ended by an asynchronous exception, so it cannot be ended inside one C call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agex.containers import replaced
from agex.direct import DirectCalls
from agex.interruption import Interrupted, Interruption, Passing, interruptibly
from agex.local_cache import LocalCache
from agex_protocol.plan import Limits, SandboxPlan
from agex_supervisor.cache import Cache
from agex_supervisor.contract import Contract, ContractMismatch
from agex_supervisor.death import Death
from agex_supervisor.denials import Denial, merged, of_death, of_words
from agex_supervisor.display import display
from agex_supervisor.error_info import MAX_TEXT_CHARS, error_info
from agex_supervisor.errors import ContractError
from agex_supervisor.execution import (
    MAX_OUTLINE_CHARS,
    NO_OUTLINE,
    Executed,
    RunUsage,
    WorkspaceAction,
    asked_of,
    done,
    too_large,
)
from agex_supervisor.furnishing import Furniture
from agex_supervisor.handle import Handle
from agex_supervisor.host_calls import HostCalls
from agex_supervisor.local_holder import local_object
from agex_supervisor.opaque import Opaque
from agex_supervisor.output import TextOutput
from agex_supervisor.png import Image, png
from agex_supervisor.promises import CELLS, LockdownReport
from agex_supervisor.terminal_commands import TerminalCommands
from agex_supervisor.wording import as_worker_says
from agex_worker import denials as refusals
from agex_worker import turn
from agex_worker.outline import outline
from agex_worker.printing import bounded_print
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.terminal import Terminal


class LocalExecutor:
    """Runs code on the calling thread. What it prints by `print` is captured; a library's own writes are not."""

    def __init__(
        self,
        sandbox: SandboxPlan,
        bindings: Mapping[str, object],
        calls: HostCalls,
        workspace: Path,
        limits: Limits,
        unenforced: Sequence[str] = (),
        *,
        furniture: Furniture | None = None,
        commands: TerminalCommands | None = None,
        cache: Cache | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._furniture = furniture
        self._commands = TerminalCommands(()) if commands is None else commands
        self._calls = calls
        self._interruption = Interruption()
        self._direct = DirectCalls(calls, self._interruption.away)
        self._names = {**bindings, **self._direct.names.names}
        self._workspace = workspace
        self._limits = limits
        kept = Cache(max_bytes=limits.result_bytes) if cache is None else cache
        self._cache = LocalCache(kept, self._interruption.away)
        self.report = LockdownReport("none", {promise: [] for promise in CELLS}, {}, [*CELLS, *unenforced], [])

    @property
    def takes_handles(self) -> bool:
        return self._calls.takes_handles

    @property
    def seat(self) -> None:
        """There is no worker."""

    def start(self, until: float = float("inf"), *, keeps: bool = False) -> None:
        """Nothing has to be ready."""

    def execute(
        self,
        code: str,
        inputs: Mapping[str, object],
        returns: Contract,
        *,
        task: bool,
        timeout_s: float,
        number: int = 0,
    ) -> Executed:
        return interruptibly(lambda: self._execute(code, inputs, returns, task, timeout_s, number))

    def _execute(
        self,
        code: str,
        inputs: Mapping[str, object],
        returns: Contract,
        task: bool,
        timeout_s: float,
        number: int,
    ) -> Executed:
        self._direct.begin()
        if self._furniture is not None:
            self._furniture.place(self._workspace)
        inputs = {name: replaced(value, _opened) for name, value in inputs.items()}
        output = TextOutput(self._limits.output_bytes)
        printed = _printer(output)
        names = {**self._names, "print": bounded_print(printed) if task else printed}
        images: list[Image] = []
        given = {name: self._direct.presented(value) for name, value in inputs.items()}
        executed = self._run(
            timeout_s,
            lambda: turn.execute(
                code,
                self._sandbox,
                names,
                given,
                task=task,
                filename=turn.script_name(number, task=task),
                files=WorkspaceFiles(self._workspace, self._sandbox.read_only),
                accept=lambda value: _accepted(self._direct.found(value), returns),
                members=self._direct.names.modules,
                cache=self._cache,
                view=lambda data: images.append(png(data)),
                passes=(KeyboardInterrupt, Passing),  # code here has no way to it: somebody pressed Ctrl-C
            ),
        )
        executed.stdout, executed.images = output.take(), images
        return executed

    def tend(self, action: WorkspaceAction, *, timeout_s: float) -> Executed:
        return interruptibly(lambda: self._tend(action, timeout_s=timeout_s))

    def _tend(self, action: WorkspaceAction, *, timeout_s: float) -> Executed:
        if (refused := too_large(action)) is not None:
            return refused
        self._direct.begin()
        if self._furniture is not None:
            self._furniture.place(self._workspace)
        out, err = TextOutput(self._limits.output_bytes), TextOutput(self._limits.output_bytes)
        direct = self._direct
        terminal = Terminal(
            self._sandbox, self._names, direct.names.modules, self._commands.declared, direct.commanding
        )
        asked = asked_of(action)
        with self._commands.opened():
            executed = self._run(
                timeout_s, lambda: terminal.tend(asked, self._workspace, out.write, err.write, redirects=False)
            )
        executed.stdout, executed.stderr = out.take(), err.take()
        return executed

    def _run(self, timeout_s: float, call: Callable[[], turn.Ended]) -> Executed:
        started, cpu = time.monotonic(), time.thread_time()
        record = refusals.Record()
        self._calls.awaiting.renew()
        try:
            with self._interruption.running(timeout_s):
                ended = refusals.collected(record, call)
        except Interrupted:
            ended = turn.Ended("interrupted")
        except Passing as passing:
            raise passing.error from None
        executed = self._told(ended)
        executed.denials = self._denials(record, executed.death, timeout_s)
        executed.usage = RunUsage(time.monotonic() - started, time.thread_time() - cpu, 0)
        return executed

    def outline(self, timeout_s: float) -> str:
        with os.scandir(self._workspace) as entries:
            if next(entries, None) is None:
                return ""
        return interruptibly(lambda: self._outline(timeout_s))

    def _outline(self, timeout_s: float) -> str:
        try:
            with self._interruption.running(timeout_s):
                return display(outline(WorkspaceFiles(self._workspace)), limit=MAX_OUTLINE_CHARS)
        except Interrupted:
            return NO_OUTLINE

    @contextmanager
    def workspace(self) -> Generator[int | None]:
        opened = os.open(self._workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield opened
        finally:
            os.close(opened)

    def cancel(self) -> None:
        if self._interruption.interrupt("cancelled"):
            self._calls.awaiting.cancel()

    def release(self) -> None:
        """Nothing is held but the loop of async host functions."""
        self._calls.awaiting.close()

    def close(self) -> None:
        """End the run under way, and let go of the objects that code was given."""
        self.cancel()
        self._calls.handles.clear()
        self._calls.awaiting.close()

    def _told(self, ended: turn.Ended) -> Executed:
        cause = self._interruption.cause
        if cause and ended.kind in ("interrupted", "raised", "done"):
            detail = "the deadline of the action passed" if cause == "timeout" else "cancelled by the caller"
            return Executed("died", death=Death(cause, detail))
        error = ended.error
        match ended.kind:
            case "finished" | "succeeded":
                return Executed(ended.kind, ended.value)
            case "gave_up" | "asked":
                return Executed(ended.kind, text=display(ended.text, limit=MAX_TEXT_CHARS))
            case "done":
                return done(ended.text, ended.exit_code, ended.added, ended.modified)
            case _:
                return Executed("raised", error=error_info(error.type, error.message, error.traceback))

    def _denials(self, record: refusals.Record, death: Death | None, timeout_s: float) -> list[Denial]:
        told = [of_words(*refusal) for refusal in record.take()]
        if death is None:
            return merged(told)
        by_policy = timeout_s >= self._limits.wall_time_s
        limit = of_death(death.cause, death.detail, deadline_is_policy=by_policy)
        return merged(told, others=[] if limit is None else [limit])


def _opened(value: object) -> object:
    """The object of this process for its handle."""
    if isinstance(value, Handle):
        return local_object(value)
    if isinstance(value, Opaque):
        raise ContractError(
            "an Opaque is opened in workers only, since opening it runs code of whoever made it;"
            " isolation='none' has no worker: use 'process' or 'kernel'"
        )
    return value


def _accepted(value: object, returns: Contract) -> object:
    try:
        return returns.check(value)
    except ContractMismatch as error:
        raise turn.ContractError(as_worker_says(value, returns.shape, "result") or str(error)) from None


def _printer(output: TextOutput) -> Callable[..., None]:
    def print(
        *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
    ) -> None:
        text = (" " if sep is None else sep).join(str(value) for value in values) + ("\n" if end is None else end)
        if file is None:
            output.write(text)
        else:
            file.write(text)

    return print
