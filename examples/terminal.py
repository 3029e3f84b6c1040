"""Give an agent a terminal with a command of yours, and files that it writes and edits itself.

The shell and the files are in a locked worker; the command runs here. The model is a script, so nothing leaves the machine:
   python examples/terminal.py
"""

from __future__ import annotations

import agex
from agex.llm import EditFile, Reply, Scripted, TerminalAction, WriteFile

STOCK = {"tea": 3, "tin": 0, "cup": 12}
REPORT = """import sys

for line in sys.stdin:
    article, pieces = line.split()
    print(f"{article:<5}{int(pieces):>4}")
"""

MODEL = Scripted(
    [
        Reply(
            actions=[WriteFile("report.py", REPORT), TerminalAction("stock --help; stock tea tin | python report.py")]
        ),
        Reply(
            actions=[
                EditFile("report.py", "{int(pieces):>4}", "{int(pieces):>4} pieces"),
                TerminalAction("for article in tea cup; do stock $article; done | python report.py > report.txt"),
                TerminalAction("stock spoon"),
            ]
        ),
        "with open('report.txt') as file: task_success(file.read())",
    ]
)


def main() -> None:
    agent = agex.Agent(name="clerk", llm=MODEL, isolation="kernel")

    @agent.terminal
    def stock(ctx: agex.CommandContext) -> None:
        """Print how many pieces of each article there are: stock ARTICLE..."""
        for article in ctx.args:
            if article not in STOCK:
                ctx.fail(f"no such article: {article}", exit_code=3)
            ctx.stdout.write(f"{article} {STOCK[article]}\n")

    @agent.task
    def report() -> str:
        """Report the stock of tea and cups."""
        raise NotImplementedError

    outcome = report.run()
    for event in outcome.events:
        if isinstance(event, agex.OutputEvent):
            print(event.text)
    print(outcome.unwrap(), end="")


if __name__ == "__main__":
    main()
