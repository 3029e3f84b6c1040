"""Runs code in a worker that lacks layers, to see that they are what stops a payload. No Sandbox would take such a worker."""

from __future__ import annotations

import secrets

import agex
from agex_protocol import messages as m
from agex_protocol.buffers import enclose
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_supervisor.contract import Contract
from agex_supervisor.execution import ErrorInfo
from agex_supervisor.outbound import dump, dump_bindings
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.promises import LockdownReport


class Unlocked:
    """As much of a Sandbox as a trial needs: each run has a worker of its own, locked by `plan` alone."""

    def __init__(self, pool: Pool, plan: LockdownPlan) -> None:
        self._pool = pool
        self._plan = plan
        self._workspace = pool.new_workspace()

    def run(self, code: str, *, timeout_s: float) -> agex.SandboxOutcome:
        place = self._pool.checkout(Kit(self._plan), self._workspace)
        try:
            worker = place.worker
            begin = m.Begin(SandboxPlan(mode="full"), dump_bindings({}), (), worker.slot.workspace)
            assert worker.begin(begin) == ""
            action = secrets.token_bytes(16)
            first, inputs = enclose(action, *dump({}))
            shape = Contract.of(None, where="result").shape.to_bytes()
            asked = m.Run(action, code, inputs, shape, False)
            turn = worker.run(asked, first, timeout_s=timeout_s, on_call=lambda call, values: ())
            status, error = "ok", None
            if turn.death is not None:
                status, error = turn.death.cause, ErrorInfo(turn.death.cause, turn.death.detail)
            elif isinstance(turn.ending, m.Raised):
                status, error = "error", ErrorInfo(turn.ending.type, turn.ending.message)
            return agex.SandboxOutcome(
                status,
                stdout=turn.stdout,
                stderr=turn.stderr,
                error=error,
                lockdown=LockdownReport(self._plan.isolation, layers=worker.layers),
            )
        finally:
            self._pool.checkin(place)

    def close(self) -> None:
        """Nothing is left to let go of: the pool removes the workspace when it is closed."""
