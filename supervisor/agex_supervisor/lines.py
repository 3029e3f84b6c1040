"""All on which a worker can be heard: its channel, its two streams, what its filter refuses, and the news of its end."""

from __future__ import annotations

import os
import select
import time

from agex_protocol.errors import ProtocolError
from agex_protocol.plan import LockdownPlan
from agex_protocol.spin import Spin
from agex_supervisor.death import by_syscall
from agex_supervisor.listener import Listener, SyscallDenial
from agex_supervisor.lookout import Lookout
from agex_supervisor.output import Output
from agex_supervisor.process import Process
from agex_supervisor.wire import Wire
from agex_supervisor.zygote import Born


class Lines:
    """Owns every descriptor but the pidfd. For the one thread that has the worker's turn."""

    def __init__(self, born: Born, plan: LockdownPlan, process: Process) -> None:
        self.wire = Wire(born.channel)
        self.stdout = Output(born.stdout, plan.limits.output_bytes)
        self.stderr = Output(born.stderr, plan.limits.output_bytes)
        self.listener: Listener | None = None
        self._process = process
        self._learn = plan.learn
        self._lookout = Lookout()
        self._spin = Spin()

    def listen(self) -> None:
        """Have the listener whose descriptor came along. ProtocolError if none did."""
        descriptor = self.wire.take_descriptor()
        if descriptor < 0:
            raise ProtocolError("Notifying came without its descriptor")
        try:
            self.listener = Listener(descriptor, own_pid=self._process.inner_pid(), learn=self._learn)
        except BaseException:
            os.close(descriptor)
            raise

    def wait(self, until: float, *, soon: bool = False) -> bool:
        """Wait for anything to happen, and take in what came, at most until time.monotonic() == until. Whether it is the end.

        soon: a message is expected at any moment. ProtocolError for what cannot be the rest of a stream.
        """
        if soon and not self.wire.unsent and self._spin.sees(self.wire.read):
            return self.wire.ended
        wire = self.wire.fileno()
        listening = -1 if self.listener is None else self.listener.descriptor
        others = (self._process.pidfd, listening, self.stdout.watched, self.stderr.watched)
        writing = wire if self.wire.unsent else -1
        happened = self._lookout.wait((wire, *others), writing, max(0.0, until - time.monotonic()))
        self._spin.woke()
        events = happened.pop(wire, 0)
        if happened:
            self._hear_others(happened, listening)
        if events & select.POLLOUT:
            self.wire.write()
        if events & ~select.POLLOUT:
            self.wire.read()
            return self.wire.ended
        return self._process.pidfd in happened

    def drain(self) -> None:
        """Take in what was printed."""
        self.stdout.drain()
        self.stderr.drain()

    def take_output(self) -> tuple[str, str]:
        """What was printed to stdout and stderr since this was last asked."""
        return self.stdout.take(), self.stderr.take()

    def take_refused(self) -> tuple[SyscallDenial, ...]:
        """The system calls that its filter refused since this was last asked."""
        return self.listener.take() if self.listener is not None else ()

    def close(self) -> None:
        """Drain it a last time, and let go of everything."""
        for output in (self.stdout, self.stderr):
            output.drain()
            output.close()
        self.wire.close()
        if self.listener is not None:
            self.listener.close()

    def _hear_others(self, happened: dict[int, int], listening: int) -> None:
        for output in (self.stdout, self.stderr):
            if output.descriptor in happened:
                output.drain()
        if self.listener is not None and listening in happened:
            self.listener.serve(lambda name: self._process.kill(by_syscall(name)))
