"""What ends a worker before it begins: a layer that could not be put up, or did not hold when it was tried."""

from __future__ import annotations

from agex_protocol.errors import AgexError


class LayerFailed(AgexError):
    """A layer of the lockdown does not hold. The process that raised this must end without reading a byte of a task.

    `layer` is its name as it stands in the report; `message` says what was tried, what happened and what to do.
    """

    def __init__(self, layer: str, message: str) -> None:
        self.layer = layer
        self.message = message
        super().__init__(f"{layer}: {message}")
