"""One attack: the same wish in Python and through libc, and the layers that refuse it, each by itself."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.escapes.conftest import LIBC, REACHED, Run, World


@dataclass(frozen=True)
class Attack:
    name: str
    code: str
    layers: tuple[str, ...]
    by_libc: bool = False

    @property
    def source(self) -> str:
        return (LIBC if self.by_libc else "") + self.code + "\nREACHED"

    def is_refused(self, jailed: Run, world: World) -> None:
        ended = jailed(self.source)

        assert (ended.status, ended.value) == ("error", None), ended
        refused = ended.error in _REFUSALS or ended.detail.startswith("[Errno 38]")
        assert refused or (ended.error == "OSError" and self.by_libc), ended
        assert world.untouched()

    def succeeds_without_its_layers(self, unjailed: Run) -> None:
        ended = unjailed(self.source, *self.layers)

        assert (ended.status, ended.value) == ("ok", REACHED), ended

    def needs_each_of_its_layers_gone(self, unjailed: Run) -> None:
        for kept in self.layers:
            off = [layer for layer in ("landlock", "seccomp") if layer != kept]
            ended = unjailed(self.source, *off, namespaces=kept == "namespaces")
            assert ended.value is None, (kept, ended)


# By libc, what a view of its own does not hold is not there, nor is another process.
_REFUSALS = ("PermissionError", "FileNotFoundError", "ProcessLookupError")


def each(attacks: tuple[Attack, ...]) -> pytest.MarkDecorator:
    """A test's parameter `attack`, once for each."""
    return pytest.mark.parametrize("attack", attacks, ids=[attack.name for attack in attacks])
