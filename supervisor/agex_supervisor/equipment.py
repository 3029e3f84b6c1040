"""Equipment: what a session's code finds in each of its workers."""

from __future__ import annotations

from dataclasses import dataclass, field

from agex_protocol import messages as m
from agex_protocol.plan import SandboxPlan
from agex_supervisor.outbound import Admit


@dataclass(frozen=True)
class Equipment:
    """What a session's code finds: the inner sandbox's plan, bound classes and functions (pickled), host functions."""

    sandbox: SandboxPlan = field(default_factory=SandboxPlan)
    bindings: bytes = b""
    functions: tuple[m.HostFunction, ...] = ()
    objects: tuple[m.HostObject, ...] = ()
    admit: Admit | None = None  # asked for what an input would take along by value
    may_seal: bool = True  # whether the policy lets objects leave a worker as sealed bytes
    commands: tuple[m.HostCommand, ...] = ()  # of the terminal, that run in this process
    commanding: tuple[m.HostFunction, ...] = ()  # by which these are run

    def begin(self, work: str) -> m.Begin:
        """What tells a worker of it; `work` is where that worker finds the workspace."""
        return m.Begin(self.sandbox, self.bindings, self.functions, work, self.objects, self.commands, self.commanding)
