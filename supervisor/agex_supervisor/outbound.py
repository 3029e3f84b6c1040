"""Values and classes on their way to a worker, as pickles. The only file of the trusted side that pickles, and it never loads.

Trusted to untrusted: what a worker unpickles can only harm the worker. What is sent is what the caller passed, no more:
importable classes and functions go by name, only those of `__main__` by value.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, cast

import cloudpickle

from agex_protocol.errors import AgexError


class NotSendable(AgexError):
    """A value cannot be sent to a worker: an open file, a generator, a lock. The message names it and the remedy."""


Admit = Callable[[object], None]


def dump(value: object, admit: Admit | None = None) -> tuple[bytes, list[memoryview]]:
    """The pickle (protocol 5) and its out-of-band buffers, each as flat bytes. The entries of a dict are named in errors.

    `admit` is asked for each class or function that would go by value, because what it captures goes with it; what it
    raises passes.
    """
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            buffers.append(buffer.raw())
        except BufferError:
            return True  # not contiguous: it goes into the pickle itself
        return False

    try:
        return _dumps(value, keep, admit), buffers
    except AgexError:
        raise
    except Exception as error:
        raise _not_sendable(value, error) from error


def dump_bindings(bindings: Mapping[str, object]) -> bytes:
    """Classes and functions under the names that agent code knows them by."""
    whole = dict(bindings)
    try:
        return _dumps(whole, None)
    except Exception as error:
        raise _not_sendable(whole, error) from error


def is_importable(obj: Any) -> bool:
    """Whether a worker can get this very object by importing its module."""
    found: Any = sys.modules.get(getattr(obj, "__module__", None) or "")
    if found is None or found.__name__ == "__main__":
        return False
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def _dumps(value: object, keep: Any, admit: Admit | None = None) -> bytes:
    pickled = io.BytesIO()
    pickler = _Pickler(pickled, protocol=5, buffer_callback=keep)
    pickler.admit = admit
    pickler.dump(value)
    return pickled.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    """Leaves behind what nobody meant to send: the content of an open file, and what a class was defined among."""

    admit: Admit | None = None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, io.IOBase):
            raise pickle.PicklingError("it is an open file")
        if (instants := _instants(obj)) is not None:
            return instants
        if self.admit is not None and isinstance(obj, type | types.FunctionType) and not is_importable(obj):
            self.admit(obj)
        reduced = super().reducer_override(obj)
        if isinstance(obj, type) and isinstance(reduced, tuple) and len(cast(Any, reduced)) == 6:  # a class by value
            attributes: dict[str, Any] = cast(Any, reduced)[2][0]
            # pydantic keeps the local variables of the function in which a model was defined.
            attributes.pop("__pydantic_parent_namespace__", None)
            # By which a result is known to be of the declared class; without this it would be the bare name.
            attributes["__qualname__"] = obj.__qualname__
        return reduced


def _instants(obj: Any) -> Any:
    """How an array of dates goes as a buffer, which numpy does for numbers only; None for anything else."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or type(obj) is not numpy.ndarray or obj.dtype.kind not in "mM":
        return None
    return numpy.ndarray.view, (obj.view(numpy.int64), obj.dtype)


def _not_sendable(value: object, error: Exception) -> NotSendable:
    name, culprit = _culprit(value)
    what = f"{name} ({type(culprit).__qualname__})" if name else f"a value of type {type(culprit).__qualname__}"
    return NotSendable(f"{what} cannot be sent to a worker: {error}. {_remedy(culprit)}")


def _culprit(value: object) -> tuple[str, object]:
    """The first entry of a dict that fails by itself, else the value."""
    if type(value) is dict:
        for name, item in value.items():
            try:
                _dumps(item, None)
            except Exception:
                return repr(name), item
    return "", value


def _remedy(culprit: object) -> str:
    if hasattr(culprit, "read") and hasattr(culprit, "close"):
        return "Read the file and pass its content, or write it into the workspace."
    if hasattr(culprit, "__next__"):
        return "Pass list(...) of it."
    return "Pass plain data instead, or register the object (agent.fn, agent.module), so that it stays in your process."
