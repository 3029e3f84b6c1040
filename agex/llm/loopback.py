"""The HTTP server behind `scripted_server`: Chat Completions from a script, whole or streamed, and faults on demand."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from pydantic import ValidationError

from agex.llm.fault import Fault
from agex.llm.received import ChatCall
from agex.llm.script import Script
from agex.llm.served import completion, stream_chunks
from agex.llm.tool_calls import Misread
from agex_supervisor.model import Reply

_GARBAGE = b"<html>the model has left the building</html>"


class LoopbackServer(ThreadingHTTPServer):
    """Serves one script. When it stops, its connections are cut and its threads have ended."""

    # Joined by server_close, so that no thread outlives the `with`.
    daemon_threads = False

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @contextmanager
    def running(self) -> Generator[None]:
        """Serve as long as the `with` lasts."""
        thread = threading.Thread(target=self.serve_forever, args=(0.01,), name="agex-scripted-server")
        thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            self.shutdown()
            thread.join()
            self._cut_connections()
            self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that went away is no error: most faults are made to drive it away.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def _cut_connections(self) -> None:
        """Wake the threads that wait for a client's next word."""
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the client was faster
                    continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def _server(self) -> LoopbackServer:
        return cast(LoopbackServer, self.server)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is not the place."""

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            return self._refuse(404, f"there is no {self.path}: this server has /v1/models and /v1/chat/completions")
        model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "agex"}
        self._answer(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            return self._refuse(404, f"there is no {self.path}: this server has /v1/models and /v1/chat/completions")
        try:
            call = ChatCall.model_validate_json(body)
            request = call.request()
        except (ValidationError, Misread) as error:
            return self._refuse(400, f"not a chat completions call: {error}")
        self._server.bodies.append(json.loads(body))
        try:
            reply = self._server.script.next(request)
        # Whatever a script raises is for its client to see.
        except BaseException as error:
            return self._refuse(400, f"{type(error).__name__}: {error}")
        match reply:
            case Fault():
                self._fail(reply, call)
            case Reply() if call.stream:
                self._stream(reply, call)
            case Reply():
                self._answer(200, completion(reply, call))

    def _stream(self, reply: Reply, call: ChatCall, *, only: int | None = None) -> None:
        """Server-sent events; `only` so many of them, and no end."""
        self._begin("text/event-stream", {"Transfer-Encoding": "chunked"})
        for chunk in stream_chunks(reply, call)[:only]:
            self._send_event(json.dumps(chunk))
        if only is None:
            self._send_event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")

    def _fail(self, fault: Fault, call: ChatCall) -> None:
        match fault.kind:
            case "status":
                headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
                self._refuse(fault.status or 500, fault.message or f"scripted fault: {fault}", headers)
            case "disconnect":
                self._break_off(call, fault.after_chunks)
            case "slow":
                self._break_off(call, 1, silent_s=fault.seconds)
            case "garbage" if call.stream:
                self._begin("text/event-stream", {"Transfer-Encoding": "chunked"})
                self._send_event(_GARBAGE.decode())
                self.wfile.write(b"0\r\n\r\n")
            case "garbage":
                self._begin("application/json", {"Content-Length": str(len(_GARBAGE))})
                self.wfile.write(_GARBAGE)

    def _break_off(self, call: ChatCall, after_chunks: int, *, silent_s: float = 0.0) -> None:
        reply = Reply("a reply that its reader will never see the end of " * (1 + after_chunks // 4))
        if call.stream:
            self._stream(reply, call, only=after_chunks)
        else:
            half = json.dumps(completion(reply, call)).encode()
            self._begin("application/json", {"Content-Length": str(2 * len(half))})
            self.wfile.write(half)
        self._server.stopping.wait(silent_s)

    def _refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        error = {"message": message, "type": "scripted", "param": None, "code": None}
        self._answer(status, {"error": error}, headers)

    def _answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self._begin("application/json", {"Content-Length": str(len(body)), **(headers or {})}, status)
        self.wfile.write(body)

    def _begin(self, content_type: str, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        # One answer a connection: an idle one would only have to be cut.
        for name, value in {"Content-Type": content_type, "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
