"""Commands of the agent's terminal that run in YOUR process: registered with `@agent.terminal`, shown to the model, run by the
supervisor when a worker's shell comes to them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

from agex.entries import Visibility
from agex.errors import ConfigurationError
from agex_supervisor.terminal_commands import CommandContext, TerminalCommand

MAX_HELP_CHARS = 4_000
Handler = Callable[[CommandContext], object]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
# Words of the shell, and commands that have to be its own.
_RESERVED = frozenset(
    "bash break case cd continue do done elif else esac exit export fi for function if in python python3 read sh source"
    " then until while".split()
)


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """One command, and how much of it the model is shown."""

    command: TerminalCommand
    visibility: Visibility


class Commands:
    """The terminal commands of one agent, in the order in which they were registered."""

    def __init__(self) -> None:
        self._entries: dict[str, CommandEntry] = {}

    @property
    def all(self) -> tuple[TerminalCommand, ...]:
        return tuple(entry.command for entry in self._entries.values())

    def add(self, handler: Handler, name: str | None, visibility: Visibility, docstring: str | None) -> None:
        """ConfigurationError for what cannot be a command, with the reason."""
        if not callable(handler):
            raise ConfigurationError(f"terminal() takes a function of one argument, not {type(handler).__name__}")
        bare = name if name is not None else str(getattr(handler, "__name__", "")).replace("_", "-")
        if not _NAME.fullmatch(bare):
            raise ConfigurationError(f"terminal command {bare!r}: a name is a letter, then letters, digits, - _ and .")
        if bare in _RESERVED:
            raise ConfigurationError(f"terminal command {bare!r}: the shell itself has this word; give name='...'")
        if visibility not in ("high", "medium", "low"):
            raise ConfigurationError(
                f"terminal command {bare!r}: visibility is high, medium or low, not {visibility!r}"
            )
        if inspect.iscoroutinefunction(handler):
            raise ConfigurationError(f"terminal command {bare!r}: a command is a plain function, run on its own thread")
        try:
            inspect.signature(handler).bind(None)
        except TypeError:
            raise ConfigurationError(f"terminal command {bare!r}: it is called with one argument, ctx") from None
        text = inspect.getdoc(handler) if docstring is None else inspect.cleandoc(docstring)
        shown = f"{bare}: {text or 'a command of the application, without documentation'}"[:MAX_HELP_CHARS]
        self._entries[bare] = CommandEntry(TerminalCommand(bare, handler, shown), visibility)

    def text(self) -> str:
        """What the model is told of them: all of the text, its first line, or nothing, by visibility."""
        lines: list[str] = []
        for entry in self._entries.values():
            if entry.visibility == "high":
                lines.append(entry.command.help)
            elif entry.visibility == "medium":
                lines.append(entry.command.help.partition("\n")[0])
        return "\n".join(lines)
