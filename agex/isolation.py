"""Which isolation is in force: what code asked for, raised (never lowered) by AGEX_ISOLATION."""

from __future__ import annotations

import os
from typing import get_args

from agex.errors import ConfigurationError
from agex_protocol.plan import Isolation

LEVELS: tuple[Isolation, ...] = get_args(Isolation)


def asked(isolation: str) -> Isolation:
    """The isolation to use. ValueError for a name that is none; ConfigurationError if AGEX_ISOLATION is none."""
    if isolation not in LEVELS:
        raise ValueError(f"isolation must be one of {', '.join(map(repr, LEVELS))}, not {isolation!r}")
    floor = os.environ.get("AGEX_ISOLATION") or "none"
    if floor not in LEVELS:
        raise ConfigurationError(f"AGEX_ISOLATION={floor!r} must be one of {', '.join(LEVELS)}")
    return LEVELS[max(LEVELS.index(isolation), LEVELS.index(floor))]
