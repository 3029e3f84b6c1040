"""Objects as sealed bytes, and back. Only workers open them: whoever made the bytes decides what runs when they are opened."""

from __future__ import annotations

import pickle
from typing import Generic, TypeVar

T = TypeVar("T")


class StandIn(Generic[T]):
    """What `Handle[T]` and `Opaque[T]` are here, in the annotations of classes that the supervisor sent: nothing but a name."""


def seal(value: object) -> bytes:
    """The object as cloudpickle writes it: classes and functions of the agent's own go by value. ValueError if it cannot."""
    # Here, because few workers seal anything.
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(value, protocol=5))
    except Exception as error:
        raise ValueError(f"a {type(value).__qualname__} cannot be sealed: {type(error).__name__}: {error}") from None


def reopen(data: bytes | memoryview) -> object:
    """The object again. Named in pickles that the supervisor makes of inputs."""
    return pickle.loads(data)
