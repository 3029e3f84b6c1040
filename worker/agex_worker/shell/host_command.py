"""A command of the terminal that runs in the supervisor: the worker starts it by a call, and does for it what it asks of the
workspace until it has ended. So the workspace has one owner, and the supervisor opens nothing at a path of agent code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from termish import CommandContext, CommandFunc, CommandResult, TerminalError

from agex_protocol import messages as m
from agex_worker.sandbox.tree import WorkspaceTree

MAX_STDIN_BYTES = 8 << 20


def host_command(
    declared: m.HostCommand, commanding: Mapping[str, Callable[..., Any]], tree: WorkspaceTree
) -> CommandFunc:
    """The command as the shell calls it."""

    def command(ctx: CommandContext) -> CommandResult | None:
        if ctx.args in (["--help"], ["-h"]):
            ctx.stdout.write(declared.help.rstrip("\n") + "\n")
            return None
        stdin = ctx.stdin.buffer.read(MAX_STDIN_BYTES + 1)
        if len(stdin) > MAX_STDIN_BYTES:
            raise TerminalError(f"{declared.name}: more than {MAX_STDIN_BYTES >> 20} MiB of input; write it to a file")
        step = commanding[m.START_COMMAND](declared.name, list(ctx.args), stdin.decode("utf-8", "replace"))
        while "operation" in step:
            step = _answered(step, commanding[m.CONTINUE_COMMAND], tree)
        ctx.stdout.write(step["stdout"])
        said = step["stderr"]
        if said and not said.startswith(f"{declared.name}:"):
            said = f"{declared.name}: {said}"
        return CommandResult(exit_code=step["exit_code"], stderr=said)

    return command


def _answered(step: Mapping[str, Any], go_on: Callable[..., Any], tree: WorkspaceTree) -> Any:
    """Do what the command asks of the workspace, and give it the result or the error."""
    try:
        done = _perform(step["operation"], step["path"], step["content"], tree)
    except (OSError, ValueError) as error:
        return go_on(step["run"], b"", [], type(error).__name__, str(error))
    return go_on(step["run"], done if isinstance(done, bytes) else b"", done if isinstance(done, list) else [], "", "")


def _perform(operation: str, path: str, content: bytes, tree: WorkspaceTree) -> bytes | list[str] | None:
    match operation:
        case "read":
            return tree.read(path)
        case "write":
            tree.write(path, content)
            return None
        case "list":
            return tree.files_below(path)
        case _:
            raise ValueError(f"no such operation on files: {operation}")
