"""WireError: one attempt at a call failed, and what that means for the next."""

from __future__ import annotations


class WireError(Exception):
    """The server was not reached, refused, broke off or spoke nonsense. Never leaves `agex.llm`: see LLMError.

    `retryable`: the same again may succeed. `wait_s`: how long the server asks to wait before that, in seconds.
    `refused`: the part of the request ("tools", "stream_options") that this server does not know.
    """

    def __init__(
        self, message: str, *, retryable: bool = False, wait_s: float | None = None, refused: str | None = None
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.wait_s = wait_s
        self.refused = refused


def garbage(what: str) -> WireError:
    """An answer that is no completion. Worth another try: overloaded servers and proxies do this."""
    return WireError(f"the server answered with what is no chat completion: {what}", retryable=True)


def too_large(limit_bytes: int) -> WireError:
    """An answer beyond the cap. Asking again would only download it again."""
    return WireError(f"the server's answer is larger than the {limit_bytes} bytes that are read of one")
