"""What a worker is told of /proc and /sys when it asks whether a file is there: the same with namespaces and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import agex

ASKED = """
import genericpath, os
open("own", "w").close()
paths = [
    "/proc", "/proc/", "/proc/cpuinfo", "/proc/self", "/proc/self/maps", "/proc/1", "/proc/stat", "/proc/../proc/self",
    b"/proc/self", "/sys", "/sys/devices", "/sys/devices/system/cpu", "/sys/kernel", "/sys/fs/cgroup",
    "/proc/../dev/null", "own", os.path.abspath("own"), "absent",
]
[
    [look(path) for path in paths]
    for look in (os.path.exists, os.path.isfile, os.path.isdir, genericpath.exists)
] + [os.path.exists(0)]
"""
EXISTING = [True] * 3 + [False] * 6 + [True] * 3 + [False] * 2 + [True] * 3 + [False]
FILES = [False, False, True] + [False] * 12 + [True] * 2 + [False]
DIRECTORIES = [True, True] + [False] * 7 + [True] * 3 + [False] * 6


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(spares=0)
    yield pool
    pool.close()


@pytest.mark.parametrize("namespaces", ["auto", "off"])
def test_what_is_not_granted_of_the_kernels_own_files_is_not_there(namespaces: str, pool: agex.Pool) -> None:
    policy = agex.Policy.load("full-python")
    if namespaces == "off":
        policy = policy.extend({"widen": ["isolation.namespaces"], "isolation": {"namespaces": "off"}})

    with agex.Sandbox(policy=policy, pool=pool) as sandbox:
        outcome = sandbox.run(ASKED)

    assert outcome.value == [EXISTING, FILES, DIRECTORIES, EXISTING, True]
    assert outcome.denials == []
