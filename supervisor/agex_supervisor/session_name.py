"""What a session may be called: a name that is safe as part of a key, and that a person can read."""

from __future__ import annotations

import re

SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")

_SHOWN_CHARS = 140


def check_session_name(name: object) -> None:
    """ValueError for what cannot be a session's name; TypeError for what is not even text."""
    if not isinstance(name, str):
        raise TypeError(f"a session is named by a str, not by {type(name).__name__}")
    if not SESSION_NAME.fullmatch(name):
        raise ValueError(
            f"session name {shortened(name)} must be 1 to 128 of the characters A-Z a-z 0-9 . _ @ - and begin with a letter"
            " or digit"
        )


def shortened(name: str) -> str:
    """A name that is none, for an error."""
    return ascii(name if len(name) <= _SHOWN_CHARS else name[:_SHOWN_CHARS] + "...")
