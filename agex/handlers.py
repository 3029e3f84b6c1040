"""Handlers of the application are called so that what they raise is logged, and neither lost nor fatal."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from agex.lineage import called_by

logger = logging.getLogger("agex")


def handled(handler: Callable[[Any], Any], given: object, name: str) -> Awaitable[None] | None:
    """Call a handler. What an async one is still to do is given back, to be awaited."""
    try:
        # What a handler calls is nobody's sub-agent, whoever's event it is.
        with called_by(None):
            result = handler(given)
    except Exception:
        logger.exception("%s raised for %s", name, type(given).__name__)
        return None
    return _logged(result, given, name) if inspect.isawaitable(result) else None


async def _logged(awaitable: Awaitable[Any], given: object, name: str) -> None:
    try:
        with called_by(None):
            await awaitable
    except Exception:
        logger.exception("%s raised for %s", name, type(given).__name__)
