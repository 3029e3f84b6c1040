"""agex doctor: what this machine can hold, shown by trying it in a locked worker rather than by a table of versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agex.errors import AgexError, IsolationUnavailable
from agex.namespace_trial import try_namespaces
from agex.remedies import Remedy, Situation, remedies
from agex.sandbox import Sandbox
from agex_policies.compile import compile_trial
from agex_policies.machine import Machine
from agex_policies.schema import Policy
from agex_policies.surroundings import Surroundings
from agex_protocol.plan import Wanted
from agex_supervisor.cgroup import Groups
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.promises import BY_SUPERVISOR, CELLS, LockdownReport, held_by

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Why a promise was not tried in the worker.
_NOT_IN_A_WORKER = {
    "channel": "not tried there: the supervisor holds it, by decoding what comes as the type it declared"
}


@dataclass(frozen=True, slots=True)
class Promised:
    """One promise: the layers that hold it, none where nothing does, and what came of each probe of it."""

    promise: str
    held_by: tuple[str, ...]
    probes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that does not hold on this machine although every promise does; `promise` is the one that it is nearest to."""

    promise: str
    what: str


# What nothing but namespaces can hold.
WITHOUT_NAMESPACES = (
    Gap("files.metadata", "stat answers for any path: names, sizes and times of files outside can be learned"),
    Gap("disk", "the total of what a worker writes is watched, not bounded: it can pass its limit between two looks"),
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found. `refusal` says why no worker may start here, and is empty where one may.

    report: of a worker that was locked with all the layers that there are; None where there could not even be that. The two texts beginning with no_ say why a layer is not in force; they are empty where it is.
    """

    policy: str
    refusal: str
    report: LockdownReport | None
    promises: tuple[Promised, ...]
    gaps: tuple[Gap, ...]
    remedies: tuple[Remedy, ...]
    no_namespaces: str
    no_cgroup: str
    machine: Machine
    surroundings: Surroundings

    @property
    def holds(self) -> bool:
        return not self.refusal

    def to_plain(self) -> dict[str, Any]:
        """For JSON, in the shape that docs/operations.md describes."""
        plain = dataclasses.asdict(self)
        lockdown = plain.pop("report")
        return {"holds": self.holds, **plain, "lockdown": lockdown if self.holds else None}


def examine(policy: str = "default") -> Findings:
    """Start a worker under the policy, with every layer and the self-test. PolicyError for a policy that is wrong."""
    machine, surroundings = Machine.detect(), Surroundings.look()
    report, refusal = _tried(policy)
    if refusal:
        report = _weakened(policy, machine)
    wanted = Policy.load(policy).isolation
    no_namespaces = _why_no_namespaces(report, wanted.namespaces, machine)
    no_cgroup = _why_no_cgroup(report, wanted.cgroup, machine)
    situation = Situation(
        machine, surroundings, no_namespaces, no_cgroup, wanted.namespaces != "off", wanted.cgroup != "off"
    )
    return Findings(
        policy=policy,
        refusal=refusal,
        report=report,
        promises=tuple(_promised(report)),
        gaps=WITHOUT_NAMESPACES if no_namespaces and not refusal else (),
        remedies=remedies(situation),
        no_namespaces=no_namespaces,
        no_cgroup=no_cgroup,
        machine=machine,
        surroundings=surroundings,
    )


def show(findings: Findings) -> None:
    """As tables on a terminal."""
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    if findings.refusal:
        console.print(f"[bold red]isolation='kernel' is unavailable here.[/]\n{escape(findings.refusal)}")
        if findings.report is not None:
            console.print("[dim]Tried all the same, in a worker with the layers that there are and without a task:[/]")
    if findings.report is not None:
        console.print(report_table(findings.report))
        console.print(layer_table(findings.report))
    _show_machine(console, findings)
    if findings.gaps:
        console.print("\n[bold]does not hold here[/]")
    for gap in findings.gaps:
        console.print(f"  {gap.promise}: {escape(gap.what)}")
    if findings.remedies:
        console.print("\n[bold]what to change[/]")
    for remedy in findings.remedies:
        gain = f" [dim]({', '.join(remedy.strengthens)})[/]" if remedy.strengthens else ""
        console.print(f"  {escape(remedy.do)}{gain}")
    if findings.holds:
        console.print(f"\n[green]policy {escape(findings.policy)!r}: every promise is held.[/]")


def report_table(report: LockdownReport) -> Table:
    """Promises, what holds each, and what came of trying to break it; as a rich table."""
    from rich.markup import escape

    table = _table("promises", "promise", "held by", "tried in the locked worker")
    for each in _promised(report):
        tried = [f"{_aspect(probe)}{result}" for probe, result in each.probes.items()]
        table.add_row(escape(each.promise), escape(", ".join(each.held_by) or "nothing"), escape("\n".join(tried)))
    return table


def layer_table(report: LockdownReport) -> Table:
    """Layers, their states, and whether each was seen from outside; as a rich table."""
    from rich.markup import escape

    table = _table("layers", "layer", "state", "seen from outside")
    for layer, state in report.layers.items():
        table.add_row(escape(layer), escape(state), "yes" if layer in report.verified else "")
    return table


def _tried(policy: str) -> tuple[LockdownReport | None, str]:
    try:
        with Sandbox(isolation="kernel", policy=policy) as sandbox:
            outcome = sandbox.run("1 + 1", returns=int)
    except IsolationUnavailable as error:
        return None, str(error)
    if outcome.value != 2:
        return None, f"a locked worker started but ran nothing: {outcome.error}"
    return outcome.lockdown, ""


def _weakened(policy: str, machine: Machine) -> LockdownReport | None:
    """What the layers that there are stop, where they do not hold every promise: no task runs in this worker."""
    if machine.system != "Linux":
        return None
    pool = Pool(spares=0)
    try:
        place = pool.checkout(Kit(compile_trial(Policy.load(policy), machine)), pool.new_workspace())
        try:
            layers = {**place.worker.layers, **BY_SUPERVISOR}
            return LockdownReport("kernel", held_by(layers), layers, [], place.worker.verified, place.worker.probes)
        finally:
            pool.checkin(place)
    except AgexError:
        return None  # a layer that is there fails: the refusal says so already
    finally:
        pool.close()


def _why_no_namespaces(report: LockdownReport | None, wanted: Wanted, machine: Machine) -> str:
    if _enforced(report, "namespaces"):
        return ""
    if wanted == "off":
        return "the policy switches them off"
    return machine.no_namespaces or try_namespaces()


def _why_no_cgroup(report: LockdownReport | None, wanted: Wanted, machine: Machine) -> str:
    if _enforced(report, "cgroup"):
        return ""
    if wanted == "off":
        return "the policy switches it off"
    if machine.no_cgroup:
        return machine.no_cgroup
    groups = Groups()
    try:
        return groups.unavailable
    finally:
        groups.close()


def _enforced(report: LockdownReport | None, layer: str) -> bool:
    return report is not None and report.layers.get(layer, "").startswith("enforced")


def _promised(report: LockdownReport | None) -> Iterator[Promised]:
    for promise in CELLS:
        if report is None:
            yield Promised(promise, (), {})
            continue
        probes = {name: result for name, result in report.probes.items() if name.partition("/")[0] == promise}
        if not probes and promise in _NOT_IN_A_WORKER:
            probes = {promise: _NOT_IN_A_WORKER[promise]}
        yield Promised(promise, tuple(report.promises.get(promise, ())), probes)


def _aspect(probe: str) -> str:
    aspect = probe.partition("/")[2]
    return f"{aspect}: " if aspect else ""


def _show_machine(console: Console, findings: Findings) -> None:
    from rich.markup import escape

    machine, around = findings.machine, findings.surroundings
    table = _table("machine", "fact", "")
    for fact, value in (
        ("kernel", f"{machine.system} {machine.kernel} {machine.arch}"),
        ("user", str(machine.uid)),
        ("Landlock", f"ABI {machine.landlock_abi}" if machine.landlock_abi else "none"),
        ("libseccomp", machine.libseccomp_version or "none"),
        ("namespaces", findings.no_namespaces or "can be made"),
        ("cgroup", findings.no_cgroup or "can be made"),
        ("security modules", ", ".join(around.lsm) or "not told"),
        ("container", around.container or "no sign of one"),
        ("filter on this process", "yes" if around.seccomp_mode == 2 else "no"),
        ("open files, processes", f"{_limit(around.open_files)}, {_limit(around.processes)}"),
        ("address space", _limit(around.address_space_bytes)),
    ):
        table.add_row(fact, escape(value))
    console.print(table)


def _limit(value: int | None) -> str:
    return "no limit" if value is None else str(value)


def _table(title: str, *headings: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
