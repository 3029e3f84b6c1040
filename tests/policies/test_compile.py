"""A policy becomes plain data that fits this machine, or an error that names what does not."""

from __future__ import annotations

import dataclasses
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from agex_policies.bpf import compile_filter
from agex_policies.compile import FIXED_ENVIRONMENT, compile_plan, compile_sandbox, unenforced
from agex_policies.errors import IsolationUnavailable, PolicyError
from agex_policies.machine import Machine
from agex_policies.python_paths import collapsed, interpreter_paths
from agex_policies.schema import Policy
from agex_policies.shipped import shipped_filter
from agex_policies.syscall_table import STANDARD
from agex_protocol.plan import Isolation, Limits, LockdownPlan, ModuleGrant, SandboxPlan

GOOD = Machine(
    system="Linux",
    arch="x86_64",
    kernel="6.12",
    uid=1000,
    landlock_abi=6,
    landlock_package=True,
    seccomp=True,
    libseccomp=True,
    yama=None,
)


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(plain(item) for pair in value.items() for item in pair)
    if isinstance(value, tuple | list):
        return all(plain(item) for item in value)
    return value is None or type(value) in (str, bytes, int, float, bool)


def test_the_default_policy_compiles_to_plain_data_with_the_default_limits() -> None:
    plan = compile_plan(Policy.load("default"), "kernel", GOOD)
    assert plain(dataclasses.asdict(plan))
    assert plan.limits == Limits()
    assert (plan.policy, plan.isolation, plan.landlock_abi) == ("default", "kernel", 6)
    assert plan.seccomp == compile_filter()
    assert plan.write == ("/dev/null",)
    assert plan.environment == FIXED_ENVIRONMENT


def test_a_plan_for_process_isolation_has_no_kernel_layer() -> None:
    plan = compile_plan(Policy.load("default"), "process", GOOD)
    assert plan == LockdownPlan(
        policy="default",
        isolation="process",
        limits=Limits(),
        read=collapsed(interpreter_paths()),  # what is installed, to tell it from the application's own modules
        environment=dict(FIXED_ENVIRONMENT),
    )


def test_granted_paths_are_real_paths_in_the_plan(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    policy = Policy.load("default").extend(
        {"widen": ["filesystem.read"], "filesystem": {"read": [str(tmp_path / "link")]}}
    )
    assert str(tmp_path / "real") in compile_plan(policy, "kernel", GOOD).read


def test_only_named_variables_pass_and_with_their_value_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEX_TEST_ONE", "1")
    monkeypatch.setenv("AGEX_TEST_TWO", "2")
    policy = Policy.load("default").extend(
        {"widen": ["env.pass"], "env": {"pass": ["AGEX_TEST_ONE", "AGEX_TEST_NONE"]}}
    )
    assert compile_plan(policy, "kernel", GOOD).environment == {**FIXED_ENVIRONMENT, "AGEX_TEST_ONE": "1"}


def test_a_variable_that_a_worker_needs_fixed_cannot_be_passed() -> None:
    policy = Policy.load("default").extend({"widen": ["env.pass"], "env": {"pass": ["OMP_NUM_THREADS"]}})
    with pytest.raises(PolicyError) as caught:
        compile_plan(policy, "kernel", GOOD)
    assert caught.value.message == "OMP_NUM_THREADS has to be '1' in a worker, so it cannot be passed"


@pytest.mark.parametrize("key", ["read", "write"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/", "/ holds far more than files, or none"),
        ("/proc/1", "/proc/1 holds far more than files, or none"),
        ("/sys/kernel", "/sys/kernel holds far more than files, or none"),
        ("/no/such/place", "there is no /no/such/place on this machine"),
    ],
)
def test_a_grant_of_everything_or_of_nothing_is_refused(key: str, path: str, message: str) -> None:
    policy = Policy.load("default").extend({"widen": [f"filesystem.{key}"], "filesystem": {key: [path]}})
    with pytest.raises(PolicyError) as caught:
        compile_plan(policy, "kernel", GOOD)
    assert (caught.value.key, caught.value.message) == (f"filesystem.{key}", message)


def test_the_python_that_the_supervisor_runs_cannot_be_made_writable() -> None:
    import agex_protocol

    package = Path(agex_protocol.__file__).parent
    for path in (package.parent, package):
        policy = Policy.load("default").extend({"widen": ["filesystem.write"], "filesystem": {"write": [str(path)]}})
        with pytest.raises(PolicyError) as caught:
            compile_plan(policy, "kernel", GOOD)
        assert caught.value.message.startswith(f"{path} cannot be writable: ")


@pytest.mark.parametrize("key", ["read", "write"])
def test_what_is_no_data_cannot_be_granted(key: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in ("/dev/tty", str(tmp_path / "pipe"), str(tmp_path / "socket")):
            policy = Policy.load("default").extend({"widen": [f"filesystem.{key}"], "filesystem": {key: [path]}})
            with pytest.raises(PolicyError, match="is a device, a socket or a pipe"):
                compile_plan(policy, "kernel", GOOD)


def test_a_folder_from_which_the_supervisor_imports_its_own_modules_cannot_be_made_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "data").mkdir()
    policy = Policy.load("default").extend({"widen": ["filesystem.write"], "filesystem": {"write": [str(tmp_path)]}})
    with pytest.raises(PolicyError, match="your own process runs what it imports from") as caught:
        compile_plan(policy, "kernel", GOOD)
    assert caught.value.key == "filesystem.write"
    data = {"widen": ["filesystem.write"], "filesystem": {"write": [str(tmp_path / "data")]}}
    assert str(tmp_path / "data") in compile_plan(Policy.load("default").extend(data), "kernel", GOOD).write


WITHOUT_NAMESPACES = {"no_namespaces": "user.max_user_namespaces is 0"}
LACKING: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    ({"system": "Darwin"}, "files.read", ("Landlock on Linux",)),
    ({"arch": "riscv64"}, "programs", ("seccomp",)),
    ({"seccomp": False}, "programs", ("seccomp",)),
    ({"landlock_abi": 0, **WITHOUT_NAMESPACES}, "files.read", ("Landlock", "namespaces")),
    ({"landlock_abi": 2, **WITHOUT_NAMESPACES}, "files.write", ("Landlock ABI 3", "namespaces")),
    ({"landlock_package": False, **WITHOUT_NAMESPACES}, "files.read", ("Landlock", "namespaces")),
]


@pytest.mark.parametrize(("change", "promise", "could_hold"), LACKING)
def test_a_machine_that_lacks_a_layer_gets_no_plan(
    change: dict[str, Any], promise: str, could_hold: tuple[str, ...]
) -> None:
    with pytest.raises(IsolationUnavailable) as caught:
        compile_plan(Policy.load("default"), "kernel", dataclasses.replace(GOOD, **change))
    assert (caught.value.promise, caught.value.could_hold) == (promise, could_hold)
    assert str(caught.value) == (
        f"the promise {promise!r} cannot be held here: it takes {' or '.join(could_hold)}; {caught.value.remedy}"
    )
    if "namespaces" in could_hold:
        assert caught.value.remedy.endswith("; or have namespaces: user.max_user_namespaces is 0")


@pytest.mark.parametrize("change", [{"landlock_abi": 0}, {"landlock_abi": 2}, {"landlock_package": False}], ids=str)
def test_where_namespaces_may_work_an_older_landlock_is_judged_by_the_worker(change: dict[str, Any]) -> None:
    plan = compile_plan(Policy.load("default"), "kernel", dataclasses.replace(GOOD, **change))
    assert (plan.namespaces, plan.landlock_abi) == ("auto", change.get("landlock_abi", 0))


@pytest.mark.parametrize(
    ("layer", "promise", "missing"),
    [("namespaces", "files.metadata", "no_namespaces"), ("cgroup", "memory", "no_cgroup")],
)
def test_a_layer_that_is_not_there_is_done_without_unless_it_is_required(
    layer: str, promise: str, missing: str
) -> None:
    lacking = dataclasses.replace(GOOD, **{missing: "the kernel has none"})
    policy = Policy.load("default")
    assert getattr(compile_plan(policy, "kernel", lacking), layer) == "off"
    assert getattr(compile_plan(policy, "kernel", GOOD), layer) == "auto"
    required = policy.extend({"isolation": {layer: "required"}})
    assert getattr(compile_plan(required, "kernel", GOOD), layer) == "required"
    with pytest.raises(IsolationUnavailable) as caught:
        compile_plan(required, "kernel", lacking)
    assert (caught.value.promise, caught.value.could_hold) == (promise, (layer,))
    assert caught.value.remedy.startswith("the kernel has none; ")


def test_without_libseccomp_the_filter_that_comes_with_agex_is_used() -> None:
    for arch in ("x86_64", "aarch64"):
        plan = compile_plan(Policy.load("default"), "kernel", dataclasses.replace(GOOD, arch=arch, libseccomp=False))
        assert plan.seccomp == shipped_filter(STANDARD, arch)


@pytest.mark.parametrize("lacking", ["listener", "libseccomp"])
def test_calls_are_told_only_where_a_listener_can_be_had_and_its_calls_named(lacking: str) -> None:
    heard = compile_plan(Policy.load("default"), "kernel", dataclasses.replace(GOOD, listener=True))
    silent = compile_plan(
        Policy.load("default"), "kernel", dataclasses.replace(GOOD, **{"listener": True, lacking: False})
    )
    assert heard.seccomp_told and heard.seal
    assert (silent.seccomp_told, silent.seal) == (b"", b"")


def test_seatbelt_is_used_only_where_it_was_asked_for() -> None:
    mac = dataclasses.replace(GOOD, system="Darwin", landlock_abi=0, seccomp=False, no_namespaces="x", no_cgroup="x")
    with pytest.raises(IsolationUnavailable) as caught:
        compile_plan(Policy.load("default"), "kernel", mac)
    assert "AGEX_EXPERIMENTAL_SEATBELT=1" in caught.value.remedy
    plan = compile_plan(Policy.load("default"), "kernel", dataclasses.replace(mac, seatbelt=True))
    assert (plan.landlock_abi, plan.seccomp, plan.namespaces, plan.cgroup) == (0, b"", "off", "off")


def test_landlock_can_be_made_to_look_older_and_never_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGEX_TEST_LANDLOCK_ABI", raising=False)
    here = Machine.detect().landlock_abi
    monkeypatch.setenv("AGEX_TEST_LANDLOCK_ABI", "0")
    assert Machine.detect().landlock_abi == 0
    monkeypatch.setenv("AGEX_TEST_LANDLOCK_ABI", "99")
    assert Machine.detect().landlock_abi == here


def test_only_modules_that_the_policy_allows_reach_the_sandbox() -> None:
    policy = Policy.load("default").extend({"python": {"modules": ["numpy", "pandas.api"]}})
    granted = (ModuleGrant("numpy"), ModuleGrant("numpy.linalg"), ModuleGrant("pandas.api.types"))
    assert compile_sandbox(policy, granted) == SandboxPlan(mode="restricted", modules=granted)
    with pytest.raises(PolicyError) as caught:
        compile_sandbox(policy, [ModuleGrant("pandas")])
    assert caught.value.message == "module 'pandas' may not be registered; allowed: numpy, pandas.api"


def test_a_packaged_policy_reports_what_a_weaker_isolation_cannot_hold() -> None:
    policy = Policy.load("default")
    assert unenforced(policy, "kernel") == ()
    assert unenforced(policy, "process") == (
        "filesystem.read",
        "filesystem.write",
        "network.allow",
        "syscalls.allow",
        "syscalls.deny",
    )
    assert {"limits.memory", "env.pass"} <= set(unenforced(policy, "none"))


def test_a_file_that_names_what_cannot_be_held_has_to_accept_that(tmp_path: Path) -> None:
    text = 'widen = ["filesystem.read"]\n[filesystem]\nread = ["."]\n'
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(PolicyError) as caught:
        unenforced(Policy.load(tmp_path / "a.toml"), "process")
    assert str(caught.value) == (
        f"{tmp_path / 'a.toml'}:3: filesystem.read: isolation='process' cannot hold filesystem.read;"
        ' use isolation="kernel", or write `accept = ["process"]` under [isolation] to run without'
    )
    (tmp_path / "b.toml").write_text(text + '[isolation]\naccept = ["process"]\n')
    assert "filesystem.read" in unenforced(Policy.load(tmp_path / "b.toml"), "process")


def test_a_file_that_names_only_what_can_be_held_needs_no_consent(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[limits]\nmemory = "64MiB"\nwall_time = "1s"\n')
    policy = Policy.load(tmp_path / "a.toml")
    assert "filesystem.read" in unenforced(policy, "process")
    with pytest.raises(PolicyError):
        unenforced(policy, "none")


REFUSED: list[tuple[str, Isolation, str]] = [
    ("strict", "process", "isolation='process' is weaker than 'kernel'"),
    ("strict", "none", "isolation='none' is weaker than 'kernel'"),
    ("full-python", "none", "isolation='none' is weaker than 'process'"),
]


@pytest.mark.parametrize(("name", "isolation", "message"), REFUSED)
def test_a_policy_can_refuse_a_weaker_isolation(name: str, isolation: Isolation, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        unenforced(Policy.load(name), isolation)
    assert caught.value.message == message


def test_full_python_is_never_run_without_isolation() -> None:
    policy = Policy.load("default").extend({"widen": ["python.mode"], "python": {"mode": "full"}})
    with pytest.raises(PolicyError) as caught:
        unenforced(policy, "none")
    assert caught.value.key == "python.mode"


def test_a_policy_beyond_the_ceiling_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy.load("default")
    monkeypatch.setenv("AGEX_POLICY_CEILING", "strict")
    with pytest.raises(PolicyError) as caught:
        compile_plan(policy, "kernel", GOOD)
    assert caught.value.key == "limits.memory"
