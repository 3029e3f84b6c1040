"""What a session may be called: a name that is safe as part of a key, and that a person can read."""

from __future__ import annotations

import re

SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")


def check_session_name(name: str) -> None:
    """ValueError for what cannot be a session's name."""
    if not SESSION_NAME.fullmatch(name):
        raise ValueError(
            f"session name {name!r} must be 1 to 128 of the characters A-Z a-z 0-9 . _ @ - and begin with a letter or digit"
        )
