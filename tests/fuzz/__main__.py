"""Fuzz: `python -m tests.fuzz [frames | messages | values] [-runs=N] [-max_total_time=S] [-seed=N] [FILE...]`; no target: each in turn.

Guided by coverage where atheris is installed (`make fuzz` sees to it), else by changes at random to the same seeds. FILEs are
inputs that were found before, to be tried again. Ends with 1, and keeps the input, where something other than an error of
the task's came out.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGETS = ("frames", "messages", "values", "arenas")
_CORPUS = "--corpus="  # said to the process that libFuzzer is to end
GUIDED = importlib.util.find_spec("atheris") is not None


def main(arguments: list[str]) -> int:
    if arguments and arguments[0].startswith(_CORPUS):
        return _guided_in(Path(arguments[0].removeprefix(_CORPUS)), arguments[1], arguments[2:])
    if arguments and arguments[0] in TARGETS:
        files = [Path(each) for each in arguments[1:] if not each.startswith("-")]
        if files:
            return _again(arguments[0], files)
        return _guided(arguments[0], arguments[1:]) if GUIDED else _at_random(arguments[0], arguments[1:])
    # Each in a process of its own: libFuzzer ends the one that it runs in.
    codes = [subprocess.call([sys.executable, "-m", "tests.fuzz", target, *arguments]) for target in TARGETS]
    return int(any(codes))


def _guided(name: str, options: list[str]) -> int:
    # libFuzzer ends its process on the spot, so another one has to clear up.
    with tempfile.TemporaryDirectory(prefix="agex-fuzz-") as corpus:
        return subprocess.call([sys.executable, "-m", "tests.fuzz", f"{_CORPUS}{corpus}", name, *options])


def _guided_in(corpus: Path, name: str, options: list[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=["agex_protocol", "agex_supervisor"]):
        from agex_protocol import frames  # noqa: F401 -- imported when it is first used, which would be too late
        from tests.fuzz.targets import TARGETS as targets
    target = targets[name]

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return target.mutate(bytes(data), dice)[:max_size]

    number = -1
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    defaults = ["-max_len=80000", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-len_control=0"]
    print(f"{name}: guided by coverage, from {number + 1} seeds", flush=True)
    atheris.Setup([sys.argv[0], *defaults, *options, str(corpus)], target.run, custom_mutator=mutator)
    atheris.Fuzz()
    return 0


def _at_random(name: str, options: list[str]) -> int:
    from tests.fuzz.targets import TARGETS as targets

    asked = {key.lstrip("-"): int(value) for key, _, value in (option.partition("=") for option in options)}
    target, seeds = targets[name], list(targets[name].seeds())
    dice, runs = random.Random(asked.get("seed", 0)), asked.get("runs", sys.maxsize)
    until = time.monotonic() + asked.get("max_total_time", sys.maxsize)
    print(f"{name}: at random (atheris is not installed), from {len(seeds)} seeds", flush=True)
    done = 0
    while done < runs and time.monotonic() < until:
        data = target.mutate(dice.choice(seeds), dice)
        try:
            target.run(data)
        except BaseException:
            kept = Path(f"crash-{hashlib.sha256(data).hexdigest()[:40]}")
            kept.write_bytes(data)
            print(f"{name}: input {done} failed and is kept as {kept}", flush=True)
            raise
        done += 1
    print(f"{name}: {done} inputs, no fault", flush=True)
    return 0


def _again(name: str, files: list[Path]) -> int:
    from tests.fuzz.targets import TARGETS as targets

    for file in files:
        targets[name].run(file.read_bytes())
        print(f"{name}: {file} is without a fault", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
