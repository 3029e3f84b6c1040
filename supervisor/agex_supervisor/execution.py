"""What one run of code came to, in terms that the loop and the Sandbox share; and the executor that has a worker do it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.errors import AgexError, ValueRefused
from agex_supervisor.contract import Contract, ContractMismatch
from agex_supervisor.death import Death
from agex_supervisor.denials import Denial, merged, of_address, of_death, of_syscall
from agex_supervisor.display import display
from agex_supervisor.error_info import MAX_TEXT_CHARS as MAX_TEXT_CHARS
from agex_supervisor.error_info import ErrorInfo as ErrorInfo
from agex_supervisor.error_info import error_info as error_info
from agex_supervisor.host_calls import HostCalls
from agex_supervisor.keeper import Keeper
from agex_supervisor.model import EditFile, TerminalAction, WriteFile
from agex_supervisor.png import Image
from agex_supervisor.promises import LockdownReport
from agex_supervisor.seats import Seat
from agex_supervisor.session import Session
from agex_supervisor.terminal_commands import TerminalCommands
from agex_supervisor.turn import Turn

logger = logging.getLogger("agex")

WorkspaceAction = TerminalAction | WriteFile | EditFile
MAX_ACTION_BYTES = 1 << 20
MAX_NAMED = 200
MAX_OUTLINE_CHARS = 9_000
NO_OUTLINE = "(What the working directory holds could not be looked at in time; list its files.)"
_TEXT = Contract.of(str, where="the outline")


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run took: seconds of wall clock and processor, peak resident bytes of its process."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Unsent:
    """Stands for a value that stayed behind: what it was, its bounded repr, and why it did not cross."""

    type: str
    repr: str
    reason: str


@dataclass(slots=True)
class Executed:
    """kind: "finished", "succeeded", "gave_up", "asked", "raised", "mismatch" (a value that misses its contract) or "died".

    exit_code, added, modified: of an action on the workspace, and the files that it changed as far as the worker says.
    """

    kind: str
    value: Any = None
    text: str = ""
    error: ErrorInfo | None = None
    death: Death | None = None
    stdout: str = ""
    stderr: str = ""
    usage: RunUsage = field(default_factory=RunUsage)
    denials: list[Denial] = field(default_factory=list[Denial])
    images: list[Image] = field(default_factory=list[Image])
    exit_code: int = 0
    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()

    @property
    def went_well(self) -> bool:
        """Whether the actions that follow it in the same turn are to be run."""
        return self.kind == "finished" and self.exit_code == 0


def unsent(kind: str, text: str, reason: str) -> Unsent:
    """What is told of a value that stayed behind, bounded and safe to look at."""
    return Unsent(display(kind, limit=200, one_line=True), display(text, limit=4000), display(reason, limit=1000))


def asked_of(action: WorkspaceAction) -> m.OnWorkspace:
    """The message that asks a worker for it."""
    number = secrets.token_bytes(16)
    match action:
        case TerminalAction(commands):
            return m.Shell(number, _portable(commands))
        case WriteFile(path, content, append):
            return m.Write(number, _portable(path), _portable(content), append)
        case EditFile(path, search, replace, everywhere):
            return m.Edit(number, _portable(path), _portable(search), _portable(replace), everywhere)


def _portable(text: str) -> str:
    """A model can write half a character (a lone surrogate), which neither a message nor the name of a file can have."""
    return text.encode("utf-8", "backslashreplace").decode()


def done(text: str, exit_code: int, added: Sequence[str], modified: Sequence[str]) -> Executed:
    """What an action on the workspace came to: all of it the worker's word."""
    executed = Executed("finished", text=display(text, limit=MAX_TEXT_CHARS), exit_code=exit_code)
    executed.added, executed.modified = _names(added), _names(modified)
    return executed


def too_large(action: WorkspaceAction) -> Executed | None:
    """The refusal of an action that does not cross, for the model to read."""
    parts: list[object] = [getattr(action, each.name) for each in fields(action)]
    size = sum(len(part.encode("utf-8", "backslashreplace")) for part in parts if isinstance(part, str))
    if size <= MAX_ACTION_BYTES:
        return None
    why = f"the action has {size} bytes and at most {MAX_ACTION_BYTES} are taken at once: write it in pieces, or by a script"
    return Executed("raised", error=error_info("ValueError", why, ""))


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(display(name, limit=500, one_line=True) for name in names[:MAX_NAMED])


class Executor(Protocol):
    """Runs code for one session, in whatever isolation."""

    @property
    def takes_handles(self) -> bool:
        """Whether host functions may be given objects that stay in a worker."""
        ...

    def start(self, until: float = float("inf"), *, keeps: bool = False) -> None:
        """Make ready, so that what is missing is said before a model is asked. keeps: objects may stay when it is over. Late
        where it takes longer than `until`, WaitEnded where the wait is ended."""
        ...

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
        """Run one script. `returns` is what task_success (task=True) or the last expression has to give. number: that of the
        action, or of the run of a Sandbox."""
        ...

    def tend(self, action: WorkspaceAction, *, timeout_s: float) -> Executed:
        """Do one action on the workspace: shell commands, writing or editing a file."""
        ...

    def outline(self, timeout_s: float) -> str:
        """What Python the workspace holds: "" where it holds nothing, NO_OUTLINE where it cannot be told."""
        ...

    def workspace(self) -> AbstractContextManager[int | None]:
        """A descriptor of the workspace while nothing of the session runs; None where code left no folder there."""
        ...

    def cancel(self) -> None:
        """End the run under way, from any thread."""
        ...

    def release(self) -> None:
        """End the session, but for objects that handles stand for."""
        ...

    def close(self) -> None: ...

    @property
    def seat(self) -> Seat | None:
        """Of the session in its pool, where it has one now."""
        ...

    @property
    def report(self) -> LockdownReport: ...


class WorkerExecutor:
    """Executes in a session's worker and decodes what comes back by the declared contract."""

    def __init__(
        self, session: Session, host_calls: HostCalls, caps: Caps, commands: TerminalCommands | None = None
    ) -> None:
        self._session = session
        self._commands = TerminalCommands(()) if commands is None else commands
        self._host_calls = host_calls
        self._caps = caps
        session.on_start = self._serve

    @property
    def takes_handles(self) -> bool:
        return self._host_calls.takes_handles

    @property
    def seat(self) -> Seat | None:
        return None if (keeper := self._session.keeper) is None else keeper.seat

    @property
    def report(self) -> LockdownReport:
        return self._session.report

    def start(self, until: float = float("inf"), *, keeps: bool = False) -> None:
        self._session.start(until, keeps=keeps)

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
        started = time.monotonic()
        shape = returns.shape.to_bytes()
        self._host_calls.awaiting.renew()
        turn = self._session.run(
            code, inputs, shape, task=task, timeout_s=timeout_s, on_call=self._host_calls, number=number
        )
        executed = self._told(turn, returns, task)
        executed.stdout, executed.stderr = turn.stdout, turn.stderr
        executed.images = turn.images
        executed.usage = RunUsage(time.monotonic() - started, turn.cpu_s, turn.peak_rss_bytes)
        executed.denials = _denials(turn, deadline_is_policy=timeout_s >= self._session.wall_time_s)
        return executed

    def tend(self, action: WorkspaceAction, *, timeout_s: float) -> Executed:
        if (refused := too_large(action)) is not None:
            return refused
        started = time.monotonic()
        self._host_calls.awaiting.renew()
        with self._commands.opened():
            turn = self._session.tend(asked_of(action), timeout_s=timeout_s, on_call=self._host_calls)
        executed = self._tended(turn)
        executed.stdout, executed.stderr = turn.stdout, turn.stderr
        executed.usage = RunUsage(time.monotonic() - started, turn.cpu_s, turn.peak_rss_bytes)
        executed.denials = _denials(turn, deadline_is_policy=timeout_s >= self._session.wall_time_s)
        return executed

    def outline(self, timeout_s: float) -> str:
        turn = self._session.outline(_TEXT.shape.to_bytes(), timeout_s)
        if turn is None:
            return ""
        if not isinstance(turn.ending, m.Finished):
            if turn.death is not None and turn.death.cause == "violation":
                logger.warning(
                    "a worker that was asked for an outline broke the protocol: %s",
                    display(turn.death.detail, limit=400),
                )
            return NO_OUTLINE
        try:
            text: str = _TEXT.decode(turn.head, turn.buffers, self._caps)
        except AgexError:
            self._session.close()  # a worker that runs our own code never writes this
            return NO_OUTLINE
        return display(text, limit=MAX_OUTLINE_CHARS)

    def workspace(self) -> AbstractContextManager[int | None]:
        return self._session.workspace()

    def cancel(self) -> None:
        if self._session.cancel():
            self._host_calls.awaiting.cancel()

    def release(self) -> None:
        if self._session.release():
            # What answers its calls stays with the worker.
            self._host_calls = self._host_calls.fresh(self._session.handles)
        else:
            self._host_calls.awaiting.close()

    def close(self) -> None:
        self.cancel()
        self._session.close()
        self._host_calls.awaiting.close()

    def _told(self, turn: Turn, returns: Contract, task: bool) -> Executed:
        if turn.death is not None:
            return Executed("died", death=turn.death)
        if not _answers(turn.ending, returns, task):
            return self._violated(f"{type(turn.ending).__name__} does not answer what was asked")
        match turn.ending:
            case m.Finished():
                return Executed("finished") if task else self._decoded("finished", turn, returns)
            case m.Succeeded():
                return self._decoded("succeeded", turn, returns)
            case m.GaveUp(_, text):
                return Executed("gave_up", text=display(text, limit=MAX_TEXT_CHARS))
            case m.Asked(_, text):
                return Executed("asked", text=display(text, limit=MAX_TEXT_CHARS))
            case m.Kept(_, kind, text, reason):
                return Executed("finished", unsent(kind, text, reason))
            case m.Raised(_, kind, message, traceback):
                return Executed("raised", error=error_info(kind, message, traceback))
            case _:
                raise AssertionError(f"{type(turn.ending).__name__} is no ending")

    def _tended(self, turn: Turn) -> Executed:
        if turn.death is not None:
            return Executed("died", death=turn.death)
        match turn.ending:
            case m.Done(_, text, exit_code, added, modified) if 0 <= exit_code <= 255:
                return done(text, exit_code, added, modified)
            case m.Raised(_, kind, message, traceback):
                return Executed("raised", error=error_info(kind, message, traceback))
            case _:
                return self._violated(f"{type(turn.ending).__name__} does not answer what was asked")

    def _decoded(self, kind: str, turn: Turn, returns: Contract) -> Executed:
        try:
            return Executed(kind, self._value(turn, returns))
        except ContractMismatch as error:
            return Executed("mismatch", error=ErrorInfo("ContractError", display(str(error), limit=8000)))
        except ValueRefused as error:
            return self._violated(str(error))

    def _value(self, turn: Turn, returns: Contract) -> Any:
        keeper = self._session.keeper
        if not returns.has_handles or keeper is None:
            return returns.decode(turn.head, turn.buffers, self._caps, borrow=True)
        return keeper.decode(returns, turn.head, turn.buffers, self._caps)

    def _serve(self, keeper: Keeper) -> None:
        self._host_calls.handles.keeper = keeper
        self._session.serve(keeper, self._host_calls, self._caps, self._host_calls.awaiting)

    def _violated(self, what: str) -> Executed:
        # A worker that runs our own code never writes this: it is not our worker any more.
        self._session.close()
        return Executed("died", death=Death("violation", display(what, limit=500, one_line=True)))


def _answers(ending: object, returns: Contract, task: bool) -> bool:
    """Whether an ending is one that this question can have: else a worker could end a typed run without its value."""
    match ending:
        case m.Raised():
            return True
        case m.Finished(_, value):
            return task != bool(value.head or value.buffers or value.placed)
        case m.Kept():
            return not task and returns.shape.kind == "any"
        case _:
            return task


def _denials(turn: Turn, *, deadline_is_policy: bool) -> list[Denial]:
    calls = [
        of_syscall(each.name, each.arguments, allowed_by_group=bool(each.group))
        for each in turn.syscalls
        if not each.allowed
    ]
    others = [of_address(target) for target in turn.addresses]
    if turn.death is not None:
        limit = of_death(turn.death.cause, turn.death.detail, deadline_is_policy=deadline_is_policy)
        others += [limit] if limit is not None else []
    return merged(turn.denied, calls=calls, others=others)
