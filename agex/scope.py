"""What an annotation that is text may name: the names of the block of code that it stands in, also those bound there later."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import FrameType
from typing import Any


class Scope:
    """A block of code and, for the body of a class, the blocks around it. Keeps their variables alive."""

    def __init__(self, frame: FrameType | None) -> None:
        self._frames: list[FrameType] = []
        while frame is not None:
            self._frames.append(frame)
            # A class has its body run where it stands, so who called that is the block around it; of a function it is not.
            frame = frame.f_back if _is_class_body(frame) else None

    @classmethod
    def of_caller(cls) -> Scope:
        """That of the code which called our caller."""
        frame = inspect.currentframe()
        for _ in range(2):
            frame = frame.f_back if frame is not None else None
        return cls(frame)

    def names(self) -> Mapping[str, Any]:
        """As they are bound now, the innermost first."""
        found: dict[str, Any] = {}
        for frame in reversed(self._frames):
            found |= frame.f_locals
        return found


def _is_class_body(frame: FrameType) -> bool:
    return not frame.f_code.co_flags & inspect.CO_OPTIMIZED and "__qualname__" in frame.f_locals
