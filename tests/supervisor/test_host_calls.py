"""Arguments of a call are what the function's annotations say, or the function does not run."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import Field

from agex_policies.host_calls import HostCallLimits
from agex_policies.quantities import Rate
from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.encode import encode
from agex_protocol.errors import ProtocolError
from agex_protocol.shapes import ANY
from agex_supervisor.arenas import Arenas, Bulk
from agex_supervisor.host_calls import MAX_ERROR_CHARS, HostCalls, Hosted, hosted

ACTION = b"a" * 16


def host(function: Callable[..., Any]) -> Hosted:
    return hosted("f", function, inspect.signature(function, eval_str=True), function.__doc__)


def called(function: Callable[..., Any], **arguments: Any) -> m.Answer:
    """The answer to a call with these arguments, each encoded as a worker would by the function's own shapes."""
    return answered(HostCalls([host(function)], Caps()), function, **arguments)


def answered(calls: HostCalls, function: Callable[..., Any], **arguments: Any) -> m.Answer:
    values, sent = [], []
    for name, value in arguments.items():
        contract = host(function).contracts.get(name)
        head, buffers = encode(value, contract.shape if contract else ANY, max_bytes=1 << 20)
        sent.append(m.Argument(name, m.Encoded(head, len(buffers))))
        values.append((head, [memoryview(buffer) for buffer in buffers]))
    *_, answer = calls(m.Call(ACTION, 7, "f", tuple(sent)), values)
    assert isinstance(answer, m.Answer)
    assert (answer.action, answer.call) == (ACTION, 7)
    return answer


def result(answer: m.Answer) -> Any:
    assert (answer.error_type, answer.error) == ("", "")
    return pickle.loads(answer.result.head)


def test_a_function_gets_its_arguments_and_its_result_goes_back() -> None:
    def f(number: int, words: list[str]) -> list[object]:
        return [number, words]

    assert result(called(f, number=3, words=["a"])) == [3, ["a"]]


def test_every_kind_of_parameter_is_bound_as_python_does() -> None:
    def f(a: int, /, b: int = 2, *rest: int, c: int, d: int = 4, **more: int) -> object:
        return (a, b, rest, c, d, more)

    assert result(called(f, a=1, c=3)) == (1, 2, (), 3, 4, {})
    assert result(called(f, a=1, b=5, rest=(6, 7), c=3, more={"x": 8})) == (1, 5, (6, 7), 3, 4, {"x": 8})


def test_keywords_may_be_called_as_the_parameters_that_gather_them() -> None:
    def f(*args: int, **kwargs: int) -> object:
        return (args, kwargs)

    assert result(called(f, args=(1,), kwargs={"args": 2, "kwargs": 3})) == ((1,), {"args": 2, "kwargs": 3})


def test_a_result_that_is_large_goes_as_whoever_has_arenas_decides_and_else_in_buffers_before_the_answer() -> None:
    def f() -> bytes:
        return bytes(3 << 20)

    (bulk,) = HostCalls([host(f)], Caps())(m.Call(ACTION, 1, "f", ()), [])
    assert isinstance(bulk, Bulk) and bulk.message == m.Answer(ACTION, 1, m.Encoded(b""))
    *buffers, answer = Arenas(None).loaded([bulk])
    assert {type(message) for message in buffers} == {m.Buffer}
    assert isinstance(answer, m.Answer) and answer.result.buffers == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("not so"), ("ValueError", "not so")),
        (KeyError("k"), ("KeyError", "k")),
        (RuntimeError("x" * 10_000), ("RuntimeError", "x" * MAX_ERROR_CHARS)),
    ],
)
def test_what_a_function_raises_goes_back_as_type_and_text(error: Exception, expected: tuple[str, str]) -> None:
    def f() -> None:
        raise error

    answer = called(f)
    assert (answer.error_type, answer.error) == expected


def test_an_error_without_a_text_goes_back_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise TypeError

    def f() -> None:
        raise Mute

    assert called(f).error == "<its text cannot be made: TypeError>"


def test_a_result_that_cannot_cross_is_told_to_the_code_that_asked() -> None:
    def f() -> object:
        return (number for number in range(3))

    answer = called(f)
    assert answer.error_type == "TypeError"
    assert answer.error.startswith("the result of f() cannot cross to here: ")


def test_a_missing_argument_is_the_callers_error() -> None:
    def f(number: int) -> int:
        return number

    answer = called(f)
    assert (answer.error_type, answer.error) == ("TypeError", "f() misses its argument 'number'")


def test_a_value_that_validation_refuses_does_not_reach_the_function() -> None:
    ran: list[int] = []

    def f(number: Annotated[int, Field(gt=10)]) -> None:
        ran.append(number)

    answer = called(f, number=3)
    assert answer.error_type == "TypeError"
    assert answer.error == "f(number=...): the value: Input should be greater than 10 (got int 3)"
    assert ran == []


def test_a_value_of_another_type_than_declared_is_a_broken_protocol() -> None:
    def f(number: int) -> None:
        raise AssertionError("it ran")

    call = m.Call(ACTION, 1, "f", (m.Argument("number", m.Encoded(b"\xa1x")),))
    with pytest.raises(ProtocolError):
        HostCalls([host(f)], Caps())(call, [(b"\xa1x", [])])


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("g", (), "a call of 'g', which is not registered"),
        ("__init__", (), "a call of '__init__', which is not registered"),
        ("f", ("other",), "f() has no such argument left: 'other'"),
        ("f", ("number", "number"), "f() has no such argument left: 'number'"),
    ],
)
def test_names_that_were_not_given_to_the_worker_are_a_broken_protocol(
    name: str, arguments: tuple[str, ...], expected: str
) -> None:
    def f(number: int) -> None:
        raise AssertionError("it ran")

    call = m.Call(ACTION, 1, name, tuple(m.Argument(argument, m.Encoded(b"\x01")) for argument in arguments))
    with pytest.raises(ProtocolError) as caught:
        HostCalls([host(f)], Caps())(call, [(b"\x01", [])] * len(arguments))
    assert str(caught.value) == expected


def test_the_function_runs_when_its_answer_is_read_and_not_before() -> None:
    ran: list[int] = []

    def f() -> None:
        ran.append(1)

    answer = HostCalls([host(f)], Caps())(m.Call(ACTION, 1, "f", ()), [])
    assert ran == []
    list(answer)
    assert ran == [1]


def test_an_interrupt_of_the_application_is_not_an_answer() -> None:
    def f() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        called(f)


def variadic(a: int = 1, *rest: str) -> object:
    return (a, rest)


def keyworded(*, amount: int, **opts: str) -> object:
    return (amount, opts)


def positional(a: int = 0, b: str = "", /) -> object:
    return (a, b)


def optional(path: int = 3, **opts: str) -> object:
    return (path, opts)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (variadic, {"rest": ("evil",)}),
        (keyworded, {"amount": 5, "opts": {"amount": "evil"}}),
        (positional, {"b": "evil"}),
        (optional, {"opts": {"path": "evil"}}),
    ],
)
def test_no_argument_takes_the_place_of_another_that_was_checked_by_another_type(
    function: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    with pytest.raises(ProtocolError):
        called(function, **arguments)


class CredentialsRefused(Exception):
    """An error whose text would tell the agent what it need not know."""


def test_a_policy_can_keep_back_what_an_error_says() -> None:
    def f(number: int) -> object:
        if number == 0:
            raise CredentialsRefused("user 'billing' at db.internal")
        return (each for each in range(number))

    calls = HostCalls([host(f)], Caps(), limits=HostCallLimits(messages=False))
    kept_back = "f() failed; the policy keeps back why (host_calls.errors)"
    first, second = answered(calls, f, number=0), answered(calls, f, number=1)
    assert (first.error_type, first.error) == ("CredentialsRefused", kept_back)
    assert (second.error_type, second.error) == ("TypeError", kept_back)
    # What the agent did wrong itself it is told all the same.
    assert answered(calls, f).error == "f() misses its argument 'number'"


def test_a_call_beyond_the_rate_is_refused_and_does_not_run() -> None:
    ran: list[int] = []

    def f() -> None:
        ran.append(1)

    calls = HostCalls([host(f)], Caps(), limits=HostCallLimits(rate=Rate(2, 3600.0)))
    answers = [answered(calls, f) for _ in range(3)]
    assert [answer.error_type for answer in answers] == ["", "", "PermissionError"]
    assert answers[2].error == (
        "f() was refused: more host calls than 2 in 3600 s; wait 1800 s, or call less (host_calls.max_rate)"
    )
    assert ran == [1, 1]


def test_arguments_beyond_the_bytes_of_a_task_do_not_reach_the_function() -> None:
    ran: list[int] = []

    def f(data: bytes) -> None:
        ran.append(len(data))

    calls = HostCalls([host(f)], Caps(), limits=HostCallLimits(most_bytes=10_000))
    answers = [answered(calls, f, data=bytes(4_000)) for _ in range(3)]
    assert [answer.error_type for answer in answers] == ["", "", "PermissionError"]
    assert answers[2].error == (
        "f() was refused: more than 10000 bytes in host calls of this task; nothing more of them crosses"
        " (host_calls.max_bytes)"
    )
    assert ran == [4_000, 4_000]


def test_a_result_beyond_the_bytes_of_a_task_does_not_cross() -> None:
    def f() -> bytes:
        return bytes(20_000)

    calls = HostCalls([host(f)], Caps(), limits=HostCallLimits(most_bytes=10_000))
    messages = list(calls(m.Call(ACTION, 1, "f", ()), []))
    assert [type(message) for message in messages] == [m.Answer]
    refused = messages[0]
    assert isinstance(refused, m.Answer) and refused.error_type == "PermissionError"
