"""Runs a cell in processes of its own, as the user that it names; what dies on the way costs one payload, not the cell."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.attacks.cell import Cell
from tests.attacks.trial import Verdict
from tests.nobody import NOBODY, check_enterable

ROOT = Path(__file__).parents[2]
# No payload with its benign runs takes nearly as long, even on a busy machine.
SILENCE_S = 120.0


def run_cell(cell: Cell, ids: Sequence[str]) -> list[Verdict]:
    """A verdict for each of these payloads. NoSuchUser if the cell's user cannot run Python here."""
    remaining, verdicts = list(ids), list[Verdict]()
    while remaining:
        done = _run_some(cell, remaining)
        verdicts += done
        remaining = remaining[len(done) :]
    return verdicts


def _run_some(cell: Cell, ids: Sequence[str]) -> list[Verdict]:
    """The verdicts as far as one host gets. If it dies on the way, that is a fault of the supervisor."""
    verdicts: list[Verdict] = []
    user = NOBODY if cell.user == "nobody" else None
    if user is not None:
        check_enterable()
    with tempfile.TemporaryDirectory(prefix="attacks-") as home, tempfile.TemporaryFile() as errors:
        os.chmod(home, 0o755)
        if user is not None:
            os.chown(home, user, user)
        host = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.attacks.cell",
                json.dumps(asdict(cell)),
                f"sk-ax-host-{secrets.token_hex(8)}",
                *ids,
            ],
            env=_environment(home),
            cwd=ROOT,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        trouble = ""
        try:
            for line in _lines(host):
                if "payload" in line:
                    verdicts.append(Verdict(**line))
        except (TimeoutError, ValueError, TypeError) as error:
            trouble = f"{type(error).__name__}: {error}; "
        finally:
            if trouble:
                host.kill()
            status = host.wait(SILENCE_S)
            assert host.stdout is not None
            host.stdout.close()
        errors.seek(0)
        noise = errors.read().decode(errors="replace")[-2000:]
    if trouble or status or noise or not verdicts:
        told = [f"{trouble}the host ended with {status} and said: {noise}"]
        if len(verdicts) < len(ids):
            verdicts.append(Verdict(ids[len(verdicts)], "fault", told))
        else:
            verdicts[-1].add("fault", told)
    return verdicts


def _lines(host: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """TimeoutError where nothing comes, ValueError where something else than the host's own lines stands there."""
    assert host.stdout is not None
    data = b""
    while True:
        if not select.select([host.stdout], [], [], SILENCE_S)[0]:
            raise TimeoutError(f"nothing was heard for {SILENCE_S:g} s")
        piece = os.read(host.stdout.fileno(), 1 << 16)
        if not piece:
            return
        *whole, data = (data + piece).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _environment(home: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "TMPDIR": home,
        "PYTHONPATH": os.pathsep.join([*(path for path in sys.path if path), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "error",
    }
