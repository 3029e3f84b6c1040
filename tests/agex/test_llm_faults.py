"""The wire goes wrong: each fault ends as documented, and is retried or not. Real HTTP, counted at the server."""

import asyncio
import gzip
import json
import socket
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from agex.errors import LLMError
from agex.llm import Fault, OpenAI, Parameter, PythonAction, Reply, Request, Tool, UserMessage, scripted_server

REQUEST = Request(
    "s", (UserMessage("go"),), (Tool("python_action", "Run Python.", (Parameter("code", "string", "the code"),)),)
)
KEY = "sk-very-secret-0123456789"
GOOD = {"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}


def client(url: str, **options: object) -> OpenAI:
    return OpenAI("m", base_url=url, api_key=KEY, retry_wait_s=0.001, **options)  # type: ignore[arg-type]


@contextmanager
def answering(*answers: bytes) -> Generator[str]:
    """A server that gives these bytes, whatever it is asked, the last of them again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for number in range(100):
                connection, _ = listener.accept()
                with connection:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        piece = connection.recv(65536)
                        if not piece:
                            return
                        request += piece
                    head, _, body = request.partition(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    while len(body) < length:
                        body += connection.recv(65536)
                    try:
                        connection.sendall(answers[min(number, len(answers) - 1)])
                    except ConnectionError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            # A connection that says nothing ends the thread.
            socket.create_connection(listener.getsockname()).close()
            thread.join()


def http(body: bytes, content_type: str = "application/json", more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{more}"
    )
    return head.encode() + b"\r\n" + body


FAULTS = [
    Fault(status=429, retry_after=0.01),
    Fault(status=429),
    Fault(status=500),
    Fault(status=503),
    Fault("disconnect"),
    Fault("disconnect", after_chunks=2),
    Fault("slow", seconds=0.01),
    Fault("garbage"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_passing_fault_is_retried_and_the_task_never_hears_of_it(fault: Fault, stream: bool) -> None:
    with scripted_server([fault, fault, "answer()"]) as url:
        assert client(url, stream=stream).complete(REQUEST).actions == [PythonAction("answer()")]
        assert len(url.requests) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_lasting_fault_ends_as_llm_error_after_the_retries(fault: Fault, stream: bool) -> None:
    with scripted_server([fault] * 4) as url:
        with pytest.raises(LLMError) as raised:
            client(url, stream=stream, max_retries=2).complete(REQUEST)
        assert len(url.requests) == 3
    assert (raised.value.model, raised.value.retries) == ("m", 2)
    assert str(raised.value).startswith("m: the ")
    assert str(raised.value).endswith(" (retries: 2)")
    assert raised.value.__cause__ is not None


def test_the_async_twin_retries_alike() -> None:
    with scripted_server([Fault(status=500), Fault("garbage"), Fault("disconnect")]) as url:
        with pytest.raises(LLMError) as raised:
            asyncio.run(client(url).acomplete(REQUEST))
        assert len(url.requests) == 3
    assert raised.value.retries == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_retried(status: int) -> None:
    with scripted_server([Fault(status=status), "answer()"]) as url:
        with pytest.raises(LLMError) as raised:
            client(url).complete(REQUEST)
        assert len(url.requests) == 1
    assert raised.value.retries == 0


def test_a_refused_key_names_the_remedy() -> None:
    with scripted_server([Fault(status=401, message="who are you?")]) as url, pytest.raises(LLMError) as raised:
        client(url).complete(REQUEST)
    assert str(raised.value) == (
        "m: the server answered 401: who are you? (check api_key= or OPENAI_API_KEY, and that the key may use this model)"
    )


def test_a_server_that_echoes_the_key_does_not_get_it_into_an_error() -> None:
    for status in (400, 401, 429, 500):
        fault = Fault(status=status, message=f"bad key {KEY}")
        with scripted_server([fault]) as url, pytest.raises(LLMError) as raised:
            client(url, max_retries=0).complete(REQUEST)
        assert "bad key [key]" in str(raised.value)
        assert KEY not in "".join(traceback.format_exception(raised.value))


def test_what_a_server_says_is_bounded_and_harmless_to_a_terminal() -> None:
    fault = Fault(status=400, message="\x1b[2J\n" + "x" * 5000)
    with scripted_server([fault]) as url, pytest.raises(LLMError) as raised:
        client(url).complete(REQUEST)
    assert len(str(raised.value)) < 700
    assert str(raised.value).isprintable()
    assert r"\x1b[2J\n" in str(raised.value)


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_is_late_ends_as_llm_error(stream: bool) -> None:
    with scripted_server([Fault("slow", seconds=600)]) as url, pytest.raises(LLMError) as raised:
        client(url, stream=stream, timeout_s=0.3).complete(REQUEST)
    assert str(raised.value) == "m: no complete reply within 0.3 s"


def test_a_call_can_only_shorten_the_time() -> None:
    with scripted_server([Fault("slow", seconds=600), Fault("slow", seconds=600)]) as url:
        for own, asked in ((600.0, 0.3), (0.3, 600.0)):
            with pytest.raises(LLMError) as raised:
                client(url, timeout_s=own).complete(REQUEST, timeout_s=asked)
            assert str(raised.value) == "m: no complete reply within 0.3 s"


def test_a_wait_that_exceeds_the_time_is_not_begun() -> None:
    with scripted_server([Fault(status=429, retry_after=3600)]) as url:
        with pytest.raises(LLMError) as raised:
            client(url).complete(REQUEST)
        assert len(url.requests) == 1
    assert "waiting 3600 s more would exceed timeout_s" in str(raised.value)


def test_a_server_that_is_not_there_is_tried_again_and_then_named_a_failed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LLMError) as raised:
        client(f"http://127.0.0.1:{port}/v1").complete(REQUEST)
    assert str(raised.value).startswith("m: the connection failed: ")
    assert raised.value.retries == 2


def test_a_broken_stream_is_asked_for_again_from_its_start() -> None:
    heard: list[str] = []
    with scripted_server([Fault("disconnect", after_chunks=3), Reply("whole")]) as url:
        assert client(url).complete(REQUEST, on_token=heard.append).text == "whole"
    assert "".join(heard).endswith("whole")
    assert "".join(heard) != "whole"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"tool_calls": [{"function": {}}]}}]}',
        b'{"error": {"message": "overloaded"}}',
        b"[" * 200_000,
        b"\xff\xfe",
        b'{"choices": ' + b"9" * 5000 + b"}",
        json.dumps(GOOD).encode()[:-1],
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_completion_is_retried_and_then_an_llm_error(body: bytes) -> None:
    with answering(http(body)) as url, pytest.raises(LLMError) as raised:
        client(url).complete(REQUEST)
    assert str(raised.value).startswith("m: the server answered with what is no chat completion: ")
    assert raised.value.retries == 2


def test_a_good_answer_after_garbage_is_taken() -> None:
    with answering(http(b"<html>", "text/html"), http(json.dumps(GOOD).encode())) as url:
        assert client(url).complete(REQUEST) == Reply("fine")


@pytest.mark.parametrize(
    "events",
    [
        b"",
        b"data: [DONE]\n\n",
        b'data: {"choices": 5}\n\n',
        b"data: \xff\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"choices": [{"delta": {"content": "cut"}}]}\n\n',
        b'data: {"error": {"message": "overloaded"}}\n\n',
    ],
    ids=lambda events: repr(events[:40]),
)
def test_a_stream_that_is_no_reply_is_retried_and_then_an_llm_error(events: bytes) -> None:
    with answering(http(events, "text/event-stream")) as url, pytest.raises(LLMError) as raised:
        client(url, stream=True).complete(REQUEST)
    assert raised.value.retries == 2


@pytest.mark.parametrize("status", [b"200 OK", b"500 Oh"])
def test_an_answer_without_end_is_cut_off_and_not_asked_for_again(status: bytes) -> None:
    endless = http(b" " * (5 << 20)).replace(b"200 OK", status)
    with answering(endless) as url, pytest.raises(LLMError) as raised:
        client(url).complete(REQUEST)
    assert str(raised.value) == "m: the server's answer is larger than the 4194304 bytes that are read of one"
    assert raised.value.retries == 0


def test_a_stream_without_end_is_cut_off() -> None:
    chunk = b"data: " + json.dumps({"choices": [{"delta": {"content": "x" * 100_000}}]}).encode() + b"\n\n"
    with answering(http(chunk * 50, "text/event-stream")) as url, pytest.raises(LLMError) as raised:
        client(url, stream=True).complete(REQUEST)
    assert str(raised.value) == "m: the server's answer is larger than the 4194304 bytes that are read of one"


def test_a_line_without_end_is_cut_off_too() -> None:
    with answering(http(b"x" * (65 << 20), "text/event-stream")) as url, pytest.raises(LLMError) as raised:
        client(url, stream=True).complete(REQUEST)
    assert str(raised.value) == "m: the server's answer is larger than the 67108864 bytes that are read of one"


def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * (1 << 20))
    with answering(http(bomb, more="Content-Encoding: gzip\r\n")) as url, pytest.raises(LLMError) as raised:
        client(url).complete(REQUEST)
    assert str(raised.value) == "m: the server compressed its answer (gzip), although asked not to"
