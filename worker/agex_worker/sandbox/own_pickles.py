"""The agent's own functions and classes as bytes, and back into the namespace of a later action.

What every namespace has by itself, builtins and gates above all, stays behind and is taken from the namespace that opens the
bytes: a function never comes back with more in reach than the code that calls it.
"""

from __future__ import annotations

import builtins
import io
import pickle
import types
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from agex_worker.sandbox.facade import Facade
from agex_worker.sandbox.file_modules import place_of
from agex_worker.sandbox.files import WorkspaceFiles

_SCOPE: ContextVar[Mapping[str, Any] | None] = ContextVar("_SCOPE", default=None)


def seal_own(value: object, scope: Mapping[str, Any]) -> bytes:
    """As `sealing.seal`, without what `scope`, a namespace before its code ran, gives to every function. ValueError if it
    cannot be."""
    # Here, because few workers seal anything.
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is Facade:
                return imported, (obj.__name__,)
            if isinstance(obj, WorkspaceFiles):
                raise pickle.PicklingError("open() belongs to where it is; use it by its name")
            if (at := place_of(obj)) is not None:
                return member_here, at
            reduced = super().reducer_override(obj)
            if type(obj) is not types.FunctionType or type(reduced) is not tuple:
                return reduced
            _refuse_ours(obj)
            return _without_given(reduced, scope)

    sealed = io.BytesIO()
    try:
        Pickler(sealed, protocol=5).dump(value)
    except Exception as error:
        raise ValueError(f"a {type(value).__qualname__} cannot be sealed: {type(error).__name__}: {error}") from None
    return sealed.getvalue()


@contextmanager
def opening(scope: Mapping[str, Any]) -> Generator[None]:
    """While this lasts, functions that are opened on this thread become ones of that namespace."""
    token = _SCOPE.set(scope)
    try:
        yield
    finally:
        _SCOPE.reset(token)


def member_here(module: str, name: str) -> object:
    """What stands for a member of `os` and its like in the namespace at hand. Named in the bytes."""
    return getattr(imported(module), name)


def imported(name: str) -> object:
    """The module of that name, as the import statement of the namespace at hand gives it. Named in the bytes."""
    table = (_SCOPE.get() or {}).get("__builtins__")
    found: Any = table["__import__"](name) if isinstance(table, dict) else __import__(name)
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def made(code: types.CodeType, names: dict[str, Any], *rest: Any) -> types.FunctionType:
    """A function that was opened, not complete yet. Named in the bytes.

    Its builtins are those that its globals have now: later is too late, CPython keeps them with the function.
    """
    scope = _SCOPE.get()
    for name, value in ({"__builtins__": builtins} if scope is None else scope).items():
        names.setdefault(name, value)
    return types.FunctionType(code, names, *rest)


def settle(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Complete it. Named in the bytes."""
    attributes, slots = state
    function.__dict__.update(attributes)
    function.__globals__.update(slots.pop("__globals__"))
    for cell, kept in zip(function.__closure__ or (), slots.pop("__closure__") or (), strict=True):
        with suppress(ValueError):  # one that is empty stays so
            cell.cell_contents = kept.cell_contents
    for name, value in slots.items():
        setattr(function, name, value)


def _without_given(reduced: tuple[Any, ...], scope: Mapping[str, Any]) -> tuple[Any, ...]:
    _, arguments, (state, slots), items, pairs, _ = reduced
    own = {
        name: value
        for name, value in slots["__globals__"].items()
        if not name.startswith("<") and (name not in scope or scope[name] is not value)
    }
    kept = {name: value for name, value in slots.items() if name.startswith("__")} | {"__globals__": own}
    return made, arguments, (state, kept), items, pairs, settle


def _refuse_ours(function: types.FunctionType) -> None:
    home = str(function.__globals__.get("__name__", "")).partition(".")[0]
    if home in ("agex_worker", "agex_supervisor", "agex"):
        raise pickle.PicklingError(f"{function.__name__}() belongs to where it is; use it by its name")
