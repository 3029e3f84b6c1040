"""An evaluator and an optimiser as peers: two agents, and an ordinary loop between them.

With a real model:   OPENAI_API_KEY=... AGEX_MODEL=openai:gpt-5-mini python examples/evaluator.py
Any other server:    OPENAI_BASE_URL=http://localhost:8000/v1 AGEX_MODEL=openai:NAME python examples/evaluator.py
With neither, scripted models stand in, and say so.
"""

from __future__ import annotations

import os

from pydantic import BaseModel

import agex

ROUNDS = 5

WRITER = [
    "task_success('Our kettle boils water extremely quickly and also looks nice.')",
    "task_success('Our kettle boils a litre in two minutes.')",
]
CRITIC = [
    "words = len(inputs.draft.split())\n"
    "number = any(word in inputs.draft for word in ('two', '2'))\n"
    "task_success(Review(approved=number and words <= 9, feedback='Say how fast, and be brief.'))",
] * 2


class Review(BaseModel):
    """What the critic says."""

    approved: bool
    feedback: str


def model(script: list[str]) -> agex.llm.LLM | None:
    """The model that AGEX_MODEL names, or a script."""
    return None if "AGEX_MODEL" in os.environ else agex.llm.Scripted(script)


def main() -> None:
    if "AGEX_MODEL" not in os.environ:
        print("AGEX_MODEL is not set: the models are scripted")
    writer = agex.Agent(name="writer", llm=model(WRITER), isolation="kernel")
    critic = agex.Agent(name="critic", llm=model(CRITIC), isolation="kernel")

    @writer.task
    def write(topic: str, draft: str = "", feedback: str = "") -> str:
        """One advertising sentence on the topic; where there is a draft, a better one that heeds the feedback."""
        raise NotImplementedError

    @critic.task
    def review(draft: str) -> Review:
        """Approve a sentence of at most 9 words that has a number in it; else say what is missing."""
        raise NotImplementedError

    draft = write("a kettle that boils a litre in two minutes")
    for _ in range(ROUNDS):
        said = review(draft)
        print(f"{'approved' if said.approved else 'sent back'}: {draft}")
        if said.approved:
            break
        draft = write("a kettle that boils a litre in two minutes", draft, said.feedback)
    writer.close()
    critic.close()


if __name__ == "__main__":
    main()
