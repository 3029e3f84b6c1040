"""Shared by all tests: hypothesis without timed assertions, because these machines are shared."""

from __future__ import annotations

from hypothesis import settings

# Examples are kept nowhere: an unprivileged user may not write beside the tests.
settings.register_profile("agex", deadline=None, database=None)
settings.load_profile("agex")
