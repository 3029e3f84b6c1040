"""A short run of every fuzzer on the same inputs each time: whatever arrives ends as a value of its contract, or as an error
that the task may have, and as nothing else."""

from __future__ import annotations

import dataclasses
import os
import random
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agex_protocol import decode, encode
from tests.fuzz import __main__ as fuzzing
from tests.fuzz.mutation import mutated_buffers, mutated_head
from tests.fuzz.subjects import SUBJECTS, Subject, kinds
from tests.fuzz.targets import TARGETS, decode_as, joined, run_arenas, run_frames, run_messages, run_values, split

ROOT = Path(__file__).parents[2]
# What atheris gives, with libFuzzer's way to end.
FUZZER = """
import contextlib, os
instrument_imports = lambda include: contextlib.nullcontext()
def Setup(arguments, run, custom_mutator):
    print(arguments[-2], len(os.listdir(arguments[-1])), "files", flush=True)
def Fuzz():
    os._exit(7)
"""
STEADY = settings(derandomize=True)
INT = (
    st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(-70, 2_000_000) | st.integers(0, 20_000).map(lambda n: n * 64)
)


def test_every_kind_of_shape_is_fuzzed() -> None:
    covered = {kind for subject in SUBJECTS for kind in kinds(subject)}
    # What no declaration asks for: "missing" is among the values of Any, and of "nothing" no value is decoded. What stands
    # for an object is fuzzed where there is somebody to hold it (tests/protocol/test_references.py, test_host_objects.py).
    others = {"missing", "nothing", "handle", "opaque", "pickle", "hosted"}
    assert set(decode._UNPACKERS) | set(decode.LEAVES) == covered | others


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_seeds_are_values_of_their_contract(subject: Subject) -> None:
    assert subject.encodings
    for head, buffers in subject.encodings:
        assert decode_as(subject, head, buffers) == "value"
        assert split(joined(3, head, buffers)) == (3, head, [buffer[:65535] for buffer in buffers])


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_a_changed_encoding_is_a_value_of_its_contract_or_an_error_of_the_task(subject: Subject) -> None:
    dice = random.Random(str(subject))
    came = Counter[str]()
    for _ in range(300):
        head, buffers = dice.choice(subject.encodings)
        came[decode_as(subject, mutated_head(head, dice), mutated_buffers(list(buffers), dice))] += 1
    assert came.total() == 300
    assert came["refused"] > 30


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_changed_seeds_go_through_every_target(name: str) -> None:
    target, dice = TARGETS[name], random.Random(name)
    for data in list(target.seeds()):
        target.run(data)
        for _ in range(20):
            data = target.mutate(data, dice)
            target.run(data)


@STEADY
@given(st.binary(max_size=300))
def test_any_stream_in_any_pieces_is_messages_or_an_error_of_the_protocol(data: bytes) -> None:
    run_frames(data)


@STEADY
@given(st.binary(max_size=300))
def test_any_payload_is_a_message_or_an_error_of_the_protocol(data: bytes) -> None:
    run_messages(data)


@STEADY
@given(st.binary(max_size=300))
def test_any_head_and_buffers_are_a_value_or_an_error_of_the_task(data: bytes) -> None:
    run_values(data)


@STEADY
@given(st.lists(st.tuples(st.integers(0, 3), INT, INT, st.lists(st.tuples(INT, INT), max_size=4)), max_size=6))
def test_whatever_a_worker_says_of_its_arenas_is_memory_or_an_error_of_the_protocol(steps: list[Any]) -> None:
    said = (
        struct.pack("<BiiB", kind, first, second, len(places)) + b"".join(struct.pack("<ii", *each) for each in places)
        for kind, first, second, places in steps
    )
    run_arenas(b"\x01" + b"".join(said))


def test_the_fuzzer_ends_well_where_nothing_is_found() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "messages", "-runs=200"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_a_fuzzer_that_ends_on_the_spot_leaves_no_corpus_behind(tmp_path: Path) -> None:
    (tmp_path / "atheris.py").write_text(FUZZER)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "tests.fuzz", "arenas", "-runs=5"]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    seeds = len(list(TARGETS["arenas"].seeds()))
    told = f"arenas: guided by coverage, from {seeds} seeds\n-runs=5 {seeds} files\n"
    assert (finished.returncode, finished.stdout) == (7, told), finished.stderr
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_what_is_encoded_never_costs_more_to_decode_than_was_counted(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    class Counting:
        def __init__(self, head_bytes: int) -> None:
            counted.append(0)

        def charge(self, units: int) -> None:
            counted[-1] += units

    monkeypatch.setattr(encode, "Work", Counting)
    monkeypatch.setattr(decode, "Work", Counting)
    for value in subject.values:
        counted.clear()
        head, buffers = encode.encode(value, subject.contract.shape)
        subject.contract.decode(head, [memoryview(bytes(buffer)) for buffer in buffers])
        told, taken = counted or (0, 0)  # small plain values take a way without a budget
        assert told >= taken, value


def test_an_input_that_fails_is_kept_and_fails_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[bytes] = []

    def run(data: bytes) -> None:
        runs.append(data)
        if len(runs) >= 3:
            raise IndexError("planted")

    monkeypatch.setitem(TARGETS, "messages", dataclasses.replace(TARGETS["messages"], run=run))
    monkeypatch.setattr(fuzzing, "GUIDED", False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IndexError, match="planted"):
        fuzzing.main(["messages", "-runs=50"])
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == runs[-1]
    with pytest.raises(IndexError, match="planted"):
        fuzzing.main(["messages", str(kept)])
    assert runs[-1] == runs[-2]
