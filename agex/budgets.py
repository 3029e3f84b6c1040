"""What an agent's calls may use, from what its maker said."""

from __future__ import annotations

import math

from agex.errors import ConfigurationError
from agex_supervisor.loop import Budget

Prices = tuple[float, float] | tuple[float, float, float]


def budget_of(max_actions: int, max_tokens: int | None, max_cost: float | None, prices: Prices | None) -> Budget:
    """ValueError for what bounds nothing, ConfigurationError for a cost without prices."""
    limits = {"max_actions": max_actions, "max_tokens": max_tokens, "max_cost": max_cost}
    for label, value in limits.items():
        if value is not None and not value > 0:
            raise ValueError(f"{label} must be above 0, not {value!r}")
    if prices is None:
        if max_cost is not None:
            raise ConfigurationError("max_cost needs prices=(for a million tokens in, for a million tokens out)")
        return Budget(max_actions, max_tokens)
    if len(prices) not in (2, 3) or not all(math.isfinite(price) and price >= 0 for price in prices):
        raise ValueError(
            f"prices are those of a million tokens in, a million out, and perhaps a million from the provider's cache; not {prices!r}"
        )
    return Budget(max_actions, max_tokens, max_cost, *prices)
