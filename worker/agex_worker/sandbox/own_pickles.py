"""The agent's own functions and classes as bytes, and back into the namespace of a later action.

What every namespace has by itself, builtins and gates above all, stays behind and is taken from the namespace that opens the
bytes: a function never comes back with more in reach than the code that calls it.
"""

from __future__ import annotations

import io
import types
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from agex_worker.sandbox.facade import Facade

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
            reduced = super().reducer_override(obj)
            if type(obj) is types.FunctionType and type(reduced) is tuple:
                return _without_given(reduced, scope)
            return reduced

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


def imported(name: str) -> object:
    """The module of that name, as the import statement of the namespace at hand gives it. Named in the bytes."""
    builtins = (_SCOPE.get() or {}).get("__builtins__")
    found: Any = builtins["__import__"](name) if isinstance(builtins, dict) else __import__(name)
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def settle(function: Any, state: tuple[Callable[..., object], Any]) -> None:
    """Complete a function that was opened. Named in the bytes."""
    complete, whole = state
    complete(function, whole)
    scope = _SCOPE.get()
    if scope is not None:
        known = function.__globals__
        for name, value in scope.items():
            known.setdefault(name, value)
        known["__builtins__"] = scope["__builtins__"]


def _without_given(reduced: tuple[Any, ...], scope: Mapping[str, Any]) -> tuple[Any, ...]:
    make, arguments, (state, slots), items, pairs, complete = reduced
    own = {
        name: value
        for name, value in slots["__globals__"].items()
        if not name.startswith("<") and (name not in scope or scope[name] is not value)
    }
    return make, arguments, (complete, (state, slots | {"__globals__": own})), items, pairs, settle
