"""An orchestrator and two specialists: agents whose tasks are functions of another agent's code.

With a real model:   OPENAI_API_KEY=... AGEX_MODEL=openai:gpt-5-mini python examples/orchestrator.py
Any other server:    OPENAI_BASE_URL=http://localhost:8000/v1 AGEX_MODEL=openai:NAME python examples/orchestrator.py
With neither, scripted models stand in, and say so.

Each specialist runs in this process with a locked worker of its own, and a session of its own that keeps its files. However it
ends, the orchestrator's code sees a value or an exception; what it does is heard by the orchestrator's handlers.
"""

from __future__ import annotations

import os

from pydantic import BaseModel

import agex

REVIEWS = [
    "The kettle is quick and quiet.",
    "Broke after a week. Sent it back.",
    "Good lamp, but the shade is crooked.",
]

SORTER = ["task_success('good' if 'quick' in inputs.review else 'bad')"] * 2 + [
    "task_clarify('The lamp or its shade?')"
]
WRITER = ["task_success(f'{inputs.good} content, {inputs.bad} not, {inputs.unclear} unclear')"]
BOSS = [
    "counts = {'good': 0, 'bad': 0, 'unclear': 0}\n"
    "for review in inputs.reviews:\n"
    "    try:\n"
    "        counts[mood(review)] += 1\n"
    "    except Exception as error:\n"
    "        print(error)\n"
    "        counts['unclear'] += 1\n"
    "task_success(Report(summary=summary(**counts), **counts))",
]


class Report(BaseModel):
    """What customers think."""

    good: int
    bad: int
    unclear: int
    summary: str


def agent(name: str, script: list[str], primer: str) -> agex.Agent:
    """An agent with the model that AGEX_MODEL names, or with a script."""
    llm = None if "AGEX_MODEL" in os.environ else agex.llm.Scripted(script)
    return agex.Agent(name=name, primer=primer, llm=llm, isolation="kernel")


def main() -> None:
    if "AGEX_MODEL" not in os.environ:
        print("AGEX_MODEL is not set: the models are scripted")
    sorter = agent("sorter", SORTER, "You read reviews. Ask if one cannot be told.")
    writer = agent("writer", WRITER, "You write one plain sentence.")
    boss = agent("boss", BOSS, "You delegate. A specialist may fail or ask: count that review as unclear.")

    @boss.fn
    @sorter.task
    def mood(review: str) -> str:
        """Whether a review is 'good' or 'bad'."""
        raise NotImplementedError

    @boss.fn
    @writer.task
    def summary(good: int, bad: int, unclear: int) -> str:
        """A sentence on how many reviews were what."""
        raise NotImplementedError

    @boss.task
    def report(reviews: list[str]) -> Report:
        """Sort the reviews by `mood`, count them, and let `summary` put it into words."""
        raise NotImplementedError

    with boss:
        outcome = report.run(REVIEWS)
    agex.pprint_events(outcome, verbosity="brief")
    print(outcome.unwrap())


if __name__ == "__main__":
    main()
