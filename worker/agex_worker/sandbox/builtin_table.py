"""The builtins of agent code: which are given as they are, which in a careful form, and which not at all."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, NoReturn

from agex_protocol.plan import SandboxPlan
from agex_worker import denials
from agex_worker.sandbox.classes import build_class
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.gates import Gates
from agex_worker.sandbox.modules import Modules
from agex_worker.sandbox.names import Refused, is_dunder
from agex_worker.sandbox.own import MARK_NAME, is_own
from agex_worker.sandbox.replacements import Namespace
from agex_worker.sandbox.types_shown import Type

# They name nothing, and hand out nothing that their arguments did not hold.
_AS_THEY_ARE = """abs aiter all anext any ascii bin bool bytearray bytes callable chr classmethod complex dict divmod
enumerate filter float format frozenset hash hex id int isinstance issubclass iter len list map max memoryview min next
object oct ord pow print property range repr reversed round set slice sorted staticmethod str sum super tuple zip
Ellipsis NotImplemented GeneratorExit SystemExit ExceptionGroup""".split()

REASONS: dict[str, str] = {
    "breakpoint": "there is nobody to debug with; use print()",
    "compile": "code that is made at run time is not checked; write it out",
    "eval": "code that is made at run time is not checked; write it out, or use json or ast.literal_eval for data",
    "exec": "code that is made at run time is not checked; write it out",
    "globals": "the namespace cannot be changed by name; use a dict of your own",
    "help": "print(f.__doc__) shows the documentation",
    "input": "there is nobody to ask; use task_clarify() in a task",
    "locals": "the namespace cannot be read by name; use a dict of your own",
    "open": "there is no workspace here",
}


class KeyboardInterrupt(Exception):
    """So that `except KeyboardInterrupt` compiles: nothing raises it here, and the real one stops the action."""

    __module__ = "builtins"


class RefusedBuiltin:
    """In the place of a builtin that is not given: calling it says why."""

    def __init__(self, name: str, reason: str) -> None:
        self._name = name
        self._reason = reason

    def __call__(self, *args: object, **named: object) -> NoReturn:
        raise Refused(
            f"{self._name}() is not allowed here: {self._reason}; a policy can allow it: [python] builtins ="
            f" [{self._name!r}]",
            self._name,
            "builtin",
        )

    def __repr__(self) -> str:
        return f"<{self._name}, not allowed here>"


def builtin_table(plan: SandboxPlan, gates: Gates, modules: Modules, files: WorkspaceFiles | None) -> dict[str, object]:
    """The dictionary that stands as __builtins__ in the globals of agent code."""
    table: dict[str, object] = {name: getattr(builtins, name) for name in _AS_THEY_ARE}
    table |= {name: value for name, value in vars(builtins).items() if _is_ordinary_exception(value)}
    table |= {name: RefusedBuiltin(name, reason) for name, reason in REASONS.items()}
    table |= {
        "True": True,
        "False": False,
        "None": None,
        "__debug__": True,
        # Agent code must not catch what ends its action, which is no Exception.
        "BaseException": Exception,
        "BaseExceptionGroup": ExceptionGroup,
        "KeyboardInterrupt": KeyboardInterrupt,
        "type": Type,
        "getattr": _getattr(gates),
        "hasattr": _hasattr(gates),
        "setattr": gates.set,
        "delattr": gates.delete,
        "vars": own_vars,
        "dir": public_dir,
        "exit": _exit,
        "quit": _exit,
        "__import__": modules.import_,
        "__build_class__": build_class,
    }
    if files is not None:
        table["open"] = files.open
    return table | {name: getattr(builtins, name) for name in plan.builtins if hasattr(builtins, name)}


def own_vars(value: Any) -> dict[str, Any]:
    """vars() of an object or class of the agent's own, as a copy."""
    if not is_own(value) and type(value) is not Namespace:
        raise Refused(
            f"vars() of a {type(value).__name__} is not allowed here; it is open on objects of your own",
            "vars",
            "builtin",
        )
    return {name: each for name, each in vars(value).items() if not is_dunder(name) and name != MARK_NAME}


def public_dir(*values: Any) -> list[str]:
    """dir() of one object: its public names."""
    if len(values) != 1:
        raise Refused(
            "dir() without an object is not allowed here: the namespace cannot be read by name", "dir", "builtin"
        )
    return [name for name in builtins.dir(values[0]) if name != MARK_NAME and not name.startswith("__")]


def _getattr(gates: Gates) -> Callable[..., Any]:
    def getattr(value: Any, name: Any, *default: Any) -> Any:
        """As the builtin, for the names that code may write as `value.name`."""
        if len(default) > 1:
            raise TypeError(f"getattr expected at most 3 arguments, got {2 + len(default)}")
        try:
            return gates.get(value, name)
        except Refused:
            raise
        except AttributeError:
            if default:
                return default[0]
            raise

    return getattr


def _hasattr(gates: Gates) -> Callable[[Any, Any], bool]:
    def hasattr(value: Any, name: Any) -> bool:
        """As the builtin; False for what is not allowed."""
        try:
            with denials.apart():  # it is answered, not refused
                gates.get(value, name)
        except AttributeError:
            return False
        return True

    return hasattr


def _exit(code: object = None) -> NoReturn:
    """End the code here."""
    raise SystemExit(code)


def _is_ordinary_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)
