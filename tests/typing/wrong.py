"""What a type checker has to refuse: each line marked `wrong` is an error."""

from __future__ import annotations

import agex

agent = agex.Agent()


@agent.task
def total(prices: list[float]) -> float:
    """Add."""
    raise NotImplementedError


@agent.task
def use(model: agex.Opaque[int]) -> agex.Handle[int]:
    """Use."""
    raise NotImplementedError


agent.task("Trust.", trust="blindly")  # wrong
total("1")  # wrong
use(3)  # wrong
number: int = use(agex.Opaque(b""))  # wrong
for each in use(agex.Opaque(b"")):  # wrong
    print(each)
total([1.0], 2)  # wrong
text: str = total([1.0])  # wrong
total([1.0], session=3)  # wrong
total([1.0], sesion="a")  # wrong
total.run("1")  # wrong
total.with_options(sesion="a")  # wrong
texts: list[str] = total.map([[1.0]])  # wrong
