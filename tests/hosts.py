"""Hosts on the loopback for tests of the network: each is a real server in a thread, reached by its port."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import trustme


@dataclass
class Host:
    """`heard` is what each connection sent, in the order in which they ended."""

    port: int
    heard: list[bytes] = field(default_factory=list)


@contextlib.contextmanager
def echo() -> Iterator[Host]:
    """Sends back whatever comes, and hangs up when its peer does."""

    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            heard = b""
            with contextlib.suppress(OSError):
                while data := self.request.recv(1 << 16):
                    heard += data
                    self.request.sendall(data)
            host.heard.append(heard)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    with _serving(server):  # its end waits for the handlers
        host = Host(server.server_address[1])
        yield host


@contextlib.contextmanager
def web(*names: str) -> Iterator[Host]:
    """Answers GET with "hello " and the path. With names it speaks TLS, under a certificate for them."""

    class Hello(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"hello " + self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                super().handle()

        def log_message(self, *arguments: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    if names:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert(*names).configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with _serving(server):
        yield Host(server.server_port)


@contextlib.contextmanager
def silent() -> Iterator[socket.socket]:
    """Accepts connections, and leaves the rest to the test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@contextlib.contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
