"""Shared by all tests: hypothesis without timed assertions, because these machines are shared."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("agex", deadline=None)
settings.load_profile("agex")
