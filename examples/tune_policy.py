"""The operator's first program: a policy of one's own, checked, tried, and its lockdown read.

python examples/tune_policy.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import agex

POLICY = """
# For the report jobs: little memory, short runs, no more.
extends = "default"
description = "report jobs"

[limits]
memory = "256MiB"
wall_time = "5s"
"""

TYPO = POLICY.replace("wall_time", "wal_time")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wrong, right = Path(folder, "wrong.toml"), Path(folder, "reports.toml")
        wrong.write_text(TYPO)
        right.write_text(POLICY)
        try:
            agex.Policy.load(wrong)
        except agex.PolicyError as error:
            print(f"refused: {error}\n")
        with agex.Sandbox(policy=agex.Policy.load(right)) as sandbox:
            outcome = sandbox.run("x = bytearray(1 << 30)")
        print(f"a gigabyte under {right.name}: {outcome.status}, {outcome.error.type if outcome.error else ''}\n")
        for promise, layers in outcome.lockdown.promises.items():
            print(f"{promise:16} held by {', '.join(layers)}")


if __name__ == "__main__":
    main()
