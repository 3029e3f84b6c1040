"""What ends more than one command of the shell at once. No Exceptions: termish catches every one of a command."""

from __future__ import annotations


class Exit(BaseException):
    """Ends the shell, or what runs apart in it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Return(Exit):
    """Ends a function or a sourced file."""


class Leave(BaseException):
    """Leaves one round of a loop, or so many loops."""

    def __init__(self, loops: int, *, goes_on: bool) -> None:
        super().__init__(loops)
        self.loops = loops
        self.goes_on = goes_on


class Broken(BaseException):
    """Carries an error that ends the action, such as that of memory, past termish."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class TooDeep(BaseException):
    """Functions, files or `$(...)` call one another without end. Ends all of them, or there would be no end to the errors."""
