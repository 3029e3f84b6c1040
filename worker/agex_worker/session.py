"""One task session in a worker: bind its names once, then run actions one after the other, each as a fresh script."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain, starmap
from pathlib import Path
from typing import Any, TypeVar

from agex_protocol import messages as m
from agex_protocol.buffers import Inbox, enclose
from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable
from agex_protocol.host_handle import MAX_HANDLES
from agex_protocol.operations import perform
from agex_protocol.placing import MAX_PLACED, MIN_BYTES, PIECE_BYTES, Parted, Places, total_bytes
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_protocol.shapes import Shape, shape_from_bytes
from agex_worker import audit, denials, harmless, host_function, own_path, sockets, stdio, turn
from agex_worker.arenas import Arenas
from agex_worker.channel import Channel
from agex_worker.holding import HOLDING, Tentative
from agex_worker.host_objects import HostNames, host_names
from agex_worker.outline import outline
from agex_worker.printing import bounded_print
from agex_worker.remembering import Remembering
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.tracebacks import error_text

# What comes in was made by the supervisor, which knows its own limits; this only bounds a mistake of ours.
MAX_INPUT_BYTES = 16 << 30

Asked = TypeVar("Asked", m.Run, m.Use, m.Outline, m.OnWorkspace)
Value = tuple[bytes, list[Any]]


class Session:
    """Serves the supervisor until it closes the channel or kills this process."""

    def __init__(self, plan: LockdownPlan, channel: Channel) -> None:
        self._plan = plan
        self._channel = channel
        self._inbox = Inbox(MAX_INPUT_BYTES)
        self._arenas = Arenas(plan.limits.memory_bytes)
        self._talk = threading.Lock()
        self._calls = 0
        self._action = b""
        self._sandbox = SandboxPlan()
        self._workspace = ""
        self._names: dict[str, object] = {}
        self._host = HostNames()
        self._commands: tuple[m.HostCommand, ...] = ()
        self._commanding: dict[str, Callable[..., Any]] = {}
        self._gone: deque[str] = deque()  # objects of the supervisor that nothing here holds any more
        self._cache = Remembering(self._ask_cache)
        self._in_script = False

    def serve(self) -> None:
        while True:
            message = self._channel.receive(m.ToWorker)
            match message:
                case m.Begin():
                    self._channel.send(m.Begun(self._begin(message)))
                case m.Buffer():
                    self._inbox.take(message)
                case m.Run():
                    self._act(message, self._execute)
                case m.Use():
                    self._act(message, self._use)
                case m.Shell() | m.Write() | m.Edit():
                    self._act(message, self._tend)
                case m.Outline():
                    self._act(message, self._outline)
                case m.Drop():
                    HOLDING.drop(message.handles)
                case _:
                    raise RuntimeError(f"{type(message).__name__} came out of turn")

    def _begin(self, begin: m.Begin) -> str:
        places = (os.environ["TMPDIR"], begin.workspace)
        if self._plan.explain:
            audit.install(self._plan, *places)
        harmless.soften(*places)
        if self._plan.network:
            sockets.install(self._dial)
        os.chdir(begin.workspace)
        self._workspace = begin.workspace
        self._sandbox = begin.sandbox
        if begin.sandbox.mode == "full":
            own_path.add(begin.workspace)
        try:
            self._names = dict(pickle.loads(begin.bindings))
            self._host = host_names(begin.functions, begin.objects, self._call, self._gone.append)
            if begin.sandbox.mode == "full":
                self._host.install(grant.name for grant in begin.sandbox.modules)
        except Exception as error:
            return error_text(error).message
        self._names |= self._host.names
        self._commands = begin.commands
        self._commanding = {each.name: host_function.proxy(each, self._call) for each in begin.commanding}
        if begin.sandbox.mode == "full":
            own_path.share(self._names)
        return ""

    def _act(self, asked: Asked, execute: Callable[[Asked], turn.Ended]) -> None:
        self._action, self._calls, self._in_script = asked.action, 0, isinstance(asked, m.Run)
        stdio.restore()
        denials.take()  # what threads of an earlier action were refused since
        ended = [execute(asked)]
        stdio.flush()
        self._send_ending(asked, ended.pop())  # held by nobody else: its value may look at the inputs

    def _execute(self, run: m.Run) -> turn.Ended:
        shape = shape_from_bytes(run.returns)
        try:
            inputs: dict[str, object] = self._loaded(run.inputs)
        except BaseException as error:  # what was sealed runs code where it is opened
            return turn.raised(error)
        self._read_anew()
        return turn.execute(
            run.code,
            self._sandbox,
            {"print": bounded_print(print), **self._names} if run.task else self._names,
            inputs,
            task=run.task,
            filename=turn.script_name(run.number, task=run.task),
            files=WorkspaceFiles(Path.cwd(), self._sandbox.read_only),
            accept=lambda value: self._encoded(value, shape),
            keep=shape.kind == "any",
            members=self._host.modules,
            cache=self._cache,
            view=self._show,
        )

    def _read_anew(self) -> None:
        """Have each script import the files of the workspace as they are by then."""
        if self._sandbox.mode == "full":
            own_path.forget(self._workspace)

    def _outline(self, asked: m.Outline) -> turn.Ended:
        try:
            text = outline(WorkspaceFiles(Path.cwd()))
            return turn.Ended("finished", self._encoded(text, shape_from_bytes(asked.returns)))
        except Exception as error:
            return turn.raised(error)

    def _use(self, use: m.Use) -> turn.Ended:
        shape = shape_from_bytes(use.returns)
        try:
            args, kwargs = self._loaded(use.arguments)
            value = perform(HOLDING.get(use.handle), use.operation, use.name, args, kwargs)
            return turn.Ended("finished", self._encoded(value, shape))
        except BaseException as error:
            return turn.raised(error)

    def _tend(self, asked: m.OnWorkspace) -> turn.Ended:
        # Here, because most workers are never asked, and the terminal takes as long to load as all the rest.
        from agex_worker.terminal import Terminal

        terminal = Terminal(
            self._sandbox, self._names, self._host.modules, self._commands, self._commanding, self._read_anew
        )
        return terminal.tend(asked, Path.cwd(), stdio.write_out, stdio.write_err, redirects=True)

    def _encoded(self, value: object, shape: Shape) -> object:
        held = Tentative(HOLDING)
        try:
            head, buffers = encode(value, shape, max_bytes=self._plan.limits.result_bytes, keep=held)
        except NotPortable as error:
            held.drop()
            raise turn.ContractError(str(error)) from None
        if too_large := self._too_large([(head, buffers)]):
            raise turn.ContractError(f"result: {too_large}")
        return head, buffers

    def _too_large(self, values: Iterable[Value]) -> str:
        """Why these cannot go together, or "" where they can: the supervisor ends a worker that sends more."""
        size, most = sum(starmap(total_bytes, values)), self._plan.limits.result_bytes
        return f"{size} bytes altogether, and results.max_size of the policy is {most}" if size > most else ""

    def _send_ending(self, asked: m.Run | m.Use | m.Outline | m.OnWorkspace, ended: turn.Ended) -> None:
        # A thread of agent code that still waits for a host function gets its answer first: the channel is read by one.
        self._note_limit(ended.limit)
        with self._talk:
            self._give_back()
            self._action = b""
            for refusal in denials.take():
                self._channel.send(m.Denied(asked.action, *refusal))
            value = m.Encoded(b"")
            if ended.kind in ("finished", "succeeded") and ended.value is not None:
                (value,) = self._sent(asked.action, [ended.value])
                ended = replace(ended, value=None)  # it may look at the inputs
            self._tell_dropped(asked.action, all_garbage=True)
            self._channel.send(_ending(asked.action, ended, value))

    def _note_limit(self, limit: str) -> None:
        if limit == "disk":
            if full := denials.disk_limit(self._workspace, self._plan.limits.workspace_size_bytes):
                denials.note("namespaces", full)
        elif limit:
            denials.note("rlimits", limit)

    def _call(self, name: str, arguments: dict[str, Any], shapes: dict[str, Shape]) -> object:
        """Ask the supervisor to run a host function; called from agent code, on any of its threads."""
        encoded = host_function.encode_arguments(arguments, shapes, max_bytes=self._plan.limits.result_bytes)
        values = list(encoded.values())
        if too_large := self._too_large(values):
            raise TypeError(f"{name}(): its arguments have {too_large}")
        with self._talk:
            if not self._action:
                raise RuntimeError(f"{name}() was called when its action was over: host functions run within one only")
            stdio.flush()
            self._give_back()
            self._tell_dropped(self._action)
            sent = tuple(map(m.Argument, encoded, self._sent(self._action, values)))
            self._calls += 1
            self._channel.send(m.Call(self._action, self._calls, name, sent))
            while not isinstance(answer := self._channel.receive(m.ToWorker, soon=True), m.Answer):
                if isinstance(answer, m.Drop):
                    HOLDING.drop(answer.handles)
                else:
                    self._inbox.take(answer)
            result = self._loaded(answer.result)
        if answer.error_type:
            raise host_function.error(answer.error_type, answer.error)
        return result

    def _ask_cache(self, message: Callable[[bytes, int, list[m.Encoded]], m.OfCache], values: list[Value]) -> object:
        """Ask for something of the session's cache; called from agent code, on any of its threads."""
        if too_large := self._too_large(values):
            raise ValueError(f"the cache cannot keep this: {too_large}")
        with self._talk:
            if not self._action or not self._in_script:
                raise RuntimeError("the cache is open while a script runs, and this one is over")
            self._give_back()
            self._tell_dropped(self._action)
            sent = self._sent(self._action, values)
            self._calls += 1
            self._channel.send(message(self._action, self._calls, sent))
            while not isinstance(answer := self._channel.receive(m.ToWorker, soon=True), m.Answer):
                self._inbox.take(answer)
            ((head, buffers),) = self._inbox.open(answer.result, fetch=self._fetched)
        if answer.error_type:
            raise host_function.error(answer.error_type, answer.error)
        # Only now, for what is opened may be code of the agent's own that asks for something else.
        return self._host.load(head, buffers)

    def _show(self, image: bytes) -> None:
        with self._talk:
            if not self._action or not self._in_script:
                raise RuntimeError("view_image() shows images while a script runs, and this one is over")
            (value,) = self._sent(self._action, [(b"-", [image])])
            self._channel.send(m.Viewed(self._action, value))

    def _give_back(self) -> None:
        while self._gone:
            few = [self._gone.popleft() for _ in range(min(len(self._gone), MAX_HANDLES))]
            self._channel.send(m.Returned(self._action, tuple(few)))

    def _loaded(self, value: m.Encoded) -> Any:
        """A value that the supervisor sent, or placed in the arena whose descriptor came along."""
        ((head, buffers),) = self._inbox.open(value, fetch=self._fetched)
        return self._host.load(head, buffers)

    def _fetched(self, places: Places) -> list[memoryview]:
        return self._arenas.fetched(next(iter(self._channel.take_descriptors()), -1), places)

    def _sent(self, action: bytes, values: list[Value]) -> list[m.Encoded]:
        """Send the buffers of these values ahead, or write them where the supervisor makes room, if they are large."""
        parts = self._placed(action, values) if sum(starmap(total_bytes, values)) >= MIN_BYTES else None
        encoded: list[m.Encoded] = []
        for place, (head, buffers) in enumerate(values):
            if parts is None:
                first, value = enclose(action, head, buffers)
            else:
                first, value = enclose(action, b"", parts[place].sent)[0], parts[place].encoded
            for buffer in first:
                self._channel.send(buffer)
            encoded.append(value)
        return encoded

    def _placed(self, action: bytes, values: list[Value]) -> list[Parted] | None:
        """The values, as far as possible in an arena; None where there is no room, here or there."""
        parts: list[Parted] = []
        end, left = 0, MAX_PLACED
        for head, buffers in values:
            parts.append(Parted(head, buffers, start=end, room=left))
            end, left = max(end, parts[-1].end), left - len(parts[-1].places)
        memory = self._room(action, end)
        if memory is None:
            return None
        told = 0
        for written in chain.from_iterable(part.write(memory) for part in parts):
            if written - told >= PIECE_BYTES:
                self._channel.send(m.Filled(action, written))
                told = written
        self._arenas.written()
        return parts

    def _room(self, action: bytes, size: int) -> memoryview | None:
        """Memory of that size that the supervisor reads what is placed from; None where there is none."""
        self._calls += 1
        self._channel.send(m.Room(action, self._calls, size))
        answer, descriptors = self._channel.receive_with_descriptors(m.ToWorker)
        if not answer.size_bytes or not descriptors:
            return None
        return self._arenas.room(answer.arena, descriptors[0], size, answer.size_bytes)

    def _tell_dropped(self, action: bytes, *, all_garbage: bool = False) -> None:
        if dropped := self._arenas.dropped(all_garbage=all_garbage):
            self._channel.send(m.Dropped(action, dropped))

    def _dial(self, host: str, port: int) -> tuple[m.Dialled, list[int]]:
        """Ask the supervisor for a connection; called from agent code, on any of its threads."""
        with self._talk:
            if not self._action:
                raise OSError(errno.ENETDOWN, "connections are made while an action runs, and this one is over")
            self._calls += 1
            self._channel.send(m.Dial(self._action, self._calls, host, port))
            answer: m.Dialled
            answer, descriptors = self._channel.receive_with_descriptors(m.ToWorker)
            return answer, descriptors


def _ending(action: bytes, ended: turn.Ended, value: m.Encoded) -> m.Ending:
    error = ended.error
    match ended.kind:
        case "finished":
            return m.Finished(action, value)
        case "succeeded":
            return m.Succeeded(action, value)
        case "gave_up":
            return m.GaveUp(action, ended.text)
        case "asked":
            return m.Asked(action, ended.text)
        case "kept":
            return m.Kept(action, error.type, ended.text, error.message)
        case "done":
            return m.Done(action, ended.text, ended.exit_code, ended.added, ended.modified)
        case _:
            return m.Raised(action, error.type, error.message, error.traceback)
