"""Give an agent instructions to read when it needs them, and a library that they are about.

The skill's files lie read-only below skills/ of the agent's workspace, in every isolation. The model here is a script, so
nothing leaves the machine; set AGEX_MODEL=openai:MODEL and OPENAI_API_KEY to ask a real one:   python examples/skills.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from agex import Agent, helpers
from agex.llm import Scripted

SKILL = """---
name: rounding
description: How this house rounds amounts of money. Read it before you add up any.
modules: [decimal]
---
# Rounding
Use decimal, never float. Round half to even, to two places, once, at the end:
`total.quantize(Decimal("0.01"))`. The rate of each country is in rates.csv.
"""

TURNS = [
    'with open("skills/rounding/SKILL.md") as text, open("skills/rounding/rates.csv") as rates:\n'
    "    print(text.read(), rates.read())",
    "from decimal import Decimal\n"
    'total = sum(Decimal(each) for each in inputs.amounts) * Decimal("1.19")\n'
    'task_success(str(total.quantize(Decimal("0.01"))))',
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        skill = Path(folder) / "rounding"
        skill.mkdir()
        (skill / "SKILL.md").write_text(SKILL)
        (skill / "rates.csv").write_text("DE,1.19\nFR,1.20\n")

        model = None if "AGEX_MODEL" in os.environ else Scripted(TURNS)
        with Agent(llm=model, isolation="kernel") as agent:
            helpers.register_stdlib(agent)
            agent.skill(skill)

            @agent.task
            def gross(amounts: list[str], country: str) -> str:
                """The sum of net amounts with the tax of the country, as text."""
                raise NotImplementedError

            print("gross:", gross(["10.10", "0.35"], "DE"))


if __name__ == "__main__":
    main()
