"""Methods of pandas and numpy objects that do more than they seem to: write files, evaluate text, call by name.

Each is given in a form that does the harmless part. They are found by name, on objects of those packages only.
"""

from __future__ import annotations

import functools
import re
import types
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agex_worker.sandbox.dangerous import MEMBERS
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.images import image_saved
from agex_worker.sandbox.names import Refused, kind_of
from agex_worker.sandbox.paths import with_opened, with_picture_opened

_PLAIN_CALLABLES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    functools.partial,
)


@dataclass(frozen=True, slots=True)
class Method:
    """`call(found, files, *args, **named)` stands in for the method `found`."""

    call: Callable[..., Any]
    package: str = "pandas"

    def applies(self, cls: type) -> Callable[..., Any] | None:
        """What to call instead, if the class is one of the package's or inherits from one."""
        if any(base.__module__.partition(".")[0] == self.package for base in cls.__mro__):
            return self.call
        return None


def _writes(*keywords: str, mode: str = "w") -> Callable[..., Any]:
    def call(found: Callable[..., Any], files: WorkspaceFiles | None, *args: Any, **named: Any) -> Any:
        return with_opened(found, files, mode, keywords, args, named)

    return call


def _to_csv(found: Callable[..., Any], files: WorkspaceFiles | None, *args: Any, **named: Any) -> Any:
    path = args[0] if args else named.get("path_or_buf")
    if not isinstance(path, str):
        return with_opened(found, files, "w", ("path_or_buf",), args, named)
    mode = "ab" if named.pop("mode", "w").startswith("a") else "wb"
    return with_opened(found, files, mode, ("path_or_buf",), args, named | {"mode": mode}, infers_compression=True)


def _savefig(found: Callable[..., Any], files: WorkspaceFiles | None, *args: Any, **named: Any) -> Any:
    return with_picture_opened(found, files, args, named)


def _evaluates(found: Callable[..., Any], _: WorkspaceFiles | None, expr: Any, *args: Any, **named: Any) -> Any:
    check_expression(expr)
    # pandas looks up @names so many frames above its own: the two of the gate stand between it and the agent's.
    return found(expr, *args, **named | {"level": 2})


def check_expression(text: Any) -> None:
    """Only words that are neither private nor doubtful may be in an expression for eval() and query()."""
    if type(text) is not str:
        raise Refused("the expression must be a plain str")
    if "#" in text or "\\\n" in text:
        raise Refused("comments and continued lines are not allowed in an expression")
    for dot, word in re.findall(r"(\.?)\s*([^\W\d]\w*)", unicodedata.normalize("NFKC", text)):
        kind = kind_of(word)
        if (
            word.startswith("_")
            or kind == "refused"
            or (dot and (kind != "plain" or word in METHODS or word in _MEMBERS))
        ):
            raise Refused(
                f"the expression {text[:60]!r} is not allowed here: it uses {word}; filter with df[condition]",
                word,
            )


def _calls_by_name(found: Callable[..., Any], _: WorkspaceFiles | None, *args: Any, **named: Any) -> Any:
    function = args[0] if args else named.get("func")
    check_functions(function)
    for name, value in named.items():
        if type(value) is tuple and name not in ("func", "args"):
            check_functions(list(value[1:]))
        elif type(value) is str and name not in ("func", "axis", "engine", "by_row", "result_type"):
            check_functions(value)
    return found(*args, **named)


def _resize(found: Callable[..., Any], _: WorkspaceFiles | None, *shape: Any, refcheck: bool = True) -> Any:
    if not refcheck:
        raise Refused("resize(refcheck=False) is not allowed here: views of the array would see freed memory", "resize")
    return found(*shape)


def check_functions(functions: Any) -> None:
    """What agg() and its kin may be told to call: functions, and the plain names of methods, in plain containers."""
    kind = type(functions)
    if functions is None or kind in _PLAIN_CALLABLES or issubclass(kind, type) or kind.__module__ == "numpy":
        if kind.__name__ in ("ndarray", "str_"):
            raise Refused("functions by name must be given as a str, list, tuple or dict")
    elif kind is str:
        if functions.startswith("_") or kind_of(functions) != "plain" or functions in METHODS or functions in _MEMBERS:
            raise Refused(
                f"calling the method {functions!r} by name is not allowed here: write a lambda that calls it", functions
            )
    elif kind in (list, tuple):
        for each in functions:
            check_functions(each)
    elif kind is dict:
        for each in functions.values():
            check_functions(each)
    elif not callable(functions) or hasattr(kind, "__iter__") or hasattr(kind, "__getitem__"):
        raise Refused(f"a {kind.__name__} is not allowed here as the function to apply; give a function or its name")


_MEMBERS = MEMBERS["pandas"].keys() | MEMBERS["numpy"].keys()
METHODS: dict[str, Method] = {
    "to_csv": Method(_to_csv),
    "to_json": Method(_writes("path_or_buf")),
    "to_string": Method(_writes("buf")),
    "to_html": Method(_writes("buf")),
    "to_latex": Method(_writes("buf")),
    "to_markdown": Method(_writes("buf")),
    "to_parquet": Method(_writes("path", mode="wb")),
    "to_feather": Method(_writes("path", mode="wb")),
    "to_excel": Method(_writes("excel_writer", mode="wb")),
    "eval": Method(_evaluates),
    "query": Method(_evaluates),
    "agg": Method(_calls_by_name),
    "aggregate": Method(_calls_by_name),
    "transform": Method(_calls_by_name),
    "apply": Method(_calls_by_name),
    "resize": Method(_resize, "numpy"),
    "savefig": Method(_savefig, "matplotlib"),
    "save": Method(image_saved, "PIL"),
}
