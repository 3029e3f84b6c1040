"""Values and classes on their way to a worker, as pickles. The only file of the trusted side that pickles, and it never loads.

Trusted to untrusted: what a worker unpickles can only harm the worker. What is sent is what the caller passed, no more:
importable classes and functions go by name, only those of `__main__` by value.
"""

from __future__ import annotations

import io
import ipaddress
import operator
import pickle
import pkgutil
import sys
import types
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import cloudpickle

from agex_protocol.errors import AgexError
from agex_protocol.host_handle import HostReference
from agex_supervisor.errors import CodeError
from agex_supervisor.handle import Handle, held_by
from agex_supervisor.opaque import Opaque


class NotSendable(AgexError):
    """A value cannot be sent to a worker: an open file, a generator, a lock. The message names it and the remedy."""


# Most results of host functions: a pickler of our own takes longer than all else of a call.
BARE = frozenset({type(None), bool, int, float, str})

Admit = Callable[[object], None]
# The number of a handle's object, if it is in the very worker that the pickle is for.
Local = Callable[[Handle[Any]], "int | None"]
Refer = Callable[[object], HostReference | None]


def dump(
    value: object, admit: Admit | None = None, refer: Refer | None = None, *, local: Local | None = None
) -> tuple[bytes, list[memoryview]]:
    """The pickle (protocol 5) and its out-of-band buffers, each as flat bytes. The entries of a dict are named in errors.

    `admit` is asked for each class or function that would go by value, because what it captures goes with it; what it
    raises passes. What `refer` gives for an object goes in its place. An Opaque goes as the object in it; a Handle, too: by
    its number where `local` gives one, and else as the sealed object, for which its worker is asked.
    """
    if type(value) in BARE:
        return pickle.dumps(value, 5), []
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            buffers.append(buffer.raw())
        except BufferError:
            return True  # not contiguous: it goes into the pickle itself
        return False

    try:
        return _dumps(value, keep, admit, refer, local), buffers
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


def dump_entry(form: str, head: bytes, buffers: Sequence[bytes]) -> tuple[bytes, list[memoryview]]:
    """An entry of a session's cache for a worker, which opens it there: as a value or as sealed bytes, by its form."""
    parts = [pickle.PickleBuffer(each) for each in buffers]
    opened = _Calling(_REOPEN, (parts[0],)) if form == "sealed" else _Calling(_RESTORE, (head, *parts))
    apart: list[pickle.PickleBuffer] = []
    return pickle.dumps(opened, 5, buffer_callback=apart.append), [each.raw() for each in apart]


def is_importable(obj: Any) -> bool:
    """Whether a worker can get this very object by importing its module."""
    found: Any = sys.modules.get(getattr(obj, "__module__", None) or "")
    if found is None or found.__name__ == "__main__":
        return False
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def sealed(value: Any) -> Opaque[Any]:
    """An object of this process as sealed bytes, for where nothing crosses. NotSendable where it cannot be pickled."""
    try:
        data, text = _dumps(value, None), repr(value)
    except Exception as error:
        raise _not_sendable(value, error) from error
    return Opaque(data, type=type(value).__qualname__, repr=text)


def _dumps(
    value: object, keep: Any, admit: Admit | None = None, refer: Refer | None = None, local: Local | None = None
) -> bytes:
    pickled = io.BytesIO()
    pickler = _Pickler(pickled, protocol=5, buffer_callback=keep)
    pickler.admit, pickler.refer, pickler.local = admit, refer, local
    pickler.dump(value)
    return pickled.getvalue()


def _by_text(address: ipaddress.IPv6Address) -> Any:
    """With its scope; ipaddress itself pickles the number alone."""
    return type(address), (str(address),)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    """Leaves behind what nobody meant to send: the content of an open file, and what a class was defined among."""

    dispatch_table: Any = ChainMap({ipaddress.IPv6Address: _by_text}, cast(Any, cloudpickle.Pickler).dispatch_table)
    admit: Admit | None = None
    refer: Refer | None = None
    local: Local | None = None

    def reducer_override(self, obj: Any) -> Any:
        if self.refer is not None and (reference := self.refer(obj)) is not None:
            return HostReference, (reference.target, reference.kind)
        if obj is Handle or obj is Opaque:
            return _STAND_IN.__reduce__()  # in the annotations of a class that goes by value: a worker has neither
        if isinstance(obj, Opaque):
            return _opened(obj)
        if isinstance(obj, Handle):
            return self._reached(obj)
        if isinstance(obj, io.IOBase):
            raise pickle.PicklingError("it is an open file")
        generic: Any = getattr(obj, "__pydantic_generic_metadata__", None) if isinstance(obj, type) else None
        if generic and generic["args"]:
            # A model with its parameters given is made here and now, so no module of a worker has it.
            return operator.getitem, (generic["origin"], generic["args"])
        if (whole := _instants(obj) or _arrow_column(obj)) is not None:
            return whole
        if self.admit is not None and isinstance(obj, type | types.FunctionType) and not is_importable(obj):
            self.admit(obj)
        reduced = super().reducer_override(obj)
        if isinstance(obj, type) and isinstance(reduced, tuple) and len(cast(Any, reduced)) == 6:  # a class by value
            attributes: dict[str, Any] = cast(Any, reduced)[2][0]
            # pydantic keeps the local variables of the function in which a model was defined.
            attributes.pop("__pydantic_parent_namespace__", None)
            # A task that is a method: its agent, its model and its key stay here.
            for name in [name for name, value in attributes.items() if hasattr(type(value), "as_host_function")]:
                del attributes[name]
            # By which a result is known to be of the declared class; without this it would be the bare name.
            attributes["__qualname__"] = obj.__qualname__
        return reduced

    def _reached(self, handle: Handle[Any]) -> Any:
        number = self.local(handle) if self.local is not None else None
        if number is not None:
            return _HELD, (number,)
        try:
            return _opened(held_by(handle).sealed())
        except (CodeError, RuntimeError) as error:
            raise NotSendable(f"{handle!r} cannot be passed to another worker: {error}") from error


class _OfWorkers:
    """A function of the worker's side, by its name: this side does not import it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: object) -> object:
        raise AssertionError(f"{self._name} is called in workers")

    def __reduce__(self) -> Any:
        return pkgutil.resolve_name, (self._name,)


class _Calling:
    """What such a function gives for these arguments."""

    def __init__(self, function: _OfWorkers, arguments: tuple[object, ...]) -> None:
        self._function = function
        self._arguments = arguments

    def __reduce__(self) -> Any:
        return self._function, self._arguments


_REOPEN = _OfWorkers("agex_worker.sealing:reopen")
_RESTORE = _OfWorkers("agex_worker.cache:restored")
_STAND_IN = _OfWorkers("agex_worker.sealing:StandIn")
_HELD = _OfWorkers("agex_worker.holding:held")


def _opened(opaque: Opaque[Any]) -> Any:
    return _REOPEN, (pickle.PickleBuffer(opaque.data),)


def _instants(obj: Any) -> Any:
    """How an array of dates goes as a buffer, which numpy does for numbers only; None for anything else."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or type(obj) is not numpy.ndarray or obj.dtype.kind not in "mM":
        return None
    return numpy.ndarray.view, (obj.view(numpy.int64), obj.dtype)


def _arrow_column(obj: Any) -> Any:
    """How a column of pandas that is one whole array of Arrow's goes as that, which pandas would copy; None for anything else."""
    pandas: Any = sys.modules.get("pandas")
    if pandas is None or type(obj) not in (pandas.arrays.ArrowExtensionArray, pandas.arrays.ArrowStringArray):
        return None
    chunks = obj.__arrow_array__()
    if getattr(chunks, "num_chunks", 0) != 1:
        return None
    (chunk,) = chunks.chunks
    # Of a part of an array the buffers hold the rest, too, which nobody passed. The end of the last text is not counted.
    uncounted = 8 if str(chunk.type) == "large_string" else 0
    if chunk.offset or chunk.get_total_buffer_size() != chunk.nbytes + uncounted:
        return None
    return obj.dtype.__from_arrow__, (chunk,)


def _not_sendable(value: object, error: Exception) -> NotSendable:
    name, culprit = _culprit(value)
    what = f"{name} ({type(culprit).__qualname__})" if name else f"a value of type {type(culprit).__qualname__}"
    return NotSendable(f"{what} cannot be sent to a worker: {error}. {_remedy(culprit)}")


def _culprit(value: object) -> tuple[str, object]:
    """The first entry of a dict that fails by itself, else the value."""
    if type(value) is dict:
        for name, item in value.items():
            try:
                _dumps(item, None, local=lambda handle: 0)
            except Exception:
                return repr(name), item
    return "", value


def _remedy(culprit: object) -> str:
    if hasattr(culprit, "read") and hasattr(culprit, "close"):
        return "Read the file and pass its content, or write it into the workspace."
    if hasattr(culprit, "__next__"):
        return "Pass list(...) of it."
    return "Pass plain data instead, or register the object (agent.fn, agent.module), so that it stays in your process."
