"""What models and servers write, taken apart: blocks, tool calls, chunks. Any text gives a reply, never another error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex.llm import (
    Action,
    EditFile,
    Parameter,
    PythonAction,
    Reply,
    Request,
    TerminalAction,
    Tool,
    Usage,
    UserMessage,
    WriteFile,
)
from agex.llm.completion import StreamedCompletion, read_completion
from agex.llm.fences import fenced, read_fences
from agex.llm.tool_calls import ACTION_OF_TOOL, Misread, ToolCall, action_of, call_of
from agex.llm.wire_error import WireError

TOOLS = tuple(
    Tool(name, "", (Parameter("code", "string", ""),)) for name in ("python_action", "write_file", "edit_file")
)
REQUEST = Request("s", (UserMessage("go"),), TOOLS)
OFFERED = {tool.name for tool in TOOLS}

any_text = st.text(st.characters(exclude_categories=["Cs"]))
actions = st.one_of(
    st.builds(PythonAction, any_text),
    st.builds(TerminalAction, any_text),
    st.builds(WriteFile, any_text, any_text, st.booleans()),
    st.builds(EditFile, any_text, any_text, any_text, st.booleans()),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["choices", "message", "delta", "tool_calls"]), inner)
    ),
)


@pytest.mark.parametrize(
    ("details", "cached"),
    [
        ({"cached_tokens": 60}, 60),
        ({"cached_tokens": 600}, 100),
        ({"cached_tokens": None, "audio_tokens": 0}, 0),
        ({"cached_tokens": -1}, 0),
        ({}, 0),
        (None, 0),
        (["no", "object"], 0),
    ],
)
def test_tokens_that_the_provider_had_cached_are_told_and_nothing_else_in_their_place_harms(
    details: object, cached: int
) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": details}
    whole = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage}
    streamed = StreamedCompletion(REQUEST)
    streamed.add({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]})
    streamed.add({"choices": [], "usage": usage})

    assert read_completion(whole, REQUEST).usage == streamed.reply().usage == Usage(100, 7, cached)


def calling(name: str, arguments: str, *, finish_reason: str = "tool_calls") -> dict[str, object]:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"choices": [{"message": message, "finish_reason": finish_reason}]}


def saying(text: str, finish_reason: str = "stop") -> dict[str, object]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}]}


@given(st.lists(actions))
def test_actions_written_as_blocks_are_read_back_as_they_were(written: list[Action]) -> None:
    read = read_fences("\n\n".join(map(fenced, written)), ACTION_OF_TOOL)
    assert (read.text, read.actions, read.problems) == ("", written, [])


@given(actions)
def test_actions_written_as_tool_calls_are_read_back_as_they_were(action: Action) -> None:
    assert action_of(call_of(action), ACTION_OF_TOOL) == action


@given(st.one_of(st.text("`\npython{}~ "), st.text()))
def test_any_text_at_all_is_a_reply(text: str) -> None:
    assert isinstance(read_completion(saying(text), REQUEST), Reply)


@given(st.sampled_from([*ACTION_OF_TOOL, "", "rm"]), st.one_of(st.text(), json_values.map(json.dumps)))
def test_any_tool_call_at_all_is_an_action_or_a_problem(name: str, arguments: str) -> None:
    reply = read_completion(calling(name, arguments), REQUEST)
    assert len(reply.actions) + len(reply.problems) == 1


@given(json_values)
def test_any_json_at_all_is_a_reply_or_the_wires_error(data: object) -> None:
    try:
        assert isinstance(read_completion(data, REQUEST), Reply)
    except WireError as error:
        assert error.retryable
    try:
        assert isinstance(StreamedCompletion(REQUEST).add(data), str)
    except WireError as error:
        assert error.retryable


@pytest.mark.parametrize(
    ("text", "prose", "codes"),
    [
        ("no block", "no block", []),
        ("a\n```python\nx\n```\nb", "a\nb", ["x"]),
        ("```python\nx\n```\n```py\ny\n```", "", ["x", "y"]),
        ("```Python title=1\r\nx\r\n```", "", ["x\r"]),
        ("````python\n```\n````", "", ["```"]),
        ("  ```python\nx\n  ```", "", ["x"]),
        ("```python\n```", "", [""]),
        ("```json\n{}\n```", "```json\n{}\n```", []),
        ("```\nx\n```", "```\nx\n```", []),
        ("````markdown\n```python\nquoted\n```\n````", "````markdown\n```python\nquoted\n```\n````", []),
        ("```terminal\nls\n```", "```terminal\nls\n```", []),
        ("inline ```python x``` stays", "inline ```python x``` stays", []),
    ],
)
def test_blocks_are_told_from_prose(text: str, prose: str, codes: list[str]) -> None:
    read = read_fences(text, OFFERED)
    assert (read.text, read.actions, read.problems) == (prose, [PythonAction(code) for code in codes], [])


def test_a_block_that_is_not_closed_is_not_run() -> None:
    reply = read_completion(saying("```python\none()\n```\n```python\nrm_", finish_reason="length"), REQUEST)
    assert reply.actions == [PythonAction("one()")]
    assert reply.problems == [
        "the block ```python is not closed, so it was not run",
        "the reply was cut off at the model's own output limit: go in smaller steps",
    ]


def test_a_block_that_makes_no_sense_ends_the_reading() -> None:
    text = "```write_file\nnot json\n```\n```python\nuse_it()\n```"
    reply = read_completion(saying(text), REQUEST)
    assert reply.actions == []
    assert reply.problems == ["the arguments of write_file are not JSON: Expecting value: line 1 column 1 (char 0)"]


def test_without_tools_on_offer_a_reply_is_text_alone() -> None:
    reply = read_completion(saying("```python\nx\n```"), Request("s", (), ()))
    assert reply == Reply("```python\nx\n```")


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("rm", "{}", "there is no tool 'rm'; the tools are: edit_file, python_action, write_file"),
        ("terminal_action", '{"commands": "ls"}', "there is no tool 'terminal_action'; the tools are: edit_file, python_action, write_file"),
        ("python_action", "", "the arguments of python_action are not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("python_action", "[]", "the arguments of python_action are not a JSON object"),
        ("python_action", "{}", "python_action needs the argument 'code'"),
        ("python_action", '{"code": null}', "python_action needs the argument 'code'"),
        ("python_action", '{"code": 1}', "the argument 'code' of python_action has to be a string"),
        (
            "write_file",
            '{"path": "a", "content": "", "append": "yes"}',
            "the argument 'append' of write_file has to be true or false",
        ),
    ],
)  # fmt: skip
def test_a_wrong_tool_call_is_a_problem_that_says_what_is_wrong(name: str, arguments: str, problem: str) -> None:
    reply = read_completion(calling(name, arguments), REQUEST)
    assert (reply.actions, reply.problems) == ([], [problem])


def test_arguments_nested_beyond_reason_are_a_problem() -> None:
    with pytest.raises(Misread, match="not JSON"):
        action_of(ToolCall("python_action", "[" * 500_000), OFFERED)


def test_a_call_after_a_wrong_one_is_not_run() -> None:
    data = calling("python_action", '{"code": "x"}')
    function = {"name": "rm", "arguments": "{}"}
    calls = data["choices"][0]["message"]["tool_calls"]  # type: ignore[index]
    calls[:] = [calls[0], {"function": function}, calls[0], calls[0]]
    reply = read_completion(data, REQUEST)
    assert reply.actions == [PythonAction("x")]
    assert reply.problems == [
        "there is no tool 'rm'; the tools are: edit_file, python_action, write_file (nor were the 2 calls after it run)"
    ]


def test_what_models_do_to_arguments_is_forgiven() -> None:
    arguments = '{"code": "a\nb", "thinking": "unasked"}'
    assert action_of(ToolCall("python_action", arguments), OFFERED) == PythonAction("a\nb")
    arguments = '{"path": "p", "content": "c", "append": null}'
    assert action_of(ToolCall("write_file", arguments), OFFERED) == WriteFile("p", "c")


@pytest.mark.parametrize(
    ("written", "run"),
    [
        ("```python\nprint(1)\n\nprint(2)\n```", "print(1)\n\nprint(2)"),
        ("\n```\nprint(1)\n```\n", "print(1)"),
        ('text = """\n```\n"""', 'text = """\n```\n"""'),
        ("```python\na = 1\n```\n```python\nb = 2\n```", "```python\na = 1\n```\n```python\nb = 2\n```"),
        ("```", "```"),
        ("", ""),
    ],
)
def test_a_script_that_stands_in_a_fence_as_a_whole_is_run_without_it(written: str, run: str) -> None:
    call = ToolCall("python_action", json.dumps({"code": written}))
    assert action_of(call, OFFERED) == PythonAction(run)


def test_lone_surrogates_are_written_out() -> None:
    assert action_of(ToolCall("python_action", r'{"code": "\ud800"}'), OFFERED) == PythonAction(r"\ud800")
    assert read_completion(saying("\ud800"), REQUEST).text == r"\ud800"


def test_a_refusal_is_text_and_a_missing_usage_is_none() -> None:
    data = {"choices": [{"message": {"content": None, "refusal": "I must not."}}], "usage": None}
    assert read_completion(data, REQUEST) == Reply("I must not.", [], None)
    assert read_completion(
        saying("x") | {"usage": {"prompt_tokens": 3, "completion_tokens": None}}, REQUEST
    ).usage == Usage(3, 0)


def test_calls_that_a_stream_tells_apart_by_id_alone_are_two() -> None:
    stream = StreamedCompletion(REQUEST)
    for call_id, code in (("a", "x"), ("b", "y")):
        function = {"name": "python_action", "arguments": json.dumps({"code": code})}
        stream.add({"choices": [{"delta": {"tool_calls": [{"id": call_id, "index": 0, "function": function}]}}]})
    stream.add({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    stream.add({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    assert stream.reply() == Reply("", [PythonAction("x"), PythonAction("y")], Usage(1, 2))
