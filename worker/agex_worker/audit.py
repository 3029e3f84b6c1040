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
from collections.abc import Callable
from errno import EACCES, EPERM
from types import FrameType
from typing import Any, NoReturn

from agex_protocol.plan import LockdownPlan
from agex_worker import denials, outside
from agex_worker.granted import Granted

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
        granted = Granted(plan, places)
        _handlers.update(Files(plan, granted).handlers())
        outside.install(plan, granted)
    if plan.seccomp or plan.seccomp_told:
        _handlers.update(calls(plan))
    sys.addaudithook(_hear)


def _hear(event: str, arguments: Arguments) -> None:
    handler = _handlers.get(event)
    if handler is not None:
        handler(arguments)


class Files:
    """Refuses what is done by path outside of what the plan grants.

    A path relative to a descriptor is left to the kernel: no event tells what the descriptor is of, and some not even
    that there is one.
    """

    def __init__(self, plan: LockdownPlan, granted: Granted) -> None:
        self._policy = plan.policy
        self._layer = "landlock" if plan.landlock_abi else "namespaces"
        self._granted = granted

    def handlers(self) -> dict[str, Handler]:
        """By event. Where a call names two paths, both have to be granted."""

        def reads(operation: str) -> Handler:
            return lambda arguments: self._read(arguments[0], operation)

        def changes(operation: str, *named: tuple[int, int]) -> Handler:
            """named: where among the arguments a path stands, and the descriptor that it may be relative to."""

            def handler(arguments: Arguments) -> None:
                for path, directory in named:
                    self._change(arguments[path], operation, relative=arguments[directory] == -1, follow=False)

            return handler

        def metadata(operation: str, paths: int = 1) -> Handler:
            def handler(arguments: Arguments) -> None:
                for path in arguments[:paths]:
                    self._change_metadata(path, operation)

            return handler

        return {
            "open": self._open,
            "os.listdir": reads("list"),
            "os.scandir": reads("list"),
            "os.chdir": reads("list"),
            "ctypes.dlopen": lambda arguments: self._read(arguments[0], "read", relative=False),
            "sqlite3.connect": lambda arguments: self._read(_database(arguments[0]), "read"),
            "os.mkdir": changes("mkdir", (0, 2)),
            "os.rename": changes("rename", (0, 2), (1, 3)),
            "os.remove": changes("remove", (0, 1)),
            "os.rmdir": changes("remove", (0, 1)),
            "os.symlink": changes("symlink", (1, 2)),
            "os.truncate": lambda arguments: self._change(arguments[0], "truncate"),
            "os.link": metadata("link", 2),
            "os.chmod": metadata("chmod"),
            "os.chown": metadata("chown"),
            "os.utime": metadata("utime"),
            "os.setxattr": metadata("setxattr"),
        }

    def _open(self, arguments: Arguments) -> None:
        path, mode, flags = arguments
        flags = flags if isinstance(flags, int) else 0
        relative = mode is not None  # os.open has none, and may have been given a descriptor
        follow = not flags & os.O_NOFOLLOW
        if flags & _CHANGES:
            self._change(path, "write", relative=relative, follow=follow)
        else:
            self._read(path, "read", relative=relative, follow=follow)

    def _read(self, path: object, operation: str, *, relative: bool = True, follow: bool = True) -> None:
        beyond = self._granted.beyond(path, relative=relative, follow=follow)
        if beyond is not None and not _is_search(beyond):
            self._refuse(path, beyond, operation, self._layer, "[filesystem] read would allow it")

    def _change(self, path: object, operation: str, *, relative: bool = True, follow: bool = True) -> None:
        beyond = self._granted.beyond(path, writing=True, relative=relative, follow=follow)
        if beyond is not None and not _is_search(beyond):
            self._refuse(path, beyond, operation, self._layer, "[filesystem] write would allow it")

    def _change_metadata(self, path: object, operation: str) -> None:
        """Granting the path would not help: seccomp refuses these for every file."""
        beyond = self._granted.beyond(path, writing=True, relative=False)
        if beyond is not None:
            self._refuse(path, beyond, operation, "seccomp", "nothing in a policy allows it")

    def _refuse(self, path: Any, text: str, operation: str, layer: str, remedy: str) -> NoReturn:
        denials.note(layer, operation, text)
        if os.path.abspath(os.fsdecode(path)) != text:
            path = text  # a link led there, and who asked may not know of it
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


def _database(name: object) -> object:
    """The file of a database that is named by a URI."""
    if not isinstance(name, str) or not name.startswith("file:/"):
        return name
    path = name.removeprefix("file:").partition("?")[0]
    return path.removeprefix("//") if path.startswith("///") else path


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
