"""Actions as fenced blocks, for models whose server offers no tool calls.

```python          the code of a python_action
```terminal        the commands of a terminal_action
```write_file      any other tool: its arguments as one JSON object
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agex.llm.tool_calls import ACTION_OF_TOOL, Misread, ToolCall, action_of, call_of, well_formed
from agex_supervisor.model import Action, PythonAction, TerminalAction, Tool

_LABELS = {"python": "python_action", "py": "python_action", "terminal": "terminal_action"}
_OPENING = re.compile(r" {0,3}(`{3,})[ \t]*([\w-]*)[^`\n]*")
_BACKTICKS = re.compile(r"`+")
_INTRODUCTION = (
    "You act by writing fenced blocks. They are run in the order in which you write them, up to the first that fails; "
    "the next message tells you what each gave. Close every block by a line of its own. The kinds of blocks:"
)


@dataclass(frozen=True, slots=True)
class FencedReply:
    """A reply taken apart: the prose around the blocks, the actions in them, what could not be understood."""

    text: str
    actions: list[Action]
    problems: list[str]


def read_fences(text: str, offered: Collection[str]) -> FencedReply:
    """Take the blocks that ask for an offered tool out of `text`. Other blocks are prose.

    A block that makes no sense ends the reading: what follows it may depend on it.
    """
    prose: list[str] = []
    actions: list[Action] = []
    problems: list[str] = []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        opening = _OPENING.fullmatch(lines[at].rstrip("\r"))
        end = _closing(lines, at, opening.group(1)) if opening else at
        label = opening.group(2).lower() if opening else ""
        tool = _LABELS.get(label, label)
        if opening is None or tool not in offered:
            # A block of prose is skipped whole, so that a fence quoted in it opens nothing.
            prose += lines[at : end + 1]
        elif end == len(lines):
            problems.append(f"the block ```{label} is not closed, so it was not run")
            break
        else:
            try:
                actions.append(_action(tool, "\n".join(lines[at + 1 : end]), offered))
            except Misread as misread:
                problems.append(str(misread))
                break
        at = end + 1
    return FencedReply("\n".join(prose).strip(), actions, problems)


def fenced(action: Action) -> str:
    """`action` as the block that asks for it."""
    match action:
        case PythonAction(code):
            return _block("python", code)
        case TerminalAction(commands):
            return _block("terminal", commands)
        case _:
            call = call_of(action)
            return _block(call.name, call.arguments)


def instructions(tools: Sequence[Tool]) -> str:
    """How to act by fenced blocks, for the end of a system message."""
    parts = [_INTRODUCTION]
    for tool in tools:
        match ACTION_OF_TOOL.get(tool.name):
            case action if action is PythonAction:
                parts.append(f"{_block('python', '(Python code)')}\n{tool.name}: {tool.description}")
            case action if action is TerminalAction:
                parts.append(f"{_block('terminal', '(shell commands)')}\n{tool.name}: {tool.description}")
            case _:
                arguments = "\n".join(
                    f"- {each.name} ({each.type}{'' if each.required else ', optional'}): {each.description}"
                    for each in tool.parameters
                )
                parts.append(f"{_block(tool.name, '(one JSON object)')}\n{tool.name}: {tool.description}\n{arguments}")
    return "\n\n".join(parts)


def _closing(lines: Sequence[str], opened: int, fence: str) -> int:
    """The index of the line that closes the block, or len(lines): as many backticks, and nothing else on the line."""
    for at in range(opened + 1, len(lines)):
        line = lines[at].strip()
        if len(line) >= len(fence) and not line.strip("`"):
            return at
    return len(lines)


def _action(tool: str, body: str, offered: Collection[str]) -> Action:
    body = well_formed(body)
    match tool:
        case "python_action":
            return PythonAction(body)
        case "terminal_action":
            return TerminalAction(body)
        case _:
            return action_of(ToolCall(tool, body), offered)


def _block(label: str, body: str) -> str:
    longest = max((len(run) for run in _BACKTICKS.findall(body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{label}\n{body}\n{fence}"
