"""What a type checker has to refuse: each line marked `wrong` is an error."""

from __future__ import annotations

import agex

agent = agex.Agent()


@agent.task
def total(prices: list[float]) -> float:
    """Add."""
    raise NotImplementedError


total("1")  # wrong
total([1.0], 2)  # wrong
text: str = total([1.0])  # wrong
