"""One action: compile, run, and say in one of a few ways how it ended. Knows no transport, so `none` uses it as it is."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from agex_protocol.plan import SandboxPlan
from agex_worker import outside
from agex_worker.cache import Backend, Cache
from agex_worker.denials import limit_behind
from agex_worker.from_outside import FROM_OUTSIDE
from agex_worker.sandbox.compiler import VALUE_NAME, compile
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.namespace import namespace
from agex_worker.tracebacks import ErrorText, bounded, error_text, remember_script, type_name
from agex_worker.viewing import viewer

MAX_TEXT_CHARS = 32_000
MAX_REPR_CHARS = 2_000


class ContractError(TypeError):
    """The value is not what the task declares; the message says where it differs."""

    __module__ = "builtins"  # the agent knows it by its bare name


def script_name(number: int, *, task: bool) -> str:
    """What tracebacks call a script: an action or the setup of a task, or a run of a Sandbox."""
    if not task:
        return f"<run {number}>"
    return f"<action {number}>" if number else "<setup>"


@dataclass(frozen=True, slots=True)
class Ended:
    """kind: "finished", "succeeded", "gave_up", "asked", "raised", "kept" (a value that cannot be handed over), or "done" (an
    action on the workspace, with its exit code and the files that it changed).

    limit: which limit an error that ended it speaks of, as the worker itself sees it.
    """

    kind: str
    value: Any = None
    text: str = ""
    error: ErrorText = field(default_factory=ErrorText)
    limit: str = ""
    exit_code: int = 0
    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()


class Terminated(BaseException):
    """Ends the action from within task_success and its kin; not an Exception, so that agent code does not catch it."""


def execute(
    source: str,
    sandbox: SandboxPlan,
    names: Mapping[str, object],
    inputs: Mapping[str, object],
    *,
    task: bool,
    filename: str,
    files: WorkspaceFiles | None,
    accept: Callable[[object], object],
    keep: bool = False,
    members: Mapping[str, Mapping[str, object]] = types.MappingProxyType({}),
    cache: Backend | None = None,
    view: Callable[[bytes], None] | None = None,
    passes: tuple[type[BaseException], ...] = (),
) -> Ended:
    """Run one script in a fresh namespace.

    In a task the inputs are attributes of `inputs` and the value comes by task_success; else they are plain names and
    the value is that of the last expression. `accept` turns a value into what is handed over, or raises ContractError;
    with `keep` a last value that it refuses stays behind and is described, because no type was declared for it.
    `members` of modules stand in the place of the modules' own. A task has a `cache`, and view_image(), whose files go to
    `view`. What `passes` is no error of the script, but was meant for whoever runs it.
    """
    terminators = Terminators(accept)
    own: dict[str, object] = dict(inputs)
    if task:
        own = terminators.names() | {"inputs": types.SimpleNamespace(**inputs)}
        own |= {"view_image": viewer(view)} if view is not None else {}
    scope: dict[str, object] = {}
    try:
        code = compile(source, sandbox, remember_script(filename, source))
        scope = namespace(sandbox, names, files=files, members=members, own=own)
        if task and cache is not None:
            scope["cache"] = Cache(cache, dict(scope))
        exec(code, scope)
    except Terminated:
        pass
    except passes:
        raise
    except SystemExit as error:
        if terminators.ended is None and not _ends_well(error):
            return raised(error)
    except BaseException as error:
        if terminators.ended is None:
            return raised(error)
        # A bare except of ordinary Python may have swallowed the end and gone on; the first ending counts.
    if terminators.ended is not None:
        return terminators.ended
    if task:
        return Ended("finished")
    try:
        return _last_value(scope.get(VALUE_NAME), accept, keep)
    except passes:
        raise
    except BaseException as error:  # of a value whose methods do anything
        return raised(error)


def _ends_well(error: SystemExit) -> bool:
    """Whether its code is None or 0. It is not compared, since it may be of the code's own class."""
    code: object = vars(SystemExit)["code"].__get__(error)
    return code is None or (type(code) in (int, bool) and not code)


def raised(error: BaseException) -> Ended:
    """The ending for an exception."""
    outside.explain(error)
    return Ended("raised", error=error_text(error), limit=limit_behind(error))


class Terminators:
    """task_success, task_fail and task_clarify, and which of them was called first."""

    def __init__(self, accept: Callable[[object], object]) -> None:
        self._accept = accept
        self.ended: Ended | None = None

    def names(self) -> dict[str, object]:
        def task_success(value: object = None) -> NoReturn:
            """Finish the task with this value."""
            self._end(Ended("succeeded", self._accept(value)))

        def task_fail(message: str = "") -> NoReturn:
            """Give up, saying why."""
            self._end(Ended("gave_up", text=bounded(str(message), MAX_TEXT_CHARS)))

        def task_clarify(question: str = "") -> NoReturn:
            """Ask the caller a question."""
            self._end(Ended("asked", text=bounded(str(question), MAX_TEXT_CHARS)))

        names: dict[str, object] = {}
        for given in (task_success, task_fail, task_clarify):
            given.__qualname__ = given.__name__  # Python's own errors name a function by it
            names[given.__name__] = given
        return names

    def _end(self, ended: Ended) -> NoReturn:
        if self.ended is None:
            self.ended = ended
        raise Terminated


def _last_value(value: object, accept: Callable[[object], object], keep: bool) -> Ended:
    try:
        return Ended("finished", accept(value))
    except ContractError as error:
        if not keep:
            return raised(error)
        return Ended("kept", text=_shown(value), error=ErrorText(type_name(value), bounded(str(error), MAX_REPR_CHARS)))


def _shown(value: object) -> str:
    try:
        return bounded(repr(value), MAX_REPR_CHARS)
    except FROM_OUTSIDE:
        raise
    except BaseException as error:
        return f"<its repr cannot be made: {type_name(error)}>"
