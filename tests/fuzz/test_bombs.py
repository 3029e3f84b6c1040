"""Bombs do little harm: their work is within the budget, and their memory within what a head may unfold to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from agex_protocol import budget, decode
from agex_protocol.budget import Work
from agex_protocol.errors import ValueRefused
from agex_supervisor.contract import ContractMismatch
from tests.fuzz.bombs import Bomb, array
from tests.fuzz.costs import EVERY, HONEST, decoded, outcome_of, sized

ROOT = Path(__file__).parents[2]
# What a process that has imported all of it may take besides, for BYTES: what a head may unfold to, and what is made of it.
ROOM_BYTES = 150 << 20
BYTES = 600_000
GROUPS = 2


@pytest.mark.filterwarnings("ignore")  # pandas warns of odd dates and frequencies
@pytest.mark.parametrize("bomb", EVERY, ids=str)
def test_a_bomb_of_any_size_is_a_value_or_an_error_of_the_task(bomb: Bomb) -> None:
    contract = bomb.contract()
    for count in (0, 1, 7, 8, 20, 300, 3000):
        try:
            value = decoded(contract, bomb.make(count))
        except (ValueRefused, ContractMismatch) as error:
            assert len(str(error)) < 50_000
        else:
            contract.check(value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bomb", [*EVERY, *HONEST], ids=str)
def test_no_value_has_more_arrays_for_its_work_than_are_unpacked(bomb: Bomb, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts: list[Work] = []

    class Kept(Work):
        def __init__(self, head_bytes: int) -> None:
            super().__init__(head_bytes)
            self.given = self.left
            accounts.append(self)

    monkeypatch.setattr(decode, "Work", Kept)
    encoding = bomb.make(3_000)
    if outcome_of(bomb.contract(), encoding) == "refused":
        return
    for account in accounts:
        arrays = 0

        def count(array: object) -> object:
            nonlocal arrays
            arrays += 1
            return array

        msgpack.unpackb(encoding[0], list_hook=count)
        assert arrays <= budget.CONTAINERS_PER_WORK * (account.given - account.left)  # type: ignore[attr-defined]


def test_a_head_of_nothing_but_arrays_is_refused_when_as_many_are_made_as_any_value_has() -> None:
    made = 0
    counter = budget.container_counter(array(3_000_000, b"\x90" * 3_000_000))
    assert counter is not None
    with pytest.raises(ValueError, match="too many small items"):
        while True:
            counter([])
            made += 1
    assert made == 1_200_002


@pytest.mark.parametrize(
    "head",
    [b"\x90" * 400_000, msgpack.packb("漢字 and text " * 200_000), msgpack.packb([0.1 * n for n in range(300_000)])],
    ids=["small", "text", "floats"],
)
def test_the_arrays_of_other_heads_are_not_counted(head: bytes) -> None:
    assert budget.container_counter(head) is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bomb", EVERY, ids=str)
def test_a_bomb_takes_no_more_work_than_its_bytes_pay_for(bomb: Bomb, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts: list[Work] = []

    class Kept(Work):
        def __init__(self, head_bytes: int) -> None:
            super().__init__(head_bytes)
            accounts.append(self)

    monkeypatch.setattr(decode, "Work", Kept)
    refused = ""
    try:
        decoded(bomb.contract(), bomb.make(20_000))
    except (ValueRefused, ContractMismatch) as error:
        refused = str(error)
    # No account: the sizes alone were enough.
    assert (accounts[0].left < 0 if accounts else True) == ("too many small items" in refused or not accounts)


@pytest.mark.parametrize("group", range(GROUPS))
def test_bombs_are_decoded_in_bounded_memory(group: int) -> None:
    code = f"from tests.fuzz.test_bombs import decode_in_little_room; decode_in_little_room({group})"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (finished.returncode, finished.stderr) == (0, "")
    outcomes = json.loads(finished.stdout)
    assert sorted(outcomes) == sorted(bomb.name for bomb in EVERY[group::GROUPS])
    assert set(outcomes.values()) <= {"value", "refused", "mismatch"}


def decode_in_little_room(group: int) -> None:
    """In a process of its own: each bomb of a group, with hardly more memory than there is already."""
    import resource
    import warnings

    warnings.simplefilter("ignore")
    prepared = [(bomb.name, bomb.contract(), sized(bomb, BYTES)) for bomb in EVERY[group::GROUPS]]
    for _, contract, _ in prepared:
        outcome_of(contract, (b"\xc0", []))  # what is imported late is there then
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM_BYTES, now + ROOM_BYTES))
    print(json.dumps({name: outcome_of(contract, encoding) for name, contract, encoding in prepared}))
