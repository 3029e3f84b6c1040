"""How a worker died: the first cause, kept and never overwritten."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from agex_protocol import zygote_messages as zm
from agex_protocol.plan import Limits

# The kernel enforces processor time by counting ticks and reports it by the clock: on a busy machine the two differ much.
CPU_TIME_SEEN = 0.5


@dataclass(frozen=True, slots=True)
class Death:
    """Why a worker is gone. cause: "timeout", "cancelled", "limit", "violation", "signal", "exit", "closed".

    detail: in words; "" only until the wait status of one that ended by itself is known.
    """

    cause: str
    detail: str


# It ended by itself: its wait status will say how.
BY_ITSELF = Death("signal", "")

OUT_OF_MEMORY = Death("limit", "limits.memory: its control group holds no more, so the kernel killed it")

WITH_ITS_ZYGOTE = Death("exit", "it ended together with its zygote")


def by_syscall(name: str) -> Death:
    """The death of one that made a system call which is answered so."""
    return Death("signal", f"seccomp: it called {name}, which no policy allows and no library calls by accident")


def by_status(reaped: zm.Reaped, limits: Limits) -> Death:
    """What a wait status says in words, with the limit or the layer behind it where that is known."""
    if os.WIFEXITED(reaped.status):
        return Death("exit", f"the worker ended by itself with exit status {os.WEXITSTATUS(reaped.status)}")
    number = os.WTERMSIG(reaped.status)
    name = signal.Signals(number).name if number in signal.Signals._value2member_map_ else f"signal {number}"
    if number == signal.SIGSYS:
        return Death("signal", "SIGSYS: it made a system call that the seccomp filter answers with death")
    if number in (signal.SIGXCPU, signal.SIGKILL) and reaped.cpu_s >= limits.cpu_time_s * CPU_TIME_SEEN:
        return Death("limit", f"limits.cpu_time: {limits.cpu_time_s:g}s of processor time are used up")
    if number == signal.SIGKILL:
        return Death("signal", "SIGKILL, by itself or from outside, as the kernel does when memory runs out")
    return Death("signal", f"{name}: the worker crashed")
