"""Whether the body of a function says nothing, because a model is to write it."""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def is_empty(function: Callable[..., Any]) -> bool:
    """True for a docstring, `pass`, `...` and `raise NotImplementedError`, in any combination. Where there is no source to
    look at, as in an interactive session, its bytecode is asked."""
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return _does_nothing(function)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return _does_nothing(function)
    return all(_says_nothing(statement) for statement in node.body)


def _says_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(ast.Constant()):
            return True
        case ast.Raise(ast.Name("NotImplementedError") | ast.Call(ast.Name("NotImplementedError"))):
            return True
        case _:
            return False


# What no body has that says nothing: it reads or writes a variable, computes, builds or yields.
_WORK = (
    "LOAD_FAST",
    "LOAD_DEREF",
    "LOAD_ATTR",
    "STORE_",
    "DELETE_",
    "BINARY_",
    "BUILD_",
    "COMPARE_",
    "IMPORT_",
    "YIELD_",
)


def _does_nothing(function: Callable[..., Any]) -> bool:
    if set(function.__code__.co_names) - {"NotImplementedError"}:
        return False
    given: object = None
    for instruction in dis.get_instructions(function):
        name = instruction.opname
        if name.startswith(_WORK):
            return False
        if name in ("LOAD_CONST", "RETURN_CONST", "LOAD_SMALL_INT"):
            given = instruction.argval
        if name in ("RETURN_VALUE", "RETURN_CONST") and given is not None:
            return False
    return True
