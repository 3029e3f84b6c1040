"""What Python a workspace holds, as signatures and first lines, for the model of the next task. Nothing of it is run.

The sources are whatever stands there: they are parsed within bounds, and what cannot be parsed is said.
"""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Iterator

from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.tracebacks import bounded

MAX_FILES = 100
MAX_CHARS = 8_000
_MAX_SOURCE_BYTES = 256 << 10
_MAX_ENTRIES = 20_000
_MAX_DEPTH = 8
_MAX_LINE_CHARS = 200
_MAX_MEMBERS = 40
# Not the agent's work: what it was given, and what Python keeps.
_LEFT_OUT = frozenset({"skills", "__pycache__"})


def outline(files: WorkspaceFiles) -> str:
    """Each module with its functions and classes; "" where there are none."""
    told: list[str] = []
    left = MAX_CHARS
    sources = sorted(_sources(files), key=lambda path: (not path.startswith("helpers/"), path))
    for path in sources[: MAX_FILES * 10]:
        text = "\n".join([path, *(f"  {line}" for line in _lines(files, path))])
        if len(told) == MAX_FILES or len(text) > left:
            continue
        left -= len(text) + 1
        told.append(text)
    if (more := len(sources) - len(told)) > 0:
        told.append(f"... and {more} more; list the files to see them")
    return "\n".join(told)


def _sources(files: WorkspaceFiles) -> Iterator[str]:
    """The paths of the .py files, top down, as far as the bounds let one look."""
    waiting, seen = [("", 0)], 0
    while waiting:
        folder, depth = waiting.pop()
        for name, is_folder in files.listed(folder):
            seen += 1
            if seen > _MAX_ENTRIES:
                return
            path = os.path.join(folder, name)
            if name.startswith(".") or (name in _LEFT_OUT and (name != "skills" or not folder)):
                continue
            if is_folder and depth < _MAX_DEPTH:
                waiting.append((path, depth + 1))
            elif not is_folder and name.endswith(".py"):
                yield path


def _lines(files: WorkspaceFiles, path: str) -> list[str]:
    try:
        with files.open(path, "rb") as file:
            source = file.read(_MAX_SOURCE_BYTES + 1)
        if len(source) > _MAX_SOURCE_BYTES:
            return [f"(more than {_MAX_SOURCE_BYTES >> 10} KiB: not looked at)"]
        tree = ast.parse(source)
        first = _first_line(tree)
        return ([first] if first else []) + _members(tree.body, "")
    except Exception as error:
        return [f"(cannot be read: {bounded(f'{type(error).__name__}: {error}', _MAX_LINE_CHARS)})"]


def _members(body: list[ast.stmt], indent: str) -> list[str]:
    lines: list[str] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(node.name):
            lines.append(indent + _line(_head_of_function(node), node))
        elif isinstance(node, ast.ClassDef) and _is_public(node.name):
            lines.append(indent + _line(_head_of_class(node), node))
            lines += _members(node.body, indent + "  ")
    if len(lines) > _MAX_MEMBERS:
        lines[_MAX_MEMBERS:] = [f"{indent}... {len(lines) - _MAX_MEMBERS} more"]
    return lines


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def _head_of_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{kind} {node.name}({ast.unparse(node.args)}){returns}"


def _head_of_class(node: ast.ClassDef) -> str:
    bases = ", ".join(map(ast.unparse, node.bases))
    return f"class {node.name}({bases})" if bases else f"class {node.name}"


def _line(head: str, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    first = _first_line(node)
    return bounded(head, _MAX_LINE_CHARS).replace("\n", " ") + (f": {first}" if first else "")


def _first_line(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    text = ast.get_docstring(node, clean=False) or ""
    lines = inspect.cleandoc(text).splitlines()
    return bounded(lines[0], _MAX_LINE_CHARS).replace("\n", " ") if lines else ""
