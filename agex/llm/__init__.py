"""Language models: what the loop asks them, what they answer, and the clients that carry it.

OpenAI speaks to any server with Chat Completions; Scripted and scripted_server answer from a list, for tests. A client of
your own is any object that has what LLM says. The clients are imported when they are first named: `import agex` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from agex_supervisor.model import (
    LLM,
    Action,
    AssistantMessage,
    EditFile,
    ModelError,
    Observation,
    Parameter,
    PythonAction,
    Reply,
    Request,
    TerminalAction,
    Tool,
    Usage,
    UserMessage,
    WriteFile,
)

if TYPE_CHECKING:
    from agex.llm.fault import Fault
    from agex.llm.openai import OpenAI
    from agex.llm.scripted import Scripted
    from agex.llm.server import scripted_server

_CLIENTS = {
    "Fault": "agex.llm.fault",
    "OpenAI": "agex.llm.openai",
    "Scripted": "agex.llm.scripted",
    "scripted_server": "agex.llm.server",
}

__all__ = [
    "LLM",
    "Action",
    "AssistantMessage",
    "EditFile",
    "Fault",
    "ModelError",
    "Observation",
    "OpenAI",
    "Parameter",
    "PythonAction",
    "Reply",
    "Request",
    "Scripted",
    "TerminalAction",
    "Tool",
    "Usage",
    "UserMessage",
    "WriteFile",
    "scripted_server",
]


def __getattr__(name: str) -> Any:
    if name not in _CLIENTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_CLIENTS[name]), name)
    globals()[name] = value
    return value
