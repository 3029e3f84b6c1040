"""What ends agent code that runs in the application's own process, from outside of it."""

from __future__ import annotations


class FromOutside(BaseException):
    """No error of the code's, so nobody may swallow it but who runs the code: else code in a loop is never ended."""


# Also somebody's Ctrl-C, to which code there has no way.
FROM_OUTSIDE = (KeyboardInterrupt, FromOutside)
