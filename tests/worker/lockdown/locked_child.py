"""A zygote and one locked worker, for a test: reads a request on stdin, writes what became of it on stdout.

Run as a program, so that neither pytest nor its threads are ever restricted or forked.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import pickle
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import apply, rlimits
from agex_worker.lockdown.errors import LayerFailed


@dataclass(frozen=True)
class World:
    """What a function that runs in the worker is told."""

    plan: LockdownPlan
    slot: str
    outside: str  # a directory of the same user, with a file secret.txt, that the plan does not grant
    zygote_pid: int
    tcp_port: int  # the zygote listens here,
    abstract: str  # and here


def main() -> None:
    request = json.load(sys.stdin)
    plan = pickle.loads(base64.b64decode(request["plan"]))
    for name in request["missing"]:
        sys.modules[name] = None  # type: ignore[assignment]
    for name in request["preload"]:
        importlib.import_module(name)
    namespace: dict[str, Any] = {}
    exec(request["source"], namespace)

    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        abstract = f"\0agex-test-{os.getpid()}"
        unix.bind(abstract)
        unix.listen()
        statm = rlimits.open_statm(os.open("/proc", os.O_PATH))
        world = World(plan, request["slot"], request["outside"], os.getpid(), tcp.getsockname()[1], abstract)
        print(json.dumps(_answer(request, world, namespace[request["name"]], statm)))


def _answer(request: dict[str, Any], world: World, function: Any, statm: int) -> dict[str, Any]:
    zygote_layers: apply.Layers = ()
    try:
        prepared = apply.prepare(world.plan, os.path.dirname(world.slot))
        if request["confine"]:
            zygote_layers = apply.confine_zygote(world.plan, os.path.dirname(world.slot))
    except LayerFailed as failure:
        return {"failed": [failure.layer, failure.message]}
    mapped = rlimits.mapped_bytes(statm)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _worker(request, world, prepared, function, mapped, writing)
    os.close(writing)
    if request["orphan"]:
        os.read(reading, 1)  # the worker is locked
        os.kill(os.getpid(), signal.SIGKILL)
    with os.fdopen(reading, "rb") as stream:
        report = stream.read()
    _, status = os.waitpid(pid, 0)
    answer = {"zygote_layers": zygote_layers, "status": os.waitstatus_to_exitcode(status)}
    return answer | (json.loads(report) if report else {})


def _worker(
    request: dict[str, Any], world: World, prepared: apply.Preparation, function: Any, mapped: int, channel: int
) -> None:
    report: dict[str, Any] = {}
    try:
        os.chdir(world.slot)
        report["layers"] = apply.lock_down(
            world.plan,
            prepared,
            slot=world.slot,
            zygote_pid=request["zygote_pid"] or world.zygote_pid,
            keep={channel},
            limits=rlimits.limits(world.plan.limits, mapped),
        )
        if request["orphan"]:
            os.write(channel, b"x")
        report["value"] = function(world)
    except LayerFailed as failure:
        report["failed"] = [failure.layer, failure.message]
    except OSError as error:
        report["refused"] = error.errno
    except BaseException:  # the test wants to see whatever it was
        report["crashed"] = traceback.format_exc()
    os.write(channel, json.dumps(report).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
