"""A script run to see how far it gets: in a locked worker always, in learn mode or exactly as it would run later.

Learn mode opens nothing to the outside. System calls that an optional group of a policy would allow are let through and
noted, and sockets can be made although nothing is granted, so that it is known where a script wants to connect.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agex.registry import Registry
from agex.sandbox import Sandbox
from agex_policies.compile import compile_plan, compile_sandbox
from agex_policies.schema import Policy
from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.plan import LockdownPlan, NetworkGrant
from agex_protocol.shapes import ANY
from agex_supervisor.denials import Denial, merged, of_address, of_death, of_syscall
from agex_supervisor.display import display
from agex_supervisor.equipment import Equipment
from agex_supervisor.execution import RunUsage
from agex_supervisor.host_calls import HostCalls
from agex_supervisor.outbound import dump_bindings
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.session import Session
from agex_supervisor.turn import Turn

# Stands for a network where nothing is granted. In capitals, as the broker, which asks in lower case, finds no host: nobody
# can be connected with it.
_NOWHERE = NetworkGrant("NOWHERE", 9)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How one run went. ended: the error or the death, in one line that is safe to show; empty where it passed.

    opened: the optional groups of system calls that only learn mode let through.
    """

    passed: bool
    ended: str = ""
    denials: tuple[Denial, ...] = ()
    opened: tuple[str, ...] = ()
    usage: RunUsage = RunUsage()


@dataclass(frozen=True, slots=True)
class Script:
    """Code with what it is given, as `agex run` gives it: arguments are its `argv`, modules what it may import.

    workspace: a directory of the caller's, which keeps what one run left there for the next; None for a new one each time.
    """

    name: str
    code: str
    arguments: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    workspace: Path | None = None

    def rehearse(self, policy: Policy) -> Rehearsal:
        """Run it once in learn mode. Raises what a Sandbox would raise where nothing can run."""
        plan = _learning(compile_plan(policy, "kernel"))
        registry = Registry.of(self.modules)
        equipment = Equipment(compile_sandbox(policy, registry.grants()), dump_bindings({}))
        with _pool() as pool, self._sandbox(policy, pool) as sandbox:
            # It runs nothing here; it has checked the workspace and found out its real path.
            own = sandbox.workspace
            kit = Kit(plan, registry.preload(), str(own or ""))
            session = Session(pool, kit, equipment, None if own else pool.new_workspace())
            with contextlib.closing(session):
                turn = session.run(
                    self.code,
                    self._inputs,
                    ANY.to_bytes(),
                    task=False,
                    timeout_s=plan.limits.wall_time_s,
                    on_call=HostCalls((), Caps.within(plan.limits.result_bytes)),
                )
        return _rehearsal(turn)

    def replay(self, policy: Policy) -> Rehearsal:
        """Run it once as anybody would, without learn mode. Raises what a Sandbox raises where nothing can run."""
        with _pool() as pool, self._sandbox(policy, pool) as sandbox:
            outcome = sandbox.run(self.code, self._inputs)
        error = outcome.error
        ended = _told(error.type, error.message) if error is not None else ""
        return Rehearsal(outcome.status == "ok", ended, tuple(outcome.denials), usage=outcome.usage)

    def _sandbox(self, policy: Policy, pool: Pool) -> Sandbox:
        return Sandbox("kernel", policy, self.modules, workspace=self.workspace, pool=pool)

    @property
    def _inputs(self) -> Mapping[str, object]:
        return {"argv": [self.name, *self.arguments]}


def _learning(plan: LockdownPlan) -> LockdownPlan:
    return dataclasses.replace(plan, learn=True, network=plan.network or (_NOWHERE,))


@contextlib.contextmanager
def _pool() -> Generator[Pool]:
    # One for each run: no two have the same plan, so nothing of a pool would be used again.
    pool = Pool(max_workers=1, spares=0)
    try:
        yield pool
    finally:
        pool.close()


def _rehearsal(turn: Turn) -> Rehearsal:
    refused = [
        of_syscall(each.name, each.arguments, allowed_by_group=bool(each.group))
        for each in turn.syscalls
        if not each.allowed
    ]
    others = [of_address(target) for target in turn.addresses]
    ended = ""
    if turn.death is not None:
        limit = of_death(turn.death.cause, turn.death.detail, deadline_is_policy=True)
        others += [limit] if limit is not None else []
        ended = _told(turn.death.cause, turn.death.detail)
    elif isinstance(turn.ending, m.Raised):
        ended = _told(turn.ending.type, turn.ending.message)
    return Rehearsal(
        passed=isinstance(turn.ending, m.Finished | m.Kept),
        ended=ended,
        denials=tuple(merged(turn.denied, calls=refused, others=others)),
        opened=tuple(dict.fromkeys(each.group for each in turn.syscalls if each.allowed)),
        usage=RunUsage(turn.wall_s, turn.cpu_s, turn.peak_rss_bytes),
    )


def _told(kind: str, message: str) -> str:
    return display(f"{kind}: {message}", limit=500, one_line=True)
