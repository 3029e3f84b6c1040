"""Calls that nothing makes by accident are answered with death: tracing, namespaces, mounts."""

from __future__ import annotations

import pytest

from tests.escapes.conftest import LIBC, REACHED, Run, World

# name: code, and whether an ordinary process may make the call.
CALLS = {
    "trace": ("ask('ptrace', 0, 0, 0, 0)", True),
    "namespace": ("ask('unshare', 0x10000000)", True),
    "mount": ("ask('mount', b'none', b'/', b'tmpfs', 0, None)", False),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_worker_is_killed_and_nobody_else(name: str, jailed: Run, world: World) -> None:
    ended = jailed(LIBC + CALLS[name][0] + "\nREACHED")

    assert (ended.status, ended.value, ended.error) == ("killed", None, "signal")
    assert ended.detail.startswith("seccomp: it called ")
    assert world.untouched()


@pytest.mark.parametrize("name", CALLS)
def test_without_the_filter_the_call_reaches_the_kernel(name: str, unjailed: Run) -> None:
    code, is_open_to_all = CALLS[name]
    ended = unjailed(LIBC + code + "\nREACHED", "seccomp", "landlock")

    if is_open_to_all and ended.error != "PermissionError":  # a distribution may close user namespaces
        assert (ended.status, ended.value) == ("ok", REACHED)
    else:
        assert (ended.status, ended.error) == ("error", "PermissionError")
