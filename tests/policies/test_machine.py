"""What is found out about a machine is what is there; tests can take away from it and never add."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from agex_policies.errors import PolicyError
from agex_policies.machine import Lowerable, Machine, number_in
from agex_policies.surroundings import Surroundings

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="these are facts of Linux")


@pytest.fixture(autouse=True)
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGEX_TEST_WITHOUT", raising=False)
    monkeypatch.delenv("AGEX_TEST_LANDLOCK_ABI", raising=False)


@on_linux
def test_layers_are_there_until_a_test_takes_them_away(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Machine.detect()
    assert here.without == ()
    monkeypatch.setenv("AGEX_TEST_WITHOUT", ",".join(reversed(get_args(Lowerable))))
    lowered = Machine.detect()
    assert lowered.without == get_args(Lowerable)
    assert (lowered.libseccomp, lowered.libseccomp_version, lowered.listener) == (False, "", False)
    assert lowered.no_namespaces == lowered.no_cgroup == "AGEX_TEST_WITHOUT takes it away"
    assert (lowered.landlock_abi, lowered.seccomp, lowered.kernel) == (here.landlock_abi, here.seccomp, here.kernel)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AGEX_TEST_WITHOUT", "namespace"), ("AGEX_TEST_WITHOUT", "cgroup, listener"), ("AGEX_TEST_LANDLOCK_ABI", "-1")],
)
def test_a_switch_that_cannot_be_understood_is_an_error(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(PolicyError) as caught:
        Machine.detect()
    assert variable in caught.value.message and caught.value.remedy


@on_linux
def test_seatbelt_is_never_found_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEX_EXPERIMENTAL_SEATBELT", "1")
    assert Machine.detect().seatbelt is False


@on_linux
def test_the_version_of_the_library_is_the_one_that_is_loaded() -> None:
    version = Machine.detect().libseccomp_version
    if not version:
        pytest.skip("there is no libseccomp here")
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    assert version == ".".join(map(str, library.seccomp_version().contents))


def test_a_number_is_read_or_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("3\n")
    assert number_in(str(file)) == 3
    file.write_text("many\n")
    assert number_in(str(file)) is None
    assert number_in(str(tmp_path / "absent")) is None


@on_linux
def test_looking_around_tells_the_limits_of_this_very_process() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456));"
        "import ctypes; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0);"
        "from agex_policies.surroundings import Surroundings; found = Surroundings.look();"
        "print(found.open_files, found.no_new_privs, found.missing_capabilities == ())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True)
    assert done.stdout == f"123 True {Surroundings.look().missing_capabilities == ()}\n", done.stderr


@on_linux
def test_a_container_is_told_by_what_its_engine_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert Surroundings.look().container in ("/.dockerenv", "/run/.containerenv", "$KUBERNETES_SERVICE_HOST")
