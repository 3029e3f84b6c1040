"""Large values in and out of `Sandbox.run`, beside a peer that pickles over a pipe and beside the copies that none can save.

    python bench/data.py [ROUNDS]

The limit is two copies of the value's bytes: into warm shared memory, and out of it. The peer is sandtrap's process mode; it is
installed into an environment of its own, with the same numpy, pandas and pyarrow. All three take turns. Afterwards each value
goes through a process of its own, which tells how much memory that took at most.
"""

from __future__ import annotations

import importlib.metadata
import json
import mmap
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from timing import interleaved, show

import agex
from agex_supervisor.outbound import dump

SANDTRAP = "sandtrap==0.5.1"
CODE = "out = d\nout"
# What makes each value; both processes run this.
VALUES = {
    "64 MB DataFrame": "pd.DataFrame({f'c{n}': np.arange(1_000_000) / (n + 3) for n in range(8)})",
    "256 MB ndarray": "np.arange(32_000_000) / 7",
    "mixed DataFrame": "pd.DataFrame({'n': np.arange(1_000_000), 'x': np.arange(1_000_000) / 7,"
    " 's': [f'text {n % 1000}' for n in range(1_000_000)], 't': pd.date_range('2020', periods=1_000_000, freq='s')})",
}
# At least so many times as fast as the peer, and this part of the speed of the limit.
BARS = {"64 MB DataFrame": (25.0, 0.4), "256 MB ndarray": (25.0, 0.4), "mixed DataFrame": (10.0, 0.0)}

PEER = """
import json, sys, tempfile, time
import numpy as np, pandas as pd
from sandtrap import IsolatedFS, Policy, sandbox

def main():
    values = {name: eval(made) for name, made in json.loads(sys.argv[1]).items()}
    with tempfile.TemporaryDirectory() as root:
        with sandbox(Policy(timeout=300.0), isolation="process", filesystem=IsolatedFS(root)) as trap:
            for line in sys.stdin:
                value = values[line.strip()]
                started = time.perf_counter()
                result = trap.exec("out = d", namespace={"d": value}, keep={"out"})
                seconds = time.perf_counter() - started
                assert result.error is None and len(result.namespace["out"]) == len(value), result
                print(seconds, flush=True)

if __name__ == "__main__":
    main()
"""


def made(name: str) -> Any:
    return eval(VALUES[name], {"np": np, "pd": pd})  # noqa: S307 -- ours, above


class Peer:
    """sandtrap in an environment of its own; `run` gives the seconds that it measured itself."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "peer", with_pip=True)
        python = folder / "peer" / "bin" / "python"
        same = [f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "pandas", "pyarrow")]
        subprocess.run([python, "-m", "pip", "install", "--quiet", SANDTRAP, *same], check=True)
        program = folder / "peer.py"  # a file, because its workers import it again
        program.write_text(PEER)
        command = [python, program, json.dumps(VALUES)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, name: str) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def two_copies(size: int) -> Callable[[], None]:
    """Into shared memory that was touched before, and out of it into memory that was, too."""
    descriptor = os.memfd_create("bench")
    os.ftruncate(descriptor, size)
    shared = np.frombuffer(mmap.mmap(descriptor, size), np.uint8)
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    shared[:] = 1

    def copy() -> None:
        np.copyto(shared, source)
        np.copyto(target, shared)

    return copy


def measure(name: str, rounds: int, sandbox: agex.Sandbox, peer: Peer) -> None:
    value = made(name)
    head, buffers = dump({"d": value})
    size = len(head) + sum(buffer.nbytes for buffer in buffers)
    theirs: list[float] = []

    def ours() -> None:
        outcome = sandbox.run(CODE, {"d": value}, returns=type(value))
        assert outcome.status == "ok", outcome.error

    tasks = {"two copies (limit)": two_copies(size), "agex, kernel": ours}
    measured = interleaved(rounds, {**tasks, "asked": lambda: theirs.append(peer.run(name))})
    del measured["asked"]
    measured["sandtrap, process"] = theirs[1:]
    show(f"{name}, {size / 1e6:.0f} MB of bytes, in and out", measured, "two copies (limit)")
    limit, own, other = (median(measured[each]) for each in ("two copies (limit)", "agex, kernel", "sandtrap, process"))
    times, part = BARS[name]
    wanted = f", at least {part:.0%}" if part else ""
    print(f"x peer: {other / own:.1f} (at least {times:g})   of the limit's speed: {limit / own:.0%}{wanted}")


def peak(name: str) -> None:
    """In a process of its own: how much memory the supervisor takes at most, beyond what is in its arenas."""
    value = made(name)
    buffers = dump({"d": value})[1]
    size = sum(buffer.nbytes for buffer in buffers)
    del buffers
    with agex.Sandbox() as sandbox:
        sandbox.run("1")
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        for _ in range(3):
            outcome = sandbox.run(CODE, {"d": value}, returns=type(value))
            assert outcome.status == "ok", outcome.error
            del outcome
        arenas = {file.st_ino: file.st_blocks * 512 for file in _arenas()}
        most = size + _status("VmHWM") - before - sum(arenas.values())
    print(
        f"{name}: at most {most / 1e6:.0f} MB beyond the arenas' {sum(arenas.values()) / 1e6:.0f}, input and output are"
        f" {2 * size / 1e6:.0f}: {most / (2 * size):.2f} (at most 1.10)"
    )


def _arenas() -> list[os.stat_result]:
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.stat(link) for link in links if os.path.lexists(link) and "agex-arena" in os.readlink(link)]


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="agex-bench-") as folder:
        peer = Peer(Path(folder))
        for name in VALUES:
            with agex.Sandbox() as sandbox:
                measure(name, rounds, sandbox, peer)
        peer.close()
    print()
    for name in VALUES:
        subprocess.run([sys.executable, __file__, "--peak", name], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        peak(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
