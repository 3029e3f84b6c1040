import asyncio
import json
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agex.errors import ConfigurationError, LLMError
from agex.llm import (
    LLM,
    Action,
    AssistantMessage,
    EditFile,
    Fault,
    Observation,
    OpenAI,
    Parameter,
    PythonAction,
    Reply,
    Request,
    TerminalAction,
    Tool,
    Usage,
    UserMessage,
    WriteFile,
    scripted_server,
)

CODE = Parameter("code", "string", "the code")
TOOLS = (
    Tool("python_action", "Run Python.", (CODE,)),
    Tool("terminal_action", "Run a shell.", (Parameter("commands", "string", "the commands"),)),
    Tool(
        "write_file",
        "Write a file.",
        (
            Parameter("path", "string", "where"),
            Parameter("content", "string", "what"),
            Parameter("append", "boolean", "at its end", required=False),
        ),
    ),
    Tool(
        "edit_file",
        "Edit a file.",
        (
            Parameter("path", "string", "where"),
            Parameter("search", "string", "what to look for"),
            Parameter("replace", "string", "what to put there"),
            Parameter("all", "boolean", "everywhere", required=False),
        ),
    ),
)
ACTIONS: list[Action] = [
    PythonAction('text = """```python\nno\n```"""\nprint(text)\n'),
    TerminalAction("ls -l\npwd"),
    WriteFile("notes.txt", "héllo\n```\n", append=True),
    EditFile("notes.txt", "a\nb", "c", all=True),
]
REQUEST = Request("Be brief.", (UserMessage("Add 1 and 1."),), TOOLS)
KEY = "sk-very-secret-0123456789"


def client(url: str, **options: object) -> OpenAI:
    return OpenAI("m", base_url=url, api_key=KEY, retry_wait_s=0.001, **options)  # type: ignore[arg-type]


def test_a_client_is_an_llm_with_a_name() -> None:
    assert isinstance(OpenAI("gpt-x"), LLM)
    assert OpenAI("gpt-x").model == "gpt-x"


@pytest.mark.parametrize("tools", ["auto", "off"])
@pytest.mark.parametrize("stream", [False, True])
def test_text_actions_and_usage_arrive_by_tool_calls_and_by_fenced_blocks(tools: str, stream: bool) -> None:
    reply = Reply("First this.", ACTIONS, Usage(12, 34))
    with scripted_server([reply]) as url:
        assert client(url, tools=tools, stream=stream).complete(REQUEST) == reply
        assert ("tools" in url.requests[0]) == (tools == "auto")
        assert url.requests[0].get("stream", False) == stream


@pytest.mark.parametrize("tools", ["auto", "off"])
def test_the_server_sees_the_request_as_it_was_made(tools: str) -> None:
    seen: list[Request] = []

    def look(request: Request) -> Reply:
        seen.append(request)
        return Reply("ok")

    with scripted_server([look]) as url:
        client(url, tools=tools).complete(REQUEST)
    assert seen[0].messages == REQUEST.messages
    if tools == "auto":
        assert seen == [REQUEST]
    else:
        assert seen[0].tools == ()
        assert seen[0].system.startswith("Be brief.\n\nYou act by writing fenced blocks.")
        assert all(label in seen[0].system for label in ("```python", "```terminal", "```write_file", "```edit_file"))


@pytest.mark.parametrize("tools", ["auto", "off"])
@pytest.mark.parametrize("said", ["", " \n"])
def test_no_message_of_the_past_is_empty_for_servers_refuse_that(tools: str, said: str) -> None:
    past = Request("s", (UserMessage("go"), AssistantMessage(said, ()), UserMessage("there is no tool 'x'")), TOOLS)
    seen: list[Request] = []

    def look(request: Request) -> Reply:
        seen.append(request)
        return Reply("ok")

    with scripted_server([look]) as url:
        client(url, tools=tools).complete(past)
        messages = url.requests[0]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == "(no text, and no action that could be read)"
    assert seen[0].messages[1] == AssistantMessage("", ())


def test_every_tool_call_of_the_past_has_its_answer_and_the_same_id_each_time() -> None:
    past = Request(
        "s",
        (
            UserMessage("go"),
            AssistantMessage("I try.", (PythonAction("1/0"), TerminalAction("ls"))),
            Observation(("ZeroDivisionError",)),
            UserMessage("a note"),
            AssistantMessage("", (PythonAction("2"),)),
            Observation(("2", "and a problem")),
            AssistantMessage("only words", ()),
            Observation(("nothing was run",)),
        ),
        TOOLS,
    )
    with scripted_server(["pass", "pass"]) as url:
        client(url).complete(past)
        client(url).complete(past)
        assert url.requests[0] == url.requests[1]
        messages = url.requests[0]["messages"]
    called = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert called == answered == ["call_1_0", "call_1_1", "call_3_0"]
    assert [(message["role"], message["content"]) for message in messages] == [
        ("system", "s"),
        ("user", "go"),
        ("assistant", "I try."),
        ("tool", "ZeroDivisionError"),
        ("tool", "not run: an earlier action failed"),
        ("user", "a note"),
        ("assistant", None),
        ("tool", "2"),
        ("user", "and a problem"),
        ("assistant", "only words"),
        ("user", "nothing was run"),
    ]


def test_the_past_in_fenced_blocks_alternates_between_user_and_assistant() -> None:
    past = Request(
        "s",
        (
            UserMessage("go"),
            AssistantMessage("I try.", (PythonAction("1/0"), TerminalAction("ls"))),
            Observation(("ZeroDivisionError",)),
            UserMessage("a note"),
        ),
        TOOLS,
    )
    with scripted_server(["pass"]) as url:
        client(url, tools="off").complete(past)
        messages = url.requests[0]["messages"]
    assert [(message["role"], message["content"]) for message in messages[1:]] == [
        ("user", "go"),
        ("assistant", "I try.\n\n```python\n1/0\n```\n\n```terminal\nls\n```"),
        (
            "user",
            (
                "[result 1 (python_action)]\nZeroDivisionError\n\n"
                "[result 2 (terminal_action)]\nnot run: an earlier action failed\n\na note"
            ),
        ),
    ]


def test_output_with_lone_surrogates_reaches_the_server_written_out() -> None:
    past = (AssistantMessage("\udc80", (PythonAction("'\ud800'"),)), Observation(("\udfff",)))
    with scripted_server(["pass", "pass"]) as url:
        client(url).complete(Request("s", past, TOOLS))
        client(url, tools="off").complete(Request("s", past, TOOLS))
        assert r"\udfff" in url.requests[0]["messages"][2]["content"]


def test_tokens_are_heard_as_they_arrive_and_the_usage_is_asked_for() -> None:
    heard: list[str] = []
    text = "a text that is longer than one chunk of the server"
    with scripted_server([Reply(text, ACTIONS[:1], Usage(1, 2))]) as url:
        reply = client(url).complete(REQUEST, on_token=heard.append)
        assert url.requests[0]["stream_options"] == {"include_usage": True}
    assert reply == Reply(text, ACTIONS[:1], Usage(1, 2))
    assert len(heard) > 1
    assert "".join(heard) == text


def test_without_streaming_the_text_is_heard_in_one_piece() -> None:
    heard: list[str] = []
    with scripted_server([Reply("all of it at once")]) as url:
        client(url, stream=False).complete(REQUEST, on_token=heard.append)
        assert "stream" not in url.requests[0]
    assert heard == ["all of it at once"]


def test_an_error_in_on_token_is_the_callers_own() -> None:
    def fail(token: str) -> None:
        raise ValueError(token)

    with scripted_server([Reply("x")]) as url:
        with pytest.raises(ValueError, match="^x$"):
            client(url).complete(REQUEST, on_token=fail)
        assert len(url.requests) == 1


def test_the_async_twin_does_the_same_and_awaits_its_listener() -> None:
    heard: list[str] = []

    async def hear(token: str) -> None:
        heard.append(token)

    async def both(url: str) -> list[Reply]:
        llm = client(url)
        return [await llm.acomplete(REQUEST, on_token=hear), await llm.acomplete(REQUEST)]

    reply = Reply("some text", ACTIONS, Usage(1, 1))
    with scripted_server([reply, reply]) as url:
        assert asyncio.run(both(url)) == [reply, reply]
    assert "".join(heard) == "some text"


def test_a_blocking_call_inside_a_running_loop_works() -> None:
    async def blocking(url: str) -> Reply:
        return client(url).complete(REQUEST)

    with scripted_server([Reply("x")]) as url:
        assert asyncio.run(blocking(url)).text == "x"


def test_a_blocking_call_leaves_the_threads_own_loop_alone() -> None:
    def work(url: str) -> bool:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            client(url).complete(REQUEST)
            return asyncio.get_event_loop() is loop
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    with scripted_server([Reply("x")]) as url, ThreadPoolExecutor(1) as thread:
        assert thread.submit(work, url).result()


def test_one_client_serves_many_threads() -> None:
    with scripted_server([Reply(str(n)) for n in range(20)]) as url, ThreadPoolExecutor(5) as threads:
        llm = client(url)
        texts = [reply.text for reply in threads.map(llm.complete, [REQUEST] * 20)]
    assert sorted(texts, key=int) == [str(n) for n in range(20)]


def test_a_cancelled_call_ends_at_once() -> None:
    arrived = threading.Event()
    release = threading.Event()

    def stall(request: Request) -> str:
        arrived.set()
        release.wait()
        return "pass"

    async def cancel(url: str) -> bool:
        task = asyncio.create_task(client(url).acomplete(REQUEST))
        await asyncio.to_thread(arrived.wait)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    with scripted_server([stall]) as url:
        try:
            assert asyncio.run(cancel(url))
        finally:
            release.set()


@pytest.mark.parametrize("status", [400, 404, 422, 500, 501])
def test_a_server_that_refuses_tools_gets_fenced_blocks_from_then_on(status: int) -> None:
    refusal = Fault(status=status, message="`tools` is not supported by this model")
    with scripted_server([refusal, "one()", "two()"]) as url:
        llm = client(url, max_retries=0)
        assert llm.complete(REQUEST).actions == [PythonAction("one()")]
        assert llm.complete(REQUEST).actions == [PythonAction("two()")]
        assert ["tools" in body for body in url.requests] == [True, False, False]


def test_a_server_that_refuses_stream_options_streams_without() -> None:
    refusal = Fault(status=400, message="unknown field: stream_options")
    with scripted_server([refusal, Reply("x", ACTIONS)]) as url:
        assert client(url, stream=True).complete(REQUEST) == Reply("x", ACTIONS, None)
        assert ["stream_options" in body for body in url.requests] == [True, False]


def test_threads_that_are_refused_tools_together_all_go_on_without() -> None:
    together = threading.Barrier(4)

    def refuse(request: Request) -> Fault:
        together.wait()
        return Fault(status=400, message="tools are not supported")

    with scripted_server([refuse] * 4 + ["x"] * 4) as url, ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(client(url).complete, [REQUEST] * 4))
    assert [reply.actions for reply in replies] == [[PythonAction("x")]] * 4


def test_a_part_that_extra_body_insists_on_is_refused_once_and_for_all() -> None:
    refusal = Fault(status=400, message="tools are not supported")
    with scripted_server([refusal, refusal, "x"]) as url:
        with pytest.raises(LLMError, match="tools are not supported"):
            client(url, extra_body={"tools": []}).complete(REQUEST)
        assert len(url.requests) == 2


def test_tools_on_means_no_way_down() -> None:
    refusal = Fault(status=400, message="tools are not supported")
    with scripted_server([refusal, "one()"]) as url, pytest.raises(LLMError) as raised:
        client(url, tools="on").complete(REQUEST)
    assert str(raised.value) == "m: the server answered 400: tools are not supported"


def test_extra_body_is_part_of_every_request() -> None:
    with scripted_server(["pass"]) as url:
        client(url, extra_body={"temperature": 0, "seed": 7}).complete(REQUEST)
        assert (url.requests[0]["temperature"], url.requests[0]["seed"]) == (0, 7)


def test_a_fenced_block_counts_also_where_tools_are_offered() -> None:
    with scripted_server([Reply("Like so:\n```python\nrun()\n```\nDone.")]) as url:
        assert client(url).complete(REQUEST).actions == [PythonAction("run()")]


def test_url_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(["pass"]) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        assert OpenAI("m").complete(REQUEST).actions == [PythonAction("pass")]


def test_without_key_and_url_nothing_is_asked_and_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    remedy = (
        "no API key for 'gpt-x': set OPENAI_API_KEY or pass api_key=, "
        "or name a server that needs none by OPENAI_BASE_URL or base_url="
    )
    for ask in (OpenAI("gpt-x").check, lambda: OpenAI("gpt-x").complete(REQUEST)):
        with pytest.raises(ConfigurationError) as raised:
            ask()
        assert str(raised.value) == remedy


def test_a_key_or_url_that_cannot_work_is_refused_without_showing_the_secret() -> None:
    with pytest.raises(ConfigurationError) as raised:
        OpenAI("m", api_key="sk-\nsecret").check()
    assert "secret" not in str(raised.value)
    with pytest.raises(ConfigurationError) as raised:
        OpenAI("m", base_url="ftp://me:secret@host/v1").check()
    assert str(raised.value) == "base_url 'ftp://host/v1' does not begin with https:// or http://"


def test_repr_and_pickle_do_not_give_the_key_away() -> None:
    llm = OpenAI("m", base_url="https://me:secret@host/v1", api_key=KEY)
    assert repr(llm) == "OpenAI('m', base_url='https://host/v1')"
    with pytest.raises(TypeError, match="holds an API key"):
        pickle.dumps(llm)


@pytest.mark.parametrize(
    "options", [{"tools": "maybe"}, {"timeout_s": 0}, {"max_retries": -1}, {"retry_wait_s": -1.0}], ids=str
)
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        OpenAI("m", **options)  # type: ignore[arg-type]


def test_importing_the_package_imports_neither_the_official_client_nor_a_server() -> None:
    program = (
        "import sys, json, agex.llm; print(json.dumps([n for n in ('openai', 'http.server') if n in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
