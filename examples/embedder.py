"""The embedder's first program: one typed function in an application, its body written by a model at call time.

With a real model:   OPENAI_API_KEY=... AGEX_MODEL=openai:gpt-5-mini python examples/embedder.py
Any other server:    OPENAI_BASE_URL=http://localhost:8000/v1 AGEX_MODEL=openai:NAME python examples/embedder.py
With neither, a scripted model stands in, and says so. It needs pandas.
"""

from __future__ import annotations

import os

import pandas as pd

import agex

SCRIPT = ["task_success({name: float(inputs.df[name].mean()) for name in inputs.columns})"]


def main() -> None:
    scripted = "AGEX_MODEL" not in os.environ
    if scripted:
        print("AGEX_MODEL is not set: the model is scripted")
    agent = agex.Agent(isolation="kernel", policy="default", llm=agex.llm.Scripted(SCRIPT) if scripted else None)
    agent.module(pd)

    @agent.task
    def summarize(df: pd.DataFrame, columns: list[str]) -> dict[str, float]:
        """Compute the mean of each named column."""
        raise NotImplementedError

    frame = pd.DataFrame({"price": range(1_000_000), "revenue": [1.5] * 1_000_000})
    with agent:
        stats = summarize(frame, ["price", "revenue"])
    print(stats)


if __name__ == "__main__":
    main()
