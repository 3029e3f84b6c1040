"""Serves the actions on the workspace for one session: the shell with its commands, and the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agex_protocol import messages as m
from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.turn import Ended
from agex_worker.workspace_actions import tend

if TYPE_CHECKING:
    from agex_worker.shell.interpreter import Shell

Write = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Terminal:
    """What the shell's commands find: names and modules as agent code has them, commands of the application.

    commanding: by these functions of the supervisor its commands are run. read_anew: called before each run of Python.
    """

    sandbox: SandboxPlan
    names: Mapping[str, object]
    members: Mapping[str, Mapping[str, object]]
    commands: Sequence[m.HostCommand] = ()
    commanding: Mapping[str, Callable[..., Any]] | None = None
    read_anew: Callable[[], None] | None = None

    def tend(self, asked: m.OnWorkspace, root: Path, out: Write, err: Write, *, redirects: bool) -> Ended:
        """One action. redirects: what libraries write to the process's own output is the action's."""

        def run_shell(commands: str, tree: WorkspaceTree) -> int:
            return self._shell(tree, out, err, redirects).run(commands)

        return tend(asked, WorkspaceTree(root, self.sandbox.read_only), run_shell)

    def _shell(self, tree: WorkspaceTree, out: Write, err: Write, redirects: bool) -> Shell:
        # Here, because a file is written and edited without a shell.
        from agex_worker.shell.host_command import host_command
        from agex_worker.shell.interpreter import Shell
        from agex_worker.shell.python import python_command

        python = python_command(
            self.sandbox, self.names, self.members, tree, redirects=redirects, read_anew=self.read_anew
        )
        given = {each.name: host_command(each, self.commanding or {}, tree) for each in self.commands}
        return Shell(tree, out, err, {"python": python, "python3": python, **given})
