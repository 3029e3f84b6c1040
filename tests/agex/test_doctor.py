"""agex doctor: what it says about this machine, about older ones that a test can pretend, and what it exits with."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agex.doctor import WITHOUT_NAMESPACES
from agex.namespace_trial import try_namespaces
from agex.remedies import Remedy, Situation, remedies
from agex_policies.machine import Machine
from agex_policies.surroundings import Surroundings
from agex_supervisor.promises import CELLS
from tests.nobody import need_nobody

EXIT_UNAVAILABLE = 3
HERE = Machine.detect()
CAN_LOCK = sys.platform == "linux" and HERE.landlock_abi >= 6 and HERE.seccomp
NAMESPACES = sys.platform == "linux" and not HERE.no_namespaces and not try_namespaces()

pytestmark = pytest.mark.skipif(not CAN_LOCK, reason="needs Linux with seccomp and Landlock ABI 6")
with_namespaces = pytest.mark.skipif(not NAMESPACES, reason="this user cannot make namespaces")

SITUATION = Situation(
    machine=dataclasses.replace(HERE, uid=1000, without=()),
    surroundings=Surroundings(
        container="",
        seccomp_mode=0,
        no_new_privs=False,
        missing_capabilities=(),
        lsm=(),
        apparmor="",
        hidepid="",
        open_files=None,
        processes=None,
        address_space_bytes=None,
        overcommit=0,
        shm_bytes=None,
    ),
    no_namespaces="",
    no_cgroup="",
    wants_namespaces=True,
    wants_cgroup=True,
)


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agex", "doctor", *arguments],
        env={**os.environ, "COLUMNS": "250", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def found(*arguments: str, **environment: str) -> dict[str, Any]:
    done = doctor("--json", *arguments, **environment)
    assert done.returncode in (0, EXIT_UNAVAILABLE), done.stderr
    plain: dict[str, Any] = json.loads(done.stdout)
    assert plain["holds"] is (done.returncode == 0) is (not plain["refusal"])
    return plain


def advice(**change: Any) -> list[str]:
    return [remedy.do for remedy in remedies(dataclasses.replace(SITUATION, **change))]


def machine(**change: Any) -> Machine:
    return dataclasses.replace(SITUATION.machine, **change)


def around(**change: Any) -> Surroundings:
    return dataclasses.replace(SITUATION.surroundings, **change)


# --- as a program ---


@pytest.mark.parametrize("policy", ["default", "strict"])
def test_every_promise_is_listed_with_what_holds_it_and_what_was_tried(policy: str) -> None:
    plain = found("--policy", policy)

    assert plain["policy"] == policy and plain["holds"]
    assert [each["promise"] for each in plain["promises"]] == list(CELLS)
    for each in plain["promises"]:
        assert each["held_by"] and each["probes"], each["promise"]
        allowed = ("refused: ", "not tried") if each["promise"] != "files.metadata" else ("refused: ", "REACHED: stat")
        assert all(result.startswith(allowed) for result in each["probes"].values()), each


def test_the_json_has_the_keys_that_are_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip().strip("`") for line in text.splitlines() if line.startswith("| `")]
    documented = set(rows)
    plain = found()
    assert documented >= set(plain)
    assert documented >= {f"machine.{name}" for name in plain["machine"]}
    assert documented >= {f"surroundings.{name}" for name in plain["surroundings"]}
    promised, remedy = plain["promises"][0], dataclasses.asdict(Remedy("", ()))
    assert documented >= {f"promises.{name}" for name in promised} | {f"remedies.{name}" for name in remedy}
    assert documented >= {f"gaps.{name}" for name in dataclasses.asdict(WITHOUT_NAMESPACES[0])}


@pytest.mark.parametrize("abi", range(8))
def test_without_namespaces_landlock_has_to_hold_the_files_alone(abi: int) -> None:
    plain = found(AGEX_TEST_LANDLOCK_ABI=str(abi), AGEX_TEST_WITHOUT="namespaces")

    assert plain["holds"] is (abi >= 3)
    if abi >= 3:
        assert [gap["promise"] for gap in plain["gaps"]] == ["files.metadata", "disk"]
        probes = {name: result for each in plain["promises"] for name, result in each["probes"].items()}
        reached = {name for name, result in probes.items() if result.startswith("REACHED")}
        assert reached == {"files.metadata/stat"}
    else:
        assert "files." in plain["refusal"] and "Landlock" in plain["refusal"]
        assert plain["lockdown"] is None and plain["gaps"] == []
        promises = {each["promise"]: each for each in plain["promises"]}
        assert promises["files.write"]["held_by"] == [] and "seccomp" in promises["network"]["held_by"]
        # It was tried all the same, with the layers that there are.
        reached = {name for each in plain["promises"] for name, how in each["probes"].items() if how[:7] == "REACHED"}
        assert reached == {"files.metadata/stat"} | (set() if abi else {"files.read", "files.write", "leftovers"})
        assert any(
            "files.write" in remedy["strengthens"] and "landlock" in remedy["do"].lower()
            for remedy in plain["remedies"]
        )


@with_namespaces
@pytest.mark.parametrize("abi", range(8))
def test_with_namespaces_every_landlock_will_do_and_nothing_is_left_open(abi: int) -> None:
    plain = found(AGEX_TEST_LANDLOCK_ABI=str(abi))

    assert plain["holds"], plain["refusal"]
    assert (plain["gaps"], plain["no_namespaces"]) == ([], "")
    assert not any(result.startswith("REACHED") for each in plain["promises"] for result in each["probes"].values())
    # A remedy appears where an older Landlock is the second wall only.
    assert any("landlock" in remedy["do"].lower() for remedy in plain["remedies"]) is (abi < 6)


def test_without_libseccomp_the_filter_that_comes_with_agex_holds_the_same() -> None:
    plain = found(AGEX_TEST_WITHOUT="libseccomp")

    assert plain["holds"] and plain["machine"]["libseccomp_version"] == ""
    assert plain["lockdown"]["layers"]["seccomp"].startswith("enforced") and "seccomp" in plain["lockdown"]["verified"]
    assert any("Install libseccomp" in remedy["do"] for remedy in plain["remedies"])


def test_where_nothing_may_run_it_says_which_promise_and_what_to_change() -> None:
    shown = doctor(AGEX_TEST_LANDLOCK_ABI="0", AGEX_TEST_WITHOUT="namespaces")

    assert shown.returncode == EXIT_UNAVAILABLE
    assert "files.read" in shown.stdout and "what to change" in shown.stdout
    assert "every promise is held" not in shown.stdout


def test_what_does_not_hold_without_namespaces_is_told_and_nothing_else() -> None:
    shown = doctor(AGEX_TEST_WITHOUT="namespaces")
    _, _, after = shown.stdout.partition("does not hold here\n")
    told = after.partition("\n\n")[0].splitlines()

    assert shown.returncode == 0
    assert [line.split(":")[0].strip() for line in told] == ["files.metadata", "disk"]
    assert "Unset AGEX_TEST_WITHOUT" in shown.stdout


def test_a_policy_that_is_wrong_is_another_error() -> None:
    assert doctor("--policy", "nosuch").returncode == 4
    assert doctor(AGEX_TEST_WITHOUT="walls").returncode == 4


# --- advice ---


def test_where_everything_is_there_there_is_nothing_to_change() -> None:
    assert advice() == []


@pytest.mark.parametrize(
    ("why", "do"),
    [
        ("user.max_user_namespaces is 0", "sysctl user.max_user_namespaces=10000"),
        ("kernel.unprivileged_userns_clone is 0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel.apparmor_restrict_unprivileged_userns is 1", "`userns,`"),
        ("unshare is refused: Operation not permitted", "Let this user make user namespaces: unshare is refused"),
    ],
)
def test_the_advice_about_namespaces_follows_from_what_forbids_them(why: str, do: str) -> None:
    (only,) = advice(no_namespaces=why)
    assert do in only


def test_in_a_container_the_advice_is_about_the_container() -> None:
    refused = "unshare is refused: Operation not permitted"
    (profile,) = advice(no_namespaces=refused, surroundings=around(container="/.dockerenv", seccomp_mode=2))
    assert "seccomp profile" in profile and "unshare" in profile
    weak = around(container="/.dockerenv", missing_capabilities=("CAP_SYS_ADMIN",))
    first, _ = advice(no_namespaces=refused, surroundings=weak, machine=machine(uid=0))
    assert "CAP_SYS_ADMIN" in first
    (group,) = advice(no_cgroup="no group can be made", surroundings=around(container="/.dockerenv"))
    assert "cgroup of its own" in group
    (landlock,) = advice(machine=machine(landlock_abi=0), surroundings=around(seccomp_mode=2))
    assert "landlock_create_ruleset" in landlock


def test_what_the_policy_switches_off_is_a_matter_of_the_policy() -> None:
    off = {"no_namespaces": "the policy switches them off", "wants_namespaces": False}
    assert advice(**off) == ['Write namespaces = "auto" under [isolation] of the policy.']
    off = {"no_cgroup": "the policy switches it off", "wants_cgroup": False}
    assert advice(**off) == ['Write cgroup = "auto" under [isolation] of the policy.']


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"machine": machine(landlock_abi=2)}, "Linux 6.2"),
        ({"machine": machine(landlock_abi=5)}, "Linux 6.12"),
        ({"machine": machine(landlock_package=False)}, "pip install"),
        ({"machine": machine(landlock_abi=0), "surroundings": around(lsm=("yama", "bpf"))}, "lsm=landlock,yama,bpf"),
        ({"machine": machine(seccomp=False)}, "CONFIG_SECCOMP_FILTER"),
        ({"machine": machine(libseccomp=False)}, "libseccomp 2.5"),
        ({"machine": machine(listener=False)}, "listener"),
        ({"surroundings": around(hidepid="2")}, "hidepid"),
        ({"surroundings": around(open_files=256)}, "ulimit -n, here 256"),
        ({"surroundings": around(processes=100)}, "ulimit -u, here 100"),
        ({"surroundings": around(address_space_bytes=1 << 30)}, "ulimit -v"),
        ({"no_cgroup": "no group can be made"}, "Delegate=yes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_thing_that_is_wrong_has_its_one_advice(change: dict[str, Any], word: str) -> None:
    (only,) = advice(**change)
    assert word in only
    assert only.endswith(".") and only[0].isupper()


@pytest.mark.parametrize(
    ("change", "promises"),
    [
        (
            {"no_namespaces": "no"},
            ("files.metadata", "files.read", "files.write", "introspection", "disk", "leftovers"),
        ),
        ({"no_cgroup": "no"}, ("memory",)),
        ({"machine": machine(landlock_abi=0)}, ("files.read", "files.write", "introspection", "disk")),
        ({"machine": machine(landlock_abi=2)}, ("files.write", "disk")),
        ({"machine": machine(landlock_abi=5)}, ("signals",)),
        ({"machine": machine(libseccomp=False)}, ()),
    ],
    ids=str,
)
def test_an_advice_names_the_promises_that_gain_by_the_matrix(
    change: dict[str, Any], promises: tuple[str, ...]
) -> None:
    (only,) = remedies(dataclasses.replace(SITUATION, **change))
    assert only.strengthens == promises


def test_every_promise_that_an_advice_names_exists() -> None:
    broken = dataclasses.replace(
        SITUATION,
        machine=machine(landlock_abi=0, landlock_package=False, libseccomp=False, listener=False, uid=0),
        surroundings=around(hidepid="2", open_files=1, address_space_bytes=1),
        no_namespaces="no",
        no_cgroup="no",
    )
    assert {promise for remedy in remedies(broken) for promise in remedy.strengthens} <= set(CELLS)


def test_on_a_mac_there_is_one_advice_and_it_says_that_seatbelt_is_experimental() -> None:
    (only,) = advice(machine=machine(system="Darwin"), no_namespaces="Darwin has none", no_cgroup="Darwin has none")
    assert "experimental" in only and "AGEX_EXPERIMENTAL_SEATBELT" in only


# --- as another user ---


def test_an_ordinary_user_is_told_the_same(tmp_path: Path) -> None:
    need_nobody()
    done = subprocess.run(
        [sys.executable, "-m", "agex", "doctor", "--json"],
        env={**os.environ, "HOME": "/nonexistent", "TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
        user=65534,
        group=65534,
        extra_groups=[],
    )
    plain = json.loads(done.stdout)
    assert (done.returncode, plain["holds"], plain["machine"]["uid"]) == (0, True, 65534), plain["refusal"]
