"""Who called whom: a task that is called while another one's code waits for it is that one's sub-agent.

A host function runs in the context of the call whose code asked for it, so nothing has to be passed by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from agex.errors import ConfigurationError

if TYPE_CHECKING:
    from agex.call import Call

MAX_DEPTH = 8
MAX_SESSION_CHARS = 128

N = TypeVar("N", int, float)

_CALLER: ContextVar[Call | None] = ContextVar("CALLER", default=None)


def caller() -> Call | None:
    """The call whose code asked for what runs now; None where that is over, or where nobody asked."""
    call = _CALLER.get()
    return call if call is not None and call.live else None


@contextmanager
def called_by(call: Call | None) -> Generator[None]:
    """What is called meanwhile is called by this call's code; by nobody's where it is None."""
    token = _CALLER.set(call)
    try:
        yield
    finally:
        _CALLER.reset(token)


def check_depth(depth: int, namespace: str) -> None:
    """ConfigurationError for a sub-agent that is too far from the task that a program called."""
    if depth > MAX_DEPTH:
        raise ConfigurationError(
            f"sub-agents are nested {depth} deep ({namespace}); at most {MAX_DEPTH}, so that agents that call each other end"
        )


def session_below(session: str, agent: str) -> str:
    """The session of a sub-agent: `<session>.<agent name>`, with what no session name may have replaced, and shortened by a
    digest where it would be too long. A level deeper is always another name, so nobody waits for itself."""
    name = re.sub(r"[^A-Za-z0-9._@-]", "-", agent)
    full = f"{session}.{name}"
    if len(full) <= MAX_SESSION_CHARS and name == agent:
        return full
    digest = hashlib.sha256(f"{session}/{agent}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{full[: MAX_SESSION_CHARS - 17]}.{digest}"


def least(*limits: N | None) -> N | None:
    """The smallest of those that bound anything."""
    return min((limit for limit in limits if limit is not None), default=None)
