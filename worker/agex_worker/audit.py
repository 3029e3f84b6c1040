"""Python tells what it is about to do, and what the kernel is going to refuse is refused here first: with a reason.

The kernel answers with a bare number, in namespaces even with "no such file", whatever it was that it did not grant. An
audit hook sees paths and addresses before that, so the code gets a PermissionError that names the policy and the key, and
the caller gets a record. It is no wall: calls by libc pass it by, and code of ordinary Python can take it away.

Nothing is refused here for a layer that the plan leaves off, or what the layer lets through would look refused.
"""

from __future__ import annotations

import inspect
import os
import socket
import sys
from collections.abc import Callable, Iterable
from errno import EACCES, EPERM
from os.path import islink, realpath
from types import FrameType
from typing import Any, NoReturn

from agex_protocol.plan import LockdownPlan
from agex_worker import denials

Arguments = tuple[Any, ...]
Handler = Callable[[Arguments], None]

# What is done with an event; filled once, by install().
_handlers: dict[str, Handler] = {}

_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Python looks for modules where there may be none, and takes no for an answer.
_LOOKING_FOR_MODULES = ("<frozen importlib", "<frozen zipimport")


def install(plan: LockdownPlan, *places: str) -> None:
    """Listen from now on, for good. `places` are the directories that are the worker's own."""
    if plan.landlock_abi or plan.namespaces != "off":
        _handlers.update(Files(plan, places).handlers())
    if plan.seccomp or plan.seccomp_told:
        _handlers.update(calls(plan))
    sys.addaudithook(_hear)


def _hear(event: str, arguments: Arguments) -> None:
    handler = _handlers.get(event)
    if handler is not None:
        handler(arguments)


class Files:
    """Refuses what is done by path outside of what the plan grants.

    A path relative to a descriptor is left to the kernel: the event does not tell the descriptor.
    """

    def __init__(self, plan: LockdownPlan, places: Iterable[str]) -> None:
        self._policy = plan.policy
        self._layer = "landlock" if plan.landlock_abi else "namespaces"
        writable = {each for path in (*plan.write, *places) for each in (path, realpath(path))}
        self._writable = tuple(path.rstrip("/") + "/" for path in sorted(writable))
        self._readable = self._writable + tuple(path.rstrip("/") + "/" for path in plan.read)

    def handlers(self) -> dict[str, Handler]:
        """By event. Where a call names two paths, both have to be granted."""

        def reads(operation: str) -> Handler:
            return lambda arguments: self._read(arguments[0], operation)

        def changes(operation: str, paths: int = 1, layer: str = self._layer) -> Handler:
            def handler(arguments: Arguments) -> None:
                for path in arguments[:paths]:
                    self._change(path, operation, layer)

            return handler

        return {
            "open": self._open,
            "os.listdir": reads("list"),
            "os.scandir": reads("list"),
            "os.chdir": reads("list"),
            "ctypes.dlopen": reads("read"),
            "sqlite3.connect": reads("read"),
            "os.mkdir": changes("mkdir"),
            "os.rename": changes("rename", 2),
            "os.remove": changes("remove"),
            "os.rmdir": changes("remove"),
            "os.truncate": changes("truncate"),
            "os.symlink": lambda arguments: self._change(arguments[1], "symlink", self._layer),
            # Granting the path would not help: seccomp refuses these for every file.
            "os.link": changes("link", 2, "seccomp"),
            "os.chmod": changes("chmod", 1, "seccomp"),
            "os.chown": changes("chown", 1, "seccomp"),
            "os.utime": changes("utime", 1, "seccomp"),
            "os.setxattr": changes("setxattr", 1, "seccomp"),
        }

    def _open(self, arguments: Arguments) -> None:
        path, mode, flags = arguments
        if mode is not None and isinstance(path, str | bytes | os.PathLike) and islink(path):
            path = realpath(path)  # in namespaces the kernel would say that the link itself is not there
        if isinstance(flags, int) and flags & _CHANGES:
            self._change(path, "write", self._layer, relative=mode is not None)
        else:
            self._read(path, "read", relative=mode is not None)

    def _read(self, path: object, operation: str, *, relative: bool = False) -> None:
        text = _absolute(path, relative)
        if text is None or _is_within(text, self._readable) or _is_search(text):
            return
        self._refuse(path, text, operation, self._layer, "[filesystem] read would allow it")

    def _change(self, path: object, operation: str, layer: str, *, relative: bool = False) -> None:
        text = _absolute(path, relative)
        if text is None or _is_within(text, self._writable) or _is_search(text):
            return
        remedy = "[filesystem] write would allow it" if layer == self._layer else "nothing in a policy allows it"
        self._refuse(path, text, operation, layer, remedy)

    def _refuse(self, path: object, text: str, operation: str, layer: str, remedy: str) -> NoReturn:
        denials.note(layer, operation, text)
        raise PermissionError(EACCES, f"{operation} refused: policy {self._policy!r} does not grant it; {remedy}", path)


def calls(plan: LockdownPlan) -> dict[str, Handler]:
    """Refuses what the system-call filter refuses whatever its arguments: programs, processes, sockets, other processes."""

    def refuses(operation: str, text: str, target: Callable[[Arguments], str]) -> Handler:
        def handler(arguments: Arguments) -> None:
            _refuse_call(operation, text, target(arguments))

        return handler

    fork = refuses("fork", "a worker is one process and starts no other; use threads", lambda arguments: "")
    program = "programs are not run in a worker; let a function of the host run it"
    execute = refuses("exec", program, lambda arguments: _text(arguments[0]))
    network = f"policy {plan.policy!r} does not grant it; [network] allow would"
    resolve = refuses("resolve", network, _address)
    return {
        "os.fork": fork,
        "os.forkpty": fork,
        "os.exec": execute,
        "os.posix_spawn": execute,
        "os.system": execute,
        "subprocess.Popen": refuses("exec", program, _program),
        "os.kill": _kill,
        "os.killpg": refuses("kill", "a worker signals nobody but itself", lambda arguments: f"group {arguments[0]}"),
        "socket.__new__": lambda arguments: _new_socket(arguments, network),
        "socket.getaddrinfo": lambda arguments: None if arguments[0] is None else resolve(arguments),
        "socket.gethostbyname": resolve,
        "socket.gethostbyaddr": resolve,
        "socket.connect": refuses("connect", network, lambda arguments: _address(arguments[1:])),
        "socket.bind": refuses("bind", "a worker does not listen", lambda arguments: _address(arguments[1:])),
    }


def _kill(arguments: Arguments) -> None:
    if arguments[0] != os.getpid():
        _refuse_call("kill", "a worker signals nobody but itself", str(arguments[0]))


def _new_socket(arguments: Arguments, network: str) -> None:
    _, family, kind, _ = arguments
    caller = _caller()
    # One made of a descriptor that is there asks the kernel for nothing.
    if caller is not None and caller.f_code is _SOCKET_INIT and caller.f_locals.get("fileno") is not None:
        return
    internet, kind = family in (socket.AF_INET, socket.AF_INET6, -1), kind if kind == -1 else kind & _SOCKET_KIND
    if internet and kind in (socket.SOCK_STREAM, -1):
        _refuse_call("socket", network, "")
    name = "datagram-socket" if internet and kind == socket.SOCK_DGRAM else "raw-socket"
    name = "unix-socket" if family == socket.AF_UNIX else name
    _refuse_call(name, "sockets of this kind are not made in a worker", "")


# By its code object the frame of a call is known.
_SOCKET_INIT = socket.socket.__init__.__code__
# A socket's type without SOCK_NONBLOCK and SOCK_CLOEXEC.
_SOCKET_KIND = 0xF


def _refuse_call(operation: str, text: str, target: str) -> NoReturn:
    denials.note("seccomp", operation, target)
    raise PermissionError(EPERM, f"{operation} refused: {text}", *([target] if target else []))


def _absolute(path: object, relative: bool) -> str | None:
    """The path as text from the root on; None for a descriptor, and for what only the kernel can tell."""
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str | bytes):
        return None
    text = os.fsdecode(path)
    if "\0" in text or not text:
        return None
    if text[0] == "/":
        return text
    if not relative or ".." not in text:
        return None
    try:
        return realpath(f"{os.getcwd()}/{text}")
    except OSError:
        return None  # the directory is gone


def _is_within(text: str, roots: tuple[str, ...]) -> bool:
    if "/." not in text and "//" not in text and f"{text}/".startswith(roots):
        return True
    return f"{realpath(text)}/".startswith(roots)


def _is_search(text: str) -> bool:
    caller = _caller()
    return text in sys.path or (caller is not None and caller.f_code.co_filename.startswith(_LOOKING_FOR_MODULES))


def _caller() -> FrameType | None:
    """The frame of whoever raised the event."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame


def _program(arguments: Arguments) -> str:
    executable, parameters = arguments[:2]
    if executable is None and isinstance(parameters, list | tuple) and parameters:
        executable = parameters[0]
    return _text(executable if executable is not None else parameters)


def _address(arguments: Arguments) -> str:
    """ "host:port" of (host, port, ...) or ((host, port), ...); a path or a name alone."""
    address = arguments[0] if isinstance(arguments[0], tuple) else arguments
    host, port = _text(address[0]), _text(address[1]) if len(address) > 1 else ""
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(value: object) -> str:
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsdecode(value)
    return str(value) if isinstance(value, int) else ""
