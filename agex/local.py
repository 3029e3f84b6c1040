"""isolation="none": agent code runs in this process behind the inner sandbox, and objects pass as themselves.

A guard rail, not a wall. A run is ended by an asynchronous exception, so it cannot be ended inside one C call.
"""

from __future__ import annotations

import ctypes
import operator
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from agex_protocol.plan import Limits, SandboxPlan
from agex_supervisor.contract import Contract, ContractMismatch
from agex_supervisor.death import Death
from agex_supervisor.denials import Denial, merged, of_death, of_words
from agex_supervisor.display import display
from agex_supervisor.error_info import MAX_TEXT_CHARS, error_info
from agex_supervisor.errors import ContractError
from agex_supervisor.execution import Executed, RunUsage, unsent
from agex_supervisor.handle import Handle
from agex_supervisor.host_calls import Hosted, spread
from agex_supervisor.local_holder import local_object
from agex_supervisor.opaque import Opaque
from agex_supervisor.output import TextOutput
from agex_supervisor.promises import CELLS, LockdownReport
from agex_supervisor.wording import as_worker_says
from agex_worker import denials as refusals
from agex_worker import turn
from agex_worker.sandbox.files import WorkspaceFiles

# As deep as an input is searched for handles.
_MAX_DEPTH = 64


class Interrupted(BaseException):
    """Raised in the thread that runs agent code when its time is over or it was cancelled."""


class LocalExecutor:
    """Runs code on the calling thread. What it prints by `print` is captured; a library's own writes are not."""

    def __init__(
        self,
        sandbox: SandboxPlan,
        bindings: Mapping[str, object],
        functions: Mapping[str, Hosted],
        workspace: Path,
        limits: Limits,
        unenforced: Sequence[str] = (),
    ) -> None:
        self._sandbox = sandbox
        self._names = {**bindings, **{name: _checked(each) for name, each in functions.items()}}
        self._workspace = workspace
        self._limits = limits
        self._runs = 0
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._cause = ""
        self.report = LockdownReport("none", {promise: [] for promise in CELLS}, {}, [*CELLS, *unenforced], [])

    def start(self, *, keeps: bool = False) -> None:
        """Nothing has to be ready."""

    def execute(
        self, code: str, inputs: Mapping[str, object], returns: Contract, *, task: bool, timeout_s: float
    ) -> Executed:
        self._runs += 1
        inputs = {name: _opened(value) for name, value in inputs.items()}
        output = TextOutput(self._limits.output_bytes)
        started, cpu = time.monotonic(), time.thread_time()
        names = {**self._names, "print": _printer(output)}
        record = refusals.Record()
        self._cause = ""
        timer = threading.Timer(timeout_s, self._interrupt, ("timeout",))
        timer.daemon = True
        timer.start()
        try:
            with self._lock:
                self._thread = threading.get_ident()
            ended = refusals.collected(
                record,
                lambda: turn.execute(
                    code,
                    self._sandbox,
                    names,
                    inputs,
                    task=task,
                    filename=f"<action {self._runs}>",
                    files=WorkspaceFiles(self._workspace),
                    accept=lambda value: _accepted(value, returns),
                    keep=returns.shape.kind == "any",
                ),
            )
        except Interrupted:
            ended = turn.Ended("interrupted")
        finally:
            with self._lock:
                self._thread = None
            timer.cancel()
        executed = self._told(ended)
        executed.stdout = output.take()
        executed.denials = self._denials(record, executed.death, timeout_s)
        executed.usage = RunUsage(time.monotonic() - started, time.thread_time() - cpu, 0)
        return executed

    def cancel(self) -> None:
        self._interrupt("cancelled")

    def release(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""

    def _interrupt(self, cause: str) -> None:
        with self._lock:
            if self._thread is None:
                return
            self._cause = self._cause or cause
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(Interrupted))

    def _told(self, ended: turn.Ended) -> Executed:
        if self._cause and ended.kind in ("interrupted", "raised"):
            detail = "the deadline of the action passed" if self._cause == "timeout" else "cancelled by the caller"
            return Executed("died", death=Death(self._cause, detail))
        error = ended.error
        match ended.kind:
            case "finished" | "succeeded":
                return Executed(ended.kind, ended.value)
            case "kept":
                return Executed("finished", unsent(error.type, ended.text, error.message))
            case "gave_up" | "asked":
                return Executed(ended.kind, text=display(ended.text, limit=MAX_TEXT_CHARS))
            case _:
                return Executed("raised", error=error_info(error.type, error.message, error.traceback))

    def _denials(self, record: refusals.Record, death: Death | None, timeout_s: float) -> list[Denial]:
        told = [of_words(*refusal) for refusal in record.take()]
        if death is None:
            return merged(told)
        by_policy = timeout_s >= self._limits.wall_time_s
        limit = of_death(death.cause, death.detail, deadline_is_policy=by_policy)
        return merged(told, others=[] if limit is None else [limit])


def _opened(value: Any, depth: int = 0) -> Any:
    """An input with the objects of this process for their handles, as far as plain containers go; itself if it has none."""
    if isinstance(value, Handle):
        return local_object(value)
    if isinstance(value, Opaque):
        raise ContractError(
            "an Opaque is opened in workers only, since opening it runs code of whoever made it;"
            " isolation='none' has no worker: use 'process' or 'kernel'"
        )
    kind = type(value)
    if kind not in (dict, list, tuple) or depth == _MAX_DEPTH:
        return value
    parts = list(cast("Iterable[Any]", value.values() if kind is dict else value))
    opened = [_opened(part, depth + 1) for part in parts]
    if all(map(operator.is_, opened, parts)):
        return value
    return dict(zip(value, opened, strict=True)) if kind is dict else kind(opened)


def _accepted(value: object, returns: Contract) -> object:
    try:
        return returns.check(value)
    except ContractMismatch as error:
        raise turn.ContractError(as_worker_says(value, returns.shape, "result") or str(error)) from None


def _checked(hosted: Hosted) -> Callable[..., object]:
    """The host function with its arguments validated by its annotations, as they would be across a process."""
    name = hosted.declared.name
    signature = hosted.signature

    def call(*args: object, **kwargs: object) -> object:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}(): {error}") from None
        given = {key: _argument(name, key, value, hosted.contracts[key]) for key, value in bound.arguments.items()}
        positional, named = spread(hosted, given)
        return hosted.function(*positional, **named)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = hosted.declared.doc
    return call


def _argument(function: str, name: str, value: object, contract: Contract) -> object:
    try:
        return contract.check(value)
    except ContractMismatch as error:
        text = as_worker_says(value, contract.shape, name) or f"{function}({name}=...): {error}"
        raise TypeError(text) from None


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
