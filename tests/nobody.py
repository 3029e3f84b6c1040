"""The unprivileged user as whom tests run once more what they run as root."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

NOBODY = 65534


class NoSuchUser(Exception):
    """Nobody could run this Python: it, or these tests, lie where others may not enter."""


def check_enterable() -> None:
    """NoSuchUser, with the directory in the way, if somebody without privileges could not run this Python."""
    places = (Path(sys.prefix, "bin"), Path(sys.base_prefix, "bin"), Path(sys.executable), Path(__file__))
    for directory in sorted({parent for place in places for parent in place.resolve().parents}):
        if not directory.stat().st_mode & 0o001:
            raise NoSuchUser(f"others may not enter {directory}")


def need_nobody() -> int:
    """The user's number; skips the test where nobody can become that user, or that user run this Python."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    try:
        check_enterable()
    except NoSuchUser as error:
        pytest.skip(str(error))
    return NOBODY
