"""Agent source to a code object: parsed once, checked and rewritten by name, its last expression kept.

Whatever is not in doubt compiles to what CPython would have made of it, so it runs at CPython's own speed.
"""

from __future__ import annotations

import ast
import builtins
import types

from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.rewriter import rewrite
from agex_worker.tracebacks import shown_name, source_lines

# Where the value of the last expression goes. Not an identifier: no code can name it.
VALUE_NAME = "<value>"


def compile(source: str, plan: SandboxPlan, filename: str = "<action>", *, relative: bool = False) -> types.CodeType:
    """Code for exec() in a namespace(). SyntaxError for bad syntax; SandboxViolation, one too, for what is refused.

    relative: it is a module of the workspace, which may import its neighbours by dots.
    """
    shown = shown_name(filename)
    try:
        tree = ast.parse(source, shown)
        if plan.mode == "restricted":
            rewrite(tree, plan, source, shown, relative=relative)
        _keep_last_value(tree)
        return builtins.compile(tree, filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        # What is wrong stands in the script, not on the way through the parser and the rewriter.
        raise _in_its_line(error, source, shown).with_traceback(None) from None
    except (ValueError, MemoryError, RecursionError, OverflowError) as error:
        # The parser's own limits: null bytes, lone surrogates, nesting, huge numbers.
        raise SyntaxError(f"the source cannot be compiled: {error or type(error).__name__}") from None


def _in_its_line(error: SyntaxError, source: str, filename: str) -> SyntaxError:
    """With the line that it is about, which the compiler of trees does not know."""
    error.filename = filename
    if error.msg == "'await' outside function":
        error.msg += "; functions that you were given are called without it, asynchronous ones too"
    if error.text is None and error.lineno is not None:
        error.text = dict(enumerate(source_lines(source), 1)).get(error.lineno)
    return error


def _keep_last_value(tree: ast.Module) -> None:
    if tree.body and isinstance(last := tree.body[-1], ast.Expr):
        target = ast.Name(VALUE_NAME, ast.Store())
        ast.copy_location(target, last)
        tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
