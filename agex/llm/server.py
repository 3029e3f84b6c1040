"""scripted_server: a script behind real HTTP, for what a Scripted object cannot show: the wire, and its faults."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from agex.llm.script import Script, ScriptItem


class ServerURL(str):
    """The `base_url` of a scripted server. `requests` are the JSON bodies that it was sent, retries among them."""

    requests: list[dict[str, Any]]


@contextmanager
def scripted_server(script: Iterable[ScriptItem]) -> Generator[ServerURL]:
    """An OpenAI-compatible server on loopback that gives the replies of `script`; yields its base_url.

    The script is that of Scripted; its callables are given the Request as it arrived. Every request takes one item, a
    retry too. Calls where tools are offered are answered by tool calls, others by fenced blocks; streams where asked.
    What stands in the script as an exception, and a script that is used up, is answered by status 400 with the reason.
    """
    # Here, for http.server takes 60 ms to import and few programs need it.
    from agex.llm.loopback import LoopbackServer

    server = LoopbackServer(Script(script))
    url = ServerURL(f"http://127.0.0.1:{server.server_port}/v1")
    url.requests = server.bodies
    with server.running():
        yield url
