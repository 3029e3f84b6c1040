"""What one call of a task may say beyond its arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from agex.errors import ConfigurationError
from agex_supervisor.events import Event
from agex_supervisor.model import TokenHandler
from agex_supervisor.session_name import check_session_name

EventHandler = Callable[[Event], Any]

TENANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TENANTS = "@@"


@dataclass(frozen=True)
class Options:
    """What one call may say beyond its arguments. Sessions keep files; handlers may be sync or async.

    named: whether the caller named the session, which that of a sub-agent otherwise depends on. ephemeral: the session and
    its files end with the call; set by map.
    """

    session: str = "default"
    tenant: str | None = None
    on_event: EventHandler | None = None
    on_token: TokenHandler | None = None
    timeout_s: float | None = None
    max_actions: int | None = None
    named: bool = False
    ephemeral: bool = False

    @property
    def session_of_tenant(self) -> str:
        """The session's name among those of all tenants."""
        return self.session if self.tenant is None else f"{self.tenant}{_TENANTS}{self.session}"


class GivenOptions(TypedDict, total=False):
    """Those that a caller may give."""

    session: str
    tenant: str | None
    on_event: EventHandler | None
    on_token: TokenHandler | None
    timeout_s: float | None
    max_actions: int | None


OPTION_NAMES = tuple(GivenOptions.__annotations__)


def changed(options: Options, changes: Mapping[str, Any]) -> Options:
    """The options with these changes. ConfigurationError for a name that is none of them, ValueError for a bad value."""
    unknown = sorted(set(changes) - set(OPTION_NAMES))
    if unknown:
        raise ConfigurationError(f"no such option: {', '.join(unknown)}; there are {', '.join(OPTION_NAMES)}")
    for name in ("timeout_s", "max_actions"):
        limit = changes.get(name)
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} must be above 0, not {limit!r}")
    session, tenant = changes.get("session"), changes.get("tenant")
    if "session" in changes:
        check_session_name(session)
    if session is not None and _TENANTS in session:
        raise ValueError(f"session name {session!r}: {_TENANTS} is kept for tenants, see with_options(tenant=)")
    if tenant is not None and not TENANT_NAME.fullmatch(tenant):
        raise ValueError(
            f"tenant {tenant!r} must be 1 to 64 of the characters A-Z a-z 0-9 . _ - and begin with a letter or digit"
        )
    for name in ("on_event", "on_token"):
        if changes.get(name) is not None and not callable(changes[name]):
            raise ConfigurationError(f"{name} takes a function, not {changes[name]!r}")
    return replace(options, **changes, named=options.named or "session" in changes or "tenant" in changes)
