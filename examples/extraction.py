"""Typed extraction: letters become checked pydantic models, several at once, and what cannot be read is told apart.

With a real model:   OPENAI_API_KEY=... AGEX_MODEL=openai:gpt-5-mini python examples/extraction.py
Any other server:    OPENAI_BASE_URL=http://localhost:8000/v1 AGEX_MODEL=openai:NAME python examples/extraction.py
With neither, a scripted model stands in, and says so.
"""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field, model_validator

import agex

LETTERS = [
    "Bill K-17 of 2026-03-02. Tea: 3 at 4.50 EUR. Cups: 2 at 7.25 EUR. Together 28.00 EUR.",
    "Bill K-18 of 2026-03-05. Kettle: 1 at 39.00 USD. Together 39.00 USD.",
    "Bill K-19 of 2026-03-09. Tea: 2 at 4.50 EUR. Together 90.00 EUR.",
]

CODE = """import re
from datetime import date
from decimal import Decimal

number, day = re.search(r"Bill (\\S+) of (\\S+)\\.", inputs.letter).groups()
rows = re.findall(r"(\\w+): (\\d+) at ([\\d.]+) \\w+\\.", inputs.letter)
total, currency = re.search(r"Together ([\\d.]+) (\\w+)", inputs.letter).groups()
lines = [Line(article=article, pieces=int(pieces), price=Decimal(price)) for article, pieces, price in rows]
come_to = sum(line.pieces * line.price for line in lines)
if come_to != Decimal(total):
    task_fail(f"{number}: the lines come to {come_to}, the letter says {total}")
task_success(Bill(number=number, day=date.fromisoformat(day), lines=lines, currency=currency, total=Decimal(total)))
"""
SCRIPT = [CODE] * len(LETTERS)


class Line(BaseModel):
    """One article on a bill."""

    article: str
    pieces: int = Field(gt=0)
    price: Decimal = Field(gt=0, decimal_places=2)


class Bill(BaseModel):
    """A bill. Its validator runs in this process too: whatever the code in the worker made is checked again here."""

    number: str = Field(pattern=r"^K-\d+$")
    day: date
    lines: list[Line] = Field(min_length=1)
    currency: Literal["EUR", "USD"]
    total: Decimal

    @model_validator(mode="after")
    def adds_up(self) -> Bill:
        if sum(line.pieces * line.price for line in self.lines) != self.total:
            raise ValueError("the lines do not come to the total")
        return self


def main() -> None:
    scripted = "AGEX_MODEL" not in os.environ
    if scripted:
        print("AGEX_MODEL is not set: the model is scripted")
    agent = agex.Agent(isolation="kernel", llm=agex.llm.Scripted(SCRIPT) if scripted else None)

    @agent.task
    def read(letter: str) -> Bill:
        """Read the bill in the letter. Fail with the reason if its lines do not come to its total."""
        raise NotImplementedError

    with agent:
        for outcome in read.map(LETTERS, concurrency=3, outcomes=True):
            print(repr(outcome.value) if outcome.status == "success" else f"{outcome.status}: {outcome.error}")


if __name__ == "__main__":
    main()
