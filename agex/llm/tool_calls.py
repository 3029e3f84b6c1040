"""Tool calls and actions, either way: the wire says a tool's name and its arguments, the loop speaks of actions.

A tool's parameters have the names and types of its action's fields. What a model got wrong is told to the model.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import MISSING, Field, asdict, dataclass, fields
from typing import Any, cast

from agex_supervisor.model import Action, EditFile, PythonAction, TerminalAction, Tool, WriteFile

ACTION_OF_TOOL: dict[str, type[Action]] = {
    "python_action": PythonAction,
    "terminal_action": TerminalAction,
    "write_file": WriteFile,
    "edit_file": EditFile,
}
_TOOL_OF_ACTION = {action: tool for tool, action in ACTION_OF_TOOL.items()}


class Misread(Exception):
    """A tool call that makes no sense. The text is for the model, so that it can do better."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the wire has it, its arguments a JSON object."""

    name: str
    arguments: str


def call_of(action: Action) -> ToolCall:
    """The call that asks for `action`."""
    arguments = json.dumps(asdict(action), ensure_ascii=False)
    return ToolCall(tool_of(action), well_formed(arguments))


def tool_of(action: Action) -> str:
    """The name of the tool whose call asks for `action`."""
    return _TOOL_OF_ACTION[type(action)]


def action_of(call: ToolCall, offered: Collection[str]) -> Action:
    """The action that a model's call asks for, or Misread. `offered` are the names of the tools that it may call."""
    if call.name not in offered or call.name not in ACTION_OF_TOOL:
        raise Misread(f"there is no tool {call.name[:100]!r}; the tools are: {', '.join(sorted(offered))}")
    try:
        # Not strict: models write newlines into strings as they are.
        arguments: object = json.loads(call.arguments, strict=False)
    except (ValueError, RecursionError) as error:
        raise Misread(f"the arguments of {call.name} are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise Misread(f"the arguments of {call.name} are not a JSON object")
    return _made(call.name, cast("dict[str, object]", arguments))


def tool_schema(tool: Tool) -> dict[str, Any]:
    """`tool` as Chat Completions wants it declared."""
    properties = {each.name: {"type": each.type, "description": each.description} for each in tool.parameters}
    required = [each.name for each in tool.parameters if each.required]
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def well_formed(text: str) -> str:
    """`text` with lone surrogates written out: hostile output may hold them, and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _made(tool: str, arguments: dict[str, object]) -> Action:
    action = ACTION_OF_TOOL[tool]
    if action is PythonAction and isinstance(code := arguments.get("code"), str):
        arguments = {**arguments, "code": _unfenced(code)}
    return action(**{field.name: _argument(tool, field, arguments) for field in fields(action)})


def _unfenced(code: str) -> str:
    """A script that stands as a whole within a fenced block, as models write it elsewhere, without the fence."""
    first, *script = code.strip().split("\n")
    if first.rstrip() not in ("```", "```python", "```py") or not script or script.pop().strip() != "```":
        return code
    return code if any(line.startswith("```") for line in script) else "\n".join(script)


def _argument(tool: str, field: Field[Any], arguments: dict[str, object]) -> Any:
    # Null is how some models leave an optional argument out.
    value = arguments.get(field.name)
    if value is None and field.default is not MISSING:
        return field.default
    if value is None:
        raise Misread(f"{tool} needs the argument {field.name!r}")
    if field.type == "bool":
        if not isinstance(value, bool):
            raise Misread(f"the argument {field.name!r} of {tool} has to be true or false")
        return value
    if not isinstance(value, str):
        raise Misread(f"the argument {field.name!r} of {tool} has to be a string")
    return well_formed(value)
