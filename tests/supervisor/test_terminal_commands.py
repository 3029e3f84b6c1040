"""Commands of the terminal that run in this process, against a worker that says what it likes."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from agex_supervisor.terminal_commands import CommandContext, TerminalCommand, TerminalCommands


def commands(handler: Any) -> TerminalCommands:
    return TerminalCommands([TerminalCommand("it", handler, "it: does it")])


def reading(ctx: CommandContext) -> None:
    ctx.stdout.write(ctx.files.read("a").decode())


def test_outside_a_terminal_action_nothing_is_started() -> None:
    with pytest.raises(RuntimeError, match="within a terminal action only"):
        commands(reading).start("it", [], "")


def test_a_name_or_a_number_that_was_not_given_is_refused() -> None:
    table = commands(reading)
    with table.opened():
        with pytest.raises(LookupError, match="no command 'other'"):
            table.start("other", [], "")
        for number in (0, 1, -1, 1 << 70):
            with pytest.raises(LookupError, match="no such command is running"):
                table.go_on(number, b"", [], "", "")


def test_a_file_operation_comes_out_and_its_result_goes_in() -> None:
    table = commands(reading)
    with table.opened():
        step = table.start("it", [], "")
        assert step == {"run": 1, "operation": "read", "path": "a", "content": b""}
        assert table.go_on(1, b"text", [], "", "") == {"stdout": "text", "stderr": "", "exit_code": 0}
        with pytest.raises(LookupError):
            table.go_on(1, b"again", [], "", "")


@pytest.mark.parametrize(("said", "raised"), [("FileNotFoundError", "FileNotFoundError"), ("SystemExit", "OSError")])
def test_an_error_of_the_worker_is_one_of_a_few_and_its_text_is_made_safe(said: str, raised: str) -> None:
    table = commands(reading)
    with table.opened():
        table.start("it", [], "")
        step = table.go_on(1, b"", [], said, "no\x1b[2J")
    assert step["stderr"] == f"it: {raised}: no\\x1b[2J"


def test_only_so_many_commands_wait_at_once_and_all_of_them_end_with_the_action() -> None:
    told: list[str] = []
    over = threading.Barrier(17)

    def waits(ctx: CommandContext) -> None:
        try:
            ctx.files.list()
        except Exception as error:
            told.append(type(error).__name__)
        over.wait(30.0)

    table = commands(waits)
    with table.opened():
        for _ in range(16):
            table.start("it", [], "")
        with pytest.raises(RuntimeError, match="more than 16 commands at once"):
            table.start("it", [], "")
    over.wait(30.0)
    assert told == ["CommandAbandoned"] * 16


def test_a_handler_that_goes_on_after_it_was_told_that_all_is_over_waits_for_nobody() -> None:
    told: list[str] = []
    ended = threading.Event()

    def stubborn(ctx: CommandContext) -> None:
        for _ in range(3):
            try:
                ctx.files.list()
            except Exception as error:
                told.append(type(error).__name__)
        ended.set()

    table = commands(stubborn)
    with table.opened():
        table.start("it", [], "")
    assert ended.wait(30.0)
    assert told == ["CommandAbandoned"] * 3


@pytest.mark.parametrize(("code", "given"), [(0, 1), (256, 1), (-1, 255), (3, 3)])
def test_a_command_that_failed_has_no_exit_code_of_success(code: int, given: int) -> None:
    table = commands(lambda ctx: ctx.fail("no", code))
    with table.opened():
        assert table.start("it", [], "") == {"stdout": "", "stderr": "no", "exit_code": given}


def test_an_exit_code_that_is_none_ends_the_command_like_any_other() -> None:
    table = commands(lambda ctx: ctx.fail("no", None))
    with table.opened():
        step = table.start("it", [], "")
    assert step == {
        "stdout": "",
        "stderr": "it: its exit code is a NoneType, and has to be an int",
        "exit_code": 1,
    }
