"""Output is kept up to its limit, head and tail, whatever is written and however fast."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from agex_supervisor.output import READ_BYTES, Output, TextOutput


@pytest.fixture
def pipe() -> Iterator[tuple[Output, int]]:
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    output = Output(read, 100)
    yield output, write
    output.close()
    os.close(write)


def test_text_within_the_limit_is_kept_as_it_is() -> None:
    output = TextOutput(100)
    output.write("one\n")
    output.write("zwölf\n")
    assert output.take() == "one\nzwölf\n"
    assert output.take() == ""


def test_beyond_the_limit_the_middle_is_dropped_and_counted() -> None:
    output = TextOutput(10)
    for piece in (b"01234", b"x" * 500, b"56789"):
        output.keep(piece)
    assert output.take() == "01234\n... 500 bytes left out ...\n56789"
    output.keep(b"anew")
    assert output.take() == "anew"


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_a_tiny_limit_still_keeps_two_ends(limit: int) -> None:
    output = TextOutput(limit)
    output.keep(b"abcdef")
    text = output.take()
    assert text.startswith("a\n... ") and text.endswith("f")


def test_what_is_not_text_is_written_out() -> None:
    output = TextOutput(100)
    output.keep(b"\xff\xfe ok")
    assert output.take() == "\\xff\\xfe ok"
    output.write("half \ud800")
    assert output.take() == "half \\ud800"


def test_an_empty_pipe_does_not_hold_the_reader(pipe: tuple[Output, int]) -> None:
    output, _ = pipe
    output.drain()
    assert output.take() == "" and not output.ended


def test_a_flood_does_not_hold_the_reader_for_longer_than_some_rounds(pipe: tuple[Output, int]) -> None:
    output, write = pipe
    try:
        while True:
            os.write(write, b"x" * READ_BYTES)
    except BlockingIOError:
        pass
    output.drain(rounds=0)
    assert output.take() == ""
    output.drain(rounds=1)
    text = output.take()
    assert text.startswith("x" * 50 + "\n... ") and text.endswith("left out ...\n" + "x" * 50)


def test_the_end_of_a_pipe_is_noticed_after_its_last_bytes(pipe: tuple[Output, int]) -> None:
    output, write = pipe
    os.write(write, b"last")
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), write)
    output.drain()
    assert (output.take(), output.ended) == ("last", True)
