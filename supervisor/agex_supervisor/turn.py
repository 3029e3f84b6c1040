"""One action: whom the worker may ask while it runs, and how it went."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from agex_protocol import messages as m
from agex_protocol.errors import ProtocolError
from agex_protocol.placing import Places
from agex_supervisor.death import Death
from agex_supervisor.denials import Denial
from agex_supervisor.listener import SyscallDenial
from agex_supervisor.png import MAX_IMAGES, Image, image_of

# What a turn begins with, and what may go before it.
Asked = m.Run | m.Use | m.Outline | m.OnWorkspace
First = Iterable[m.Buffer | m.Drop]
Value = tuple[bytes, list[memoryview]]
# Decodes the arguments when it is called, and runs the function when its answer is read.
OnCall = Callable[[m.Call, list[Value]], Iterable[object]]
# Hears what the worker gives back of the objects of this process that it held.
OnReturned = Callable[[m.Returned], None]
# Answers what is asked of the session's cache; the value is that of a Remember.
OnCache = Callable[[m.OfCache, "Value | None"], list[object]]
# Connects, before the time that it is given; the descriptor is the worker's end, -1 where there is none.
OnDial = Callable[[m.Dial, float], tuple[m.Dialled, int]]


def no_network(dial: m.Dial, deadline: float) -> tuple[m.Dialled, int]:
    """What every address is answered where a policy grants none."""
    return m.Dialled(dial.action, dial.call, refused=True, error="the policy grants no network"), -1


def nothing_held(returned: m.Returned) -> None:
    """What is heard from a worker that has no session yet."""
    raise ProtocolError("objects were given back where none are held")


def nothing_cached(asked: m.OfCache, value: Value | None) -> list[object]:
    """What is asked by a worker that has no session yet."""
    raise ProtocolError(f"{type(asked).__name__} where there is no cache")


@dataclass(slots=True)
class Turn:
    """How one action went: its ending (None if the worker died) with head and buffers of its value, and its output.

    placed: where the first of the buffers lie in the worker's arena; whoever has that puts them before the others.
    denied: what the worker says it was refused. syscalls: what the kernel says it was. addresses: each "host:port" with
    which it would not be connected. images: those that the model is to see.
    """

    ending: Any = None
    head: bytes = b""
    buffers: list[memoryview] = field(default_factory=list[memoryview])
    placed: Places = ()
    denied: list[Denial] = field(default_factory=list[Denial])
    syscalls: tuple[SyscallDenial, ...] = ()
    addresses: list[str] = field(default_factory=list[str])
    images: list[Image] = field(default_factory=list[Image])
    death: Death | None = None
    stdout: str = ""
    stderr: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0

    def see(self, value: Value) -> None:
        """Add an image that the worker sent. ProtocolError for one that ours would not send."""
        if len(self.images) == MAX_IMAGES:
            raise ProtocolError(f"more than {MAX_IMAGES} images of one action")
        self.images.append(image_of(*value))
