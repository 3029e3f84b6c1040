"""A worker's life, top to bottom: take its place, lock down, prove it, say READY, serve one session, be killed."""

from __future__ import annotations

import os
import random
import sys
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from agex_protocol import messages as m
from agex_protocol.plan import LockdownPlan
from agex_worker import stdio
from agex_worker.channel import Channel
from agex_worker.lockdown import probes
from agex_worker.lockdown.apply import Preparation, lock_down
from agex_worker.lockdown.errors import LayerFailed
from agex_worker.session import Session


@dataclass(frozen=True, slots=True)
class Origin:
    """What a worker has from its zygote.

    preparation: what it made for all workers. parent: the zygote's process id as the worker sees it, 0 from a process
    namespace of its own. limits: on top of the address space that the zygote has. files: the worker's own file system, or
    -1. uid: which of the zygote's user ids it takes, or None.
    """

    preparation: Preparation
    parent: int
    limits: dict[int, int]
    files: int = -1
    uid: int | None = None


def live(plan: LockdownPlan, slot: str, descriptors: list[int], origin: Origin) -> NoReturn:
    """Never returns: the forked child's whole existence.

    descriptors: channel, stdout, stderr. slot: where its files lie, unless it has a file system of its own.
    """
    status = 1
    try:
        channel_fd, stdout, stderr = descriptors
        _own_stdin()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        if origin.files >= 0:
            slot = m.SLOT
        else:
            os.chdir(slot)
        _point_home(slot)
        channel = Channel(channel_fd)
        try:
            layers = lock_down(
                plan,
                origin.preparation,
                slot=slot,
                zygote_pid=origin.parent,
                keep={channel_fd},
                limits=origin.limits,
                files=origin.files,
                uid=origin.uid,
                hand_over=lambda listener: channel.send(m.Notifying(), [listener]),
            )
            results = probes.run(plan, slot=slot, zygote_pid=origin.parent, chosen=origin.preparation.targets)
        except LayerFailed as error:
            channel.send(m.Refused(error.layer, str(error)))
            os._exit(status)
        _reseed()
        stdio.restore()
        channel.send(m.Ready(m.PROTOCOL_VERSION, layers, results))
        Session(plan, channel).serve()
        status = 0
    except EOFError:
        status = 0  # the supervisor let go of the channel: it will kill us, and we do not mind
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _own_stdin() -> None:
    # The zygote's is one open file for all that inherit it: flags that one worker sets would be there for the next.
    own = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(own, 0)
    os.close(own)


def _point_home(slot: str) -> None:
    # Libraries that keep a cache or a configuration look here; nowhere else can be written.
    for name in ("HOME", "TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        os.environ[name] = slot


def _reseed() -> None:
    # Every worker is forked from one image: without this all would draw the same numbers.
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        cast(Any, numpy).random.seed()
