"""Which model an agent talks to: an object, a name, or what the environment says."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from agex.errors import ConfigurationError
from agex_supervisor.model import LLM

if TYPE_CHECKING:
    from agex.llm.openai import OpenAI

_REMEDY = (
    "give llm='openai:MODEL' or an agex.llm client, or set AGEX_MODEL=openai:MODEL and OPENAI_API_KEY "
    "(OPENAI_BASE_URL for a server of your own)"
)


def from_setting(llm: object) -> LLM:
    """The client for an Agent's `llm` (a string, an LLM or None), ready to be asked.

    Raises ConfigurationError saying what is missing; TypeError for what is no client.
    """
    if llm is None:
        setting = os.environ.get("AGEX_MODEL", "").strip()
        if not setting:
            raise ConfigurationError(f"no model: {_REMEDY}")
        return _named(setting, "AGEX_MODEL is")
    if isinstance(llm, str):
        return _named(llm, "llm is")
    if not isinstance(llm, LLM):
        raise TypeError(f"llm is a string or has model, complete and acomplete; {type(llm).__name__} has not")
    # The client takes longer to import than all the rest: an object of it shows that it is there.
    client = sys.modules.get("agex.llm.openai")
    if client is not None and isinstance(llm, client.OpenAI):
        client.OpenAI.check(llm)
    return llm


def _named(setting: str, subject: str) -> OpenAI:
    provider, _, model = setting.partition(":")
    if provider != "openai" or not model:
        raise ConfigurationError(f"{subject} {setting!r}, which names no model: {_REMEDY}")
    from agex.llm.openai import OpenAI

    client = OpenAI(model)
    client.check()
    return client
