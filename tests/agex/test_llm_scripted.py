import asyncio
import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from agex.errors import LLMError
from agex.llm import (
    LLM,
    Fault,
    OpenAI,
    PythonAction,
    Reply,
    Request,
    Scripted,
    TerminalAction,
    Usage,
    UserMessage,
    scripted_server,
)

REQUEST = Request("system text", (UserMessage("user text"),), ())


def test_a_script_is_gone_through_in_order_and_what_was_asked_is_kept() -> None:
    reply = Reply("text", [TerminalAction("ls")], Usage(1, 2))
    llm = Scripted(["x = 1", reply, lambda request: f"len({str(request)!r})", lambda _: reply])
    assert isinstance(llm, LLM)
    assert llm.model == "scripted"
    assert llm.complete(REQUEST) == Reply(actions=[PythonAction("x = 1")])
    assert llm.complete(REQUEST) is reply
    assert llm.complete(REQUEST).actions == [PythonAction(f"len({str(REQUEST)!r})")]
    assert llm.complete(REQUEST) is reply
    assert llm.requests == [REQUEST] * 4
    assert "system text" in str(llm.requests[0])
    assert "user text" in str(llm.requests[0])


def test_a_script_that_is_used_up_says_how_long_it_was() -> None:
    llm = Scripted(["pass"])
    llm.complete(REQUEST)
    with pytest.raises(LLMError, match="^the script is used up: it has 1 reply, and this is call 2$"):
        llm.complete(REQUEST)


def test_exceptions_are_raised_and_faults_end_as_after_the_retries_of_the_wire() -> None:
    llm = Scripted([KeyError("mine"), Fault(status=500), lambda _: ValueError("later"), Fault("slow", seconds=600)])
    with pytest.raises(KeyError, match="mine"):
        llm.complete(REQUEST)
    with pytest.raises(LLMError, match="^scripted: status 500$"):
        llm.complete(REQUEST)
    with pytest.raises(ValueError, match="later"):
        llm.complete(REQUEST)
    with pytest.raises(LLMError, match="^scripted: silence for 600 s$"):
        llm.complete(REQUEST)


def test_tokens_are_heard_by_listeners_of_both_kinds() -> None:
    heard: list[str] = []

    async def hear(token: str) -> None:
        heard.append(token)

    llm = Scripted([Reply("one"), Reply("two"), Reply("three")])
    llm.complete(REQUEST, on_token=heard.append)
    asyncio.run(llm.acomplete(REQUEST, on_token=hear))
    asyncio.run(llm.acomplete(REQUEST, on_token=heard.append))
    assert heard == ["one", "two", "three"]


def test_threads_that_share_a_script_get_each_reply_once() -> None:
    llm = Scripted([Reply(str(n)) for n in range(200)])
    with ThreadPoolExecutor(8) as threads:
        texts = [reply.text for reply in threads.map(llm.complete, [REQUEST] * 200)]
    assert sorted(texts, key=int) == [str(n) for n in range(200)]


def test_what_cannot_stand_in_a_script_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="a script is a list of replies, not one string"):
        Scripted("pass")
    with pytest.raises(TypeError, match="a script holds str, Reply, Fault, exceptions and callables, not 5"):
        Scripted([5])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"kind": "fire"},
        {"kind": "slow", "status": 500},
        {"status": 200},
        {"status": 429, "retry_after": -1.0},
        {"kind": "disconnect", "after_chunks": -1},
    ],
    ids=str,
)
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Fault"):
        Fault(**wrong)  # type: ignore[arg-type]


def test_the_server_lists_its_model_and_refuses_what_it_does_not_know() -> None:
    with scripted_server([]) as url:
        with urllib.request.urlopen(f"{url}/models") as answer:
            assert [model["id"] for model in json.load(answer)["data"]] == ["scripted"]
        for wrong in (f"{url}/nothing", urllib.request.Request(f"{url}/embeddings", b"{}")):
            with pytest.raises(urllib.error.HTTPError) as raised:
                urllib.request.urlopen(wrong)
            with raised.value as refusal:
                assert refusal.status == 404
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(urllib.request.Request(f"{url}/chat/completions", b"no json"))
        with raised.value as refusal:
            assert refusal.status == 400


def test_an_exception_in_a_served_script_and_its_end_are_errors_for_the_client_at_once() -> None:
    def fail(request: Request) -> str:
        raise KeyError("in the script")

    with scripted_server([fail, RuntimeError("as it stands")]) as url:
        llm = OpenAI("m", base_url=url)
        for said in (
            "KeyError: 'in the script'",
            "RuntimeError: as it stands",
            "LLMError: the script is used up: it has 2 replies, and this is call 3",
        ):
            with pytest.raises(LLMError) as raised:
                llm.complete(REQUEST)
            assert str(raised.value) == f"m: the server answered 400: {said}"
        assert len(url.requests) == 3


def test_the_url_of_a_server_is_a_string() -> None:
    with scripted_server([]) as url:
        assert isinstance(url, str)
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")


def test_a_server_ends_its_threads_though_a_client_hangs_on() -> None:
    before = set(threading.enumerate())
    with scripted_server([Fault("slow", seconds=600)]) as url:
        with pytest.raises(LLMError):
            OpenAI("m", base_url=url, timeout_s=0.2).complete(REQUEST)
        idle = urllib.request.urlopen(f"{url}/models")
    idle.close()
    assert [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("agex")] == []
    assert not {thread for thread in set(threading.enumerate()) - before if not thread.daemon}
