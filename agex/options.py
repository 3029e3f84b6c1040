"""What one call of a task may say beyond its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agex.errors import ConfigurationError
from agex_supervisor.events import Event
from agex_supervisor.model import TokenHandler

EventHandler = Callable[[Event], Any]


@dataclass(frozen=True)
class Options:
    """What one call may say beyond its arguments. Sessions keep files; handlers may be sync or async."""

    session: str = "default"
    on_event: EventHandler | None = None
    on_token: TokenHandler | None = None
    timeout_s: float | None = None
    max_actions: int | None = None
    ephemeral: bool = False  # the session and its files end with the call; set by map


OPTION_NAMES = ("session", "on_event", "on_token", "timeout_s", "max_actions")


def changed(options: Options, changes: Mapping[str, Any]) -> Options:
    """The options with these changes; ConfigurationError for a name that is none of them."""
    unknown = sorted(set(changes) - set(OPTION_NAMES))
    if unknown:
        raise ConfigurationError(f"no such option: {', '.join(unknown)}; there are {', '.join(OPTION_NAMES)}")
    return replace(options, **changes)
