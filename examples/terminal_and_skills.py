"""A terminal and skills together: the agent reads in its shell how things are done here, and does them with your command.

With a real model:   OPENAI_API_KEY=... AGEX_MODEL=openai:gpt-5-mini python examples/terminal_and_skills.py
Any other server:    OPENAI_BASE_URL=http://localhost:8000/v1 AGEX_MODEL=openai:NAME python examples/terminal_and_skills.py
With neither, a scripted model stands in, and says so.

The shell and the skill's files are in a locked worker; the command runs here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import agex
from agex.llm import Reply, Scripted, TerminalAction

STOCK = {"cup": 12, "tea": 3, "tin": 0}
ORDERED: dict[str, int] = {}

SKILL = """---
name: orders
description: How articles are ordered in this house. Read it before you order anything.
---
# Orders
Of what is below one pack, one pack is ordered. Packs are in packs.txt; pick.py does the sums:
`stock | python skills/orders/pick.py | order`
"""
PICK = """import sys

with open("skills/orders/packs.txt") as file:
    packs = dict(line.split() for line in file)
for line in sys.stdin:
    article, pieces = line.split()
    if int(pieces) < int(packs[article]):
        print(article, packs[article])
"""
SCRIPT = [
    Reply(actions=[TerminalAction("cat skills/orders/SKILL.md; order --help")]),
    Reply(actions=[TerminalAction("stock | python skills/orders/pick.py > orders.txt && cat orders.txt | order")]),
    "with open('orders.txt') as file: task_success([line.split()[0] for line in file])",
]


def main() -> None:
    scripted = "AGEX_MODEL" not in os.environ
    if scripted:
        print("AGEX_MODEL is not set: the model is scripted")
    agent = agex.Agent(name="clerk", llm=Scripted(SCRIPT) if scripted else None, isolation="kernel")
    with tempfile.TemporaryDirectory() as folder:
        skill = Path(folder, "orders")
        skill.mkdir()
        for name, text in {"SKILL.md": SKILL, "pick.py": PICK, "packs.txt": "cup 10\ntea 20\ntin 5\n"}.items():
            (skill / name).write_text(text)
        agent.skill(skill)  # read now; agents have a copy

    @agent.terminal
    def stock(ctx: agex.CommandContext) -> None:
        """Print each article and how many pieces of it there are."""
        for article, pieces in STOCK.items():
            ctx.stdout.write(f"{article} {pieces}\n")

    @agent.terminal
    def order(ctx: agex.CommandContext) -> None:
        """Order what standard input says, a line each: ARTICLE PIECES"""
        for line in ctx.stdin.splitlines():
            article, pieces = line.split()
            if article not in STOCK:
                ctx.fail(f"no such article: {article}", exit_code=3)
            ORDERED[article] = int(pieces)
            ctx.stdout.write(f"ordered {pieces} of {article}\n")

    @agent.task
    def restock() -> list[str]:
        """Order whatever runs low, and say which articles these were."""
        raise NotImplementedError

    with agent:
        outcome = restock.run()
    for event in outcome.events:
        if isinstance(event, agex.OutputEvent):
            print(event.text)
    print(outcome.unwrap(), ORDERED)


if __name__ == "__main__":
    main()
