"""Let code out to one host and no other: a network grant, what it opens, and what stays shut.

The host is a small server of this program's own, so nothing leaves the machine:   python examples/network.py
"""

from __future__ import annotations

import contextlib
import http.server
import logging
import sys
import threading
from collections.abc import Iterator

import agex

FETCH = """
import urllib.request
with urllib.request.urlopen(url) as answer:
    text = answer.read().decode()
text
"""


class Prices(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"tea": 4.5}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet: the broker's log is what is shown."""


@contextlib.contextmanager
def price_server() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Prices)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    log = logging.getLogger("agex.network")
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler(sys.stdout))
    with price_server() as port:
        # A local address has to be granted as an address: no name may stand for one.
        policy = agex.Policy.load("default").extend(
            f'widen = ["network.allow"]\n[network]\nallow = ["127.0.0.1:{port}"]\n'
        )
        fetching = agex.Module("urllib.request", include=["urlopen"])
        with agex.Sandbox(policy=policy, modules=[fetching]) as sandbox:
            for url in (f"http://127.0.0.1:{port}/prices", "http://169.254.169.254/latest/meta-data"):
                outcome = sandbox.run(FETCH, {"url": url}, returns=str)
                print(f"{url}: {outcome.error.message if outcome.error else outcome.value}")
                for denial in outcome.denials:
                    print(f"  {denial}")


if __name__ == "__main__":
    main()
