"""Methods whose first parameter can be checked once: `self._x` and `self.x = ...` are then native in the whole body."""

from __future__ import annotations

import ast

from agex_worker.sandbox.names import is_dunder
from agex_worker.sandbox.own import MARK_NAME


def receiver_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """The name of the first parameter, if the method uses it so that a check pays and nothing in it rebinds the name."""
    first = [*node.args.posonlyargs, *node.args.args][:1]
    if not first:
        return None
    name = first[0].arg
    inside = [child for statement in node.body for child in ast.walk(statement)]
    if any(_binds(child, name) for child in inside) or not any(_needs_check(child, name) for child in inside):
        return None
    return name


def with_prologue(node: ast.FunctionDef | ast.AsyncFunctionDef, receiver: str, position: int) -> None:
    """Begin the body with the check of what the method was called on, without a call where it is one of our objects:

    try:
        if self.MARK is not Own: <self>(self)
    except Exception:
        <self>(self)
    """
    given = ast.Name(receiver, ast.Load())
    call = ast.Expr(ast.Call(ast.Name("<self>", ast.Load()), [given], []))
    answer = ast.Attribute(given, MARK_NAME, ast.Load())
    test = ast.Compare(answer, [ast.IsNot()], [ast.Name("<Own>", ast.Load())])
    handler = ast.ExceptHandler(ast.Name("<Exception>", ast.Load()), None, [call])
    check = ast.Try([ast.If(test, [call], [])], [handler], [], [])
    at = node.body[position] if position < len(node.body) else node
    node.body.insert(position, ast.fix_missing_locations(ast.copy_location(check, at)))


def _needs_check(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=found), attr=attr, ctx=ctx) if found == name:
            return not isinstance(ctx, ast.Load) or (attr.startswith("_") and not is_dunder(attr))
        case _:
            return False


def _binds(node: ast.AST, name: str) -> bool:
    """Whether the node gives the name a meaning of its own, in whatever scope: also where that would do no harm."""
    match node:
        case ast.Name(id=found, ctx=ast.Store() | ast.Del()) | ast.arg(arg=found):
            return found == name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return name in names
        case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found) | ast.ClassDef(name=found):
            return found == name
        case ast.ExceptHandler(name=found) | ast.MatchAs(name=found) | ast.MatchStar(name=found):
            return found == name
        case ast.MatchMapping(rest=found):
            return found == name
        case ast.alias():
            return (node.asname or node.name.partition(".")[0]) == name
        case _:
            return type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple") and vars(node)["name"] == name
