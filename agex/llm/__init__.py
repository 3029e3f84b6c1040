"""Language models: what the loop asks them, what they answer, and the clients that carry it.

OpenAI speaks to any server with Chat Completions; Scripted and scripted_server answer from a list, for tests. A client of
your own is any object that has what LLM says.
"""

from agex.llm.fault import Fault as Fault
from agex.llm.openai import OpenAI as OpenAI
from agex.llm.scripted import Scripted as Scripted
from agex.llm.scripted_server import scripted_server as scripted_server
from agex_supervisor.model import LLM as LLM
from agex_supervisor.model import Action as Action
from agex_supervisor.model import AssistantMessage as AssistantMessage
from agex_supervisor.model import EditFile as EditFile
from agex_supervisor.model import ModelError as ModelError
from agex_supervisor.model import Observation as Observation
from agex_supervisor.model import Parameter as Parameter
from agex_supervisor.model import PythonAction as PythonAction
from agex_supervisor.model import Reply as Reply
from agex_supervisor.model import Request as Request
from agex_supervisor.model import TerminalAction as TerminalAction
from agex_supervisor.model import Tool as Tool
from agex_supervisor.model import Usage as Usage
from agex_supervisor.model import UserMessage as UserMessage
from agex_supervisor.model import WriteFile as WriteFile

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
