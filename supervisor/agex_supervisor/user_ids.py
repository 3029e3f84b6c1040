"""Which user ids of this machine the workers of a root supervisor get: unprivileged ones, that nothing else uses."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from agex_protocol.plan import LockdownPlan
from agex_protocol.zygote_messages import UIDS

# Above the ids that systemd hands out to containers, and UIDS of them for each process id: two supervisors of one machine share
# them only if they see themselves in different process namespaces, or if their ids differ by a multiple of 2^20. The last of
# them is below 2^31.
_FIRST = 1_879_048_192
_MOST_PROCESSES = 1 << 20

# What every worker may write to, whoever it is.
_ANYBODYS = ("/dev/null",)


class Users:
    """Which of those ids are free, for all zygotes of this process: two policies' workers share them as one policy's do.

    Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._renew()
        # A forked child has ids of its own, by its own process id, and no workers.
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._free = list(range(1, UIDS))  # the first is the zygotes'

    def __contains__(self, user: int) -> bool:
        """Whether it is taken."""
        return 0 < user < UIDS and user not in self._free

    def take(self) -> int:
        """One that nobody has until it is given back; 0 where all are taken."""
        with self._lock:
            return self._free.pop(0) if self._free else 0

    def give_back(self, user: int) -> None:
        with self._lock:
            self._free.append(user)


USERS = Users()


def user_ids(plan: LockdownPlan) -> int:
    """The first of UIDS ids for a zygote of this plan; 0 where its workers have to stay what the supervisor is.

    Only root can give others. A worker that is to write into folders of the caller's must be their owner.
    """
    if os.geteuid() != 0 or plan.namespaces == "off" or set(plan.write) - set(_ANYBODYS):
        return 0
    first = _FIRST + os.getpid() % _MOST_PROCESSES * UIDS
    return first if _exist(first) else 0


def _exist(first: int) -> bool:
    """Whether this process's own user namespace has these ids; that of a container may have fewer."""
    for kind in ("uid", "gid"):
        ranges = [tuple(map(int, line.split())) for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()]
        if not any(inside <= first and first + UIDS <= inside + count for inside, _, count in ranges):
            return False
    return True
