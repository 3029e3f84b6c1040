"""agex doctor: what this machine can hold, shown by trying it in a locked worker rather than by a table of versions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from agex.errors import IsolationUnavailable
from agex.sandbox import Sandbox
from agex_policies.machine import Machine
from agex_supervisor.promises import LockdownReport


@dataclass(frozen=True)
class Findings:
    """What was found. `refusal` says why no worker may start here, and is empty where one may."""

    machine: Machine
    policy: str
    report: LockdownReport | None
    refusal: str

    @property
    def holds(self) -> bool:
        return self.report is not None

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "holds": self.holds,
            "policy": self.policy,
            "refusal": self.refusal,
            "machine": dataclasses.asdict(self.machine),
            "lockdown": dataclasses.asdict(self.report) if self.report else None,
        }


def examine(policy: str = "default") -> Findings:
    """Start a worker under the policy, with every layer and the self-test. PolicyError for a policy that is wrong."""
    machine = Machine.detect()
    try:
        with Sandbox(isolation="kernel", policy=policy) as sandbox:
            outcome = sandbox.run("1 + 1", returns=int)
    except IsolationUnavailable as error:
        return Findings(machine, policy, None, str(error))
    if outcome.value != 2:
        return Findings(machine, policy, None, f"a locked worker started but ran nothing: {outcome.error}")
    return Findings(machine, policy, outcome.lockdown, "")


def show(findings: Findings) -> None:
    """As tables on a terminal."""
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    facts = dataclasses.asdict(findings.machine)
    console.print("[bold]machine[/]  " + escape(", ".join(f"{key} {value}" for key, value in facts.items())))
    if findings.report is None:
        console.print(f"\n[bold red]isolation='kernel' is unavailable here.[/]\n{escape(findings.refusal)}")
        return
    console.print(report_table(findings.report))
    console.print(layer_table(findings.report))
    console.print(f"[green]policy {escape(findings.policy)!r}: every promise is held.[/]")


def report_table(report: LockdownReport) -> Any:
    """Promises, what holds each, and what came of trying to break it; as a rich table."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="promises", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("promise", "held by", "tried in the locked worker"):
        table.add_column(heading, overflow="fold")
    for promise, mechanisms in report.promises.items():
        tried = report.probes.get(promise, "")
        table.add_row(escape(promise), escape(", ".join(mechanisms) or "nothing"), escape(tried))
    return table


def layer_table(report: LockdownReport) -> Any:
    """Layers, their states, and whether each was seen from outside; as a rich table."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="layers", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("layer", "state", "seen from outside"):
        table.add_column(heading, overflow="fold")
    for layer, state in report.layers.items():
        table.add_row(escape(layer), escape(state), "yes" if layer in report.verified else "")
    return table
