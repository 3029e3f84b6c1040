"""The Workspace Recap: what the agent built earlier in this session, as the last block of the system message.

It changes from task to task, so it stands behind everything that does not: a provider's cache then still has the rest.
"""

from __future__ import annotations

_HEADING = """# Workspace Recap
Python files that are in your working directory from earlier in this session. Import what serves you, for example \
`from helpers.tables import clean`."""


def with_recap(system: str, outline: str) -> str:
    """The system message with the outline of the workspace at its end, where there is one."""
    return f"{system}\n\n{_HEADING}\n{outline}" if outline else system
