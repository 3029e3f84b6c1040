"""Why a value cannot cross, and where in it: gathered on the way out of the containers it lies in."""

from __future__ import annotations


class Misfit(ValueError):
    """`path` grows to the left as the error leaves each container: "['a']" before "[3]"."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    @classmethod
    def of(cls, error: Exception) -> Misfit:
        """Any error as one, keeping the path of one that is."""
        return error if isinstance(error, Misfit) else cls(str(error) or type(error).__name__)

    def below(self, step: str) -> Misfit:
        """The same, seen from the container."""
        return Misfit(self.reason, step + self.path)
