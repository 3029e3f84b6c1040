"""The actions that are no script: shell commands, files, and commands of the application, in every isolation."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agex
from agex.errors import ConfigurationError
from agex.llm import EditFile, OpenAI, PythonAction, Reply, Scripted, TerminalAction, WriteFile, scripted_server
from agex.terminal import CommandContext
from tests.nobody import need_nobody

ISOLATIONS = ["none", "process", "kernel"]
DONE = "task_success(0)"
MADE = """
for name, data in {'bytes': b'a\\xff', 'huge': b'a' * 9_000_000, 'text': b'a\\nb\\nb\\n'}.items():
    with open(name, 'wb') as file:
        file.write(data)
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=6)
    yield pool
    pool.close()


@pytest.fixture(params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Play:
    """An agent whose model does this, turn by turn."""

    def __init__(self, pool: agex.Pool, isolation: str, *turns: Any, **choices: Any) -> None:
        self.model = Scripted([Reply(actions=each) if isinstance(each, list) else each for each in turns])
        self.agent = agex.Agent(isolation=isolation, llm=self.model, pool=pool, max_actions=40, **choices)

        @self.agent.task
        def do() -> Any:
            """Do."""
            raise NotImplementedError

        self.do = do

    def observed(self, turn: int) -> tuple[str, ...]:
        """What the model was told after its turn of that number."""
        texts: tuple[str, ...] = getattr(self.model.requests[turn].messages[-1], "texts", ())
        return texts


def test_files_are_written_edited_and_used_by_all_actions_alike(pool: agex.Pool, isolation: str) -> None:
    play = Play(
        pool,
        isolation,
        [
            WriteFile("src/tool.py", "import sys\nif True:\n    print('sum', sum(map(int, sys.argv[1:])))\n"),
            EditFile("src/tool.py", "print('sum',", "print('total',"),
            TerminalAction("python src/tool.py 1 2 3 | tr a-z A-Z > out; cat out; ls src"),
            WriteFile("out", "more\n", append=True),
            PythonAction("with open('out') as file: print(file.read())"),
        ],
        "with open('src/tool.py') as file: task_success(file.read())",
    )
    assert play.do() == "import sys\nif True:\n    print('total', sum(map(int, sys.argv[1:])))\n"
    assert play.observed(1) == (
        "[1 of 5: write_file src/tool.py]\nwrote src/tool.py: 66 bytes, 3 lines",
        "[2 of 5: edit_file src/tool.py]\nsrc/tool.py: replaced 1 place",
        "[3 of 5: terminal_action]\nTOTAL 6\ntool.py",
        "[4 of 5: write_file out]\nappended to out: 5 bytes, 1 lines",
        "[5 of 5: python_action]\nTOTAL 6\nmore",
    )


@pytest.mark.parametrize(
    ("isolation", "policy"), [*((each, "default") for each in ISOLATIONS), ("kernel", "full-python")]
)
def test_python_of_the_terminal_imports_files_as_they_are_by_then(pool: agex.Pool, isolation: str, policy: str) -> None:
    shown = "python -c 'import helpers.it as it; print(it.x)'"
    play = Play(
        pool,
        isolation,
        [
            WriteFile("helpers/it.py", "print('it says', end=' ')\nx = 1\n"),
            PythonAction("import helpers.it as it\nprint(it.x)"),
            EditFile("helpers/it.py", "x = 1", "x = 2"),
            TerminalAction(f"{shown}; sed -i 's/= 2/= 3/' helpers/it.py; {shown}"),
            PythonAction("import helpers.it as it\nprint(it.x)"),
        ],
        DONE,
        policy=policy,
    )
    play.do()
    told = play.observed(1)
    assert [told[place].partition("\n")[2] for place in (1, 3, 4)] == [
        "it says 1",
        "it says 2\nit says 3",
        "it says 3",
    ]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (WriteFile("../x", "y"), "outside the workspace"),
        (WriteFile("/etc/x", "y"), "outside the workspace"),
        (WriteFile("", "y"), "path is empty"),
        (WriteFile(".", "y"), "Is a directory"),
        (WriteFile("big", "y" * ((1 << 20) + 1)), "at most 1048576 are taken at once"),
        (EditFile("nosuch", "a", "b"), "No such file or directory: 'nosuch'"),
        (EditFile("/etc/passwd", "root", "toor"), "outside the workspace"),
        (EditFile("bytes", "a", "b"), "bytes is not UTF-8 text (byte 1)"),
        (EditFile("huge", "a", "b"), "huge has more than 8 MiB"),
        (EditFile("text", "b", "c"), "search is there 2 times (at lines 2, 3)"),
        (EditFile("text", "aaaa", "c"), "search was not found."),
        (TerminalAction("cat /etc/passwd"), "outside the workspace"),
        (TerminalAction("for"), "[exit code 2]"),
        (TerminalAction("exit 9"), "[exit code 9]"),
        (TerminalAction("python -c 'task_success(1)'"), "name 'task_success' is not defined"),
    ],
)
def test_what_cannot_be_done_is_told_and_the_later_actions_are_not_run(
    pool: agex.Pool, isolation: str, action: Any, said: str
) -> None:
    play = Play(pool, isolation, MADE, [action, PythonAction("1")], DONE)
    assert play.do() == 0
    first, second = play.observed(2)
    assert said in first
    assert second == "[2 of 2: python_action]\nnot run: action 1 failed"


def test_output_without_end_is_cut_at_the_deadline_and_what_came_before_is_kept(
    pool: agex.Pool, isolation: str
) -> None:
    play = Play(
        pool, isolation, [TerminalAction("echo first; while true; do seq 1 5000; done")], DONE, action_timeout_s=1.0
    )
    assert play.do() == 0
    (text,) = play.observed(1)
    assert text.startswith("first\n1\n2\n") and "characters left out" in text
    assert "The process that ran this action was ended (timeout:" in text
    assert len(text) < 20_000


@pytest.mark.parametrize("isolation", ["process", "kernel"])
def test_memory_without_end_ends_the_action_and_not_the_task(pool: agex.Pool, isolation: str) -> None:
    commands = "x=a; while true; do x=$x$x; done; echo after"
    play = Play(pool, isolation, [TerminalAction(commands)], [PythonAction("print('on')")], DONE, action_timeout_s=20.0)
    assert play.do() == 0
    assert (play.observed(1), play.observed(2)) == (("MemoryError",), ("on",))


def test_the_same_over_http_with_the_tools_as_a_server_sees_them(pool: agex.Pool) -> None:
    script = [Reply(actions=[WriteFile("a", "x\n"), TerminalAction("cat a; false"), WriteFile("b", "y")]), DONE]
    with scripted_server(script) as url:
        agent = agex.Agent(isolation="kernel", llm=OpenAI("m", base_url=url, api_key="none"), pool=pool)

        @agent.task
        def do() -> int:
            """Do."""
            raise NotImplementedError

        outcome = do.run()
    assert outcome.value == 0
    texts = [event.text for event in outcome.events if isinstance(event, agex.OutputEvent)]
    assert texts == [
        "[1 of 3: write_file a]\nwrote a: 2 bytes, 1 lines",
        "[2 of 3: terminal_action]\nx\n[exit code 1]",
    ]


@pytest.mark.parametrize("policy", ["strict", "dataframes", "full-python"])
def test_every_packaged_policy_lets_the_terminal_work(pool: agex.Pool, policy: str) -> None:
    commands = TerminalAction("for x in b a; do echo $x; done | sort > f; python -c 'print(1 + 1)'; cat f")
    play = Play(pool, "kernel", [commands, EditFile("f", "a\n", "c\n")], DONE, policy=policy)
    assert play.do() == 0
    assert play.observed(1) == ("[1 of 2: terminal_action]\n2\na\nb", "[2 of 2: edit_file f]\nf: replaced 1 place")


def test_somebody_without_privileges_has_the_same_terminal() -> None:
    example = Path(__file__).parents[2] / "examples" / "terminal.py"
    finished = subprocess.run(
        [sys.executable, str(example)], user=need_nobody(), env={}, capture_output=True, text=True, timeout=120
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.endswith("tea     3 pieces\ncup    12 pieces\n")


# --- commands of the application ---


def test_a_command_runs_here_in_a_pipe_and_works_on_the_workspace_through_the_worker(
    pool: agex.Pool, isolation: str
) -> None:
    play = Play(
        pool,
        isolation,
        [WriteFile("d/in.txt", "hello"), TerminalAction("echo abc | shout -n 'x y' | tr a-z A-Z; cat from-host")],
        DONE,
    )
    seen: list[Any] = []

    @play.agent.terminal
    def shout(ctx: CommandContext) -> None:
        """Say it louder."""
        seen.append((ctx.args, ctx.stdin, ctx.files.list(), ctx.files.glob("*.txt"), ctx.files.read("d/in.txt")))
        ctx.files.write("from-host", ctx.stdin.upper())
        ctx.stdout.write(f"said by {threading.current_thread().name}\n")

    assert play.do() == 0
    assert seen == [(["-n", "x y"], "abc\n", ["d/in.txt"], [], b"hello")]
    assert play.observed(1)[1] == "[2 of 2: terminal_action]\nSAID BY SHOUT\nABC"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("fail", "[stderr]\nbroken: not like this\n[exit code 7]"),
        ("raise", "[stderr]\nbroken: KeyError: 'x\\x1b'\n[exit code 1]"),
        ("exit", "[stderr]\nbroken: SystemExit: 0\n[exit code 1]"),
        ("flood", "[stderr]\nbroken: ValueError: more than 1048576 characters of output: write a file by ctx.files"),
        (
            "outside",
            "[stderr]\nbroken: PermissionError: open of '../x' refused: it is, or leads, outside the workspace",
        ),
        (
            "missing",
            "[stderr]\nbroken: FileNotFoundError: [Errno 2] No such file or directory: 'nosuch'\n[exit code 1]",
        ),
    ],
)
def test_a_command_that_ends_badly_is_an_exit_code_and_a_text(
    pool: agex.Pool, isolation: str, how: str, said: str
) -> None:
    play = Play(pool, isolation, [TerminalAction(f"broken {how}")], DONE)

    @play.agent.terminal
    def broken(ctx: CommandContext) -> None:
        match ctx.args[0]:
            case "fail":
                ctx.fail("not like this", exit_code=7)
            case "raise":
                raise KeyError("x\x1b")
            case "exit":
                raise SystemExit(0)
            case "flood":
                ctx.stdout.write("x" * ((1 << 20) + 1))
            case "outside":
                ctx.files.write("../x", b"y")
            case _:
                ctx.files.read("nosuch")

    assert play.do() == 0
    assert play.observed(1)[0].startswith(said)


def test_a_policy_can_keep_back_what_a_command_raised(pool: agex.Pool) -> None:
    policy = agex.Policy.load("default").extend({"host_calls": {"errors": "type"}})
    play = Play(pool, "kernel", [TerminalAction("secretive")], DONE, policy=policy)

    @play.agent.terminal
    def secretive(ctx: CommandContext) -> None:
        raise ValueError("password")

    assert play.do() == 0
    assert play.observed(1)[0] == (
        "[stderr]\nsecretive: ValueError (the policy keeps back why: host_calls.errors)\n[exit code 1]"
    )


def test_commands_are_shown_by_their_visibility_and_all_of_them_have_their_help(pool: agex.Pool) -> None:
    play = Play(pool, "kernel", [TerminalAction("low-one --help")], DONE)

    def handler(ctx: CommandContext) -> None:
        """The first line.

        The rest."""

    play.agent.terminal(handler, name="high-one")
    play.agent.terminal(handler, name="medium-one", visibility="medium")
    play.agent.terminal(handler, name="low-one", visibility="low", docstring="Hidden.")
    assert play.do() == 0
    shown = next(tool.description for tool in play.model.requests[0].tools if tool.name == "terminal_action")
    assert shown.endswith("more):\nhigh-one: The first line.\n\nThe rest.\nmedium-one: The first line.")
    assert play.observed(1) == ("low-one: Hidden.",)


def test_what_cannot_be_a_command_is_refused_when_it_is_registered() -> None:
    agent = agex.Agent()

    async def waits(ctx: CommandContext) -> None: ...

    def two(one: Any, other: Any) -> None: ...

    def fine(ctx: CommandContext) -> None: ...

    for handler, name, why in (
        (fine, "python", "the shell itself has this word"),
        (fine, "for", "the shell itself has this word"),
        (fine, "a b", "a name is a letter"),
        (fine, "-x", "a name is a letter"),
        (fine, "", "a name is a letter"),
        (waits, None, "a command is a plain function"),
        (two, None, "called with one argument"),
        (3, "x", "takes a function"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            agent.terminal(handler, name=name)  # type: ignore[type-var, call-overload]
    with pytest.raises(ConfigurationError, match="visibility is high, medium or low"):
        agent.terminal(fine, visibility="loud")  # type: ignore[call-overload]


@pytest.mark.parametrize("isolation", ["process", "kernel"])
def test_a_worker_that_dies_under_a_command_leaves_none_waiting(pool: agex.Pool, isolation: str) -> None:
    play = Play(pool, isolation, [TerminalAction("stuck")], DONE, action_timeout_s=2.0)
    ended = threading.Event()
    told: list[str] = []

    @play.agent.terminal
    def stuck(ctx: CommandContext) -> None:
        play.do.cancel()  # its worker is killed while it waits for this command
        try:
            ctx.files.read("x")
        except Exception as error:
            told.append(type(error).__name__)
        finally:
            ended.set()

    assert play.do.run().status == "cancelled"
    assert ended.wait(30.0) and told == ["CommandAbandoned"]


def test_scripts_have_no_name_for_the_commands_of_the_terminal(pool: agex.Pool) -> None:
    play = Play(pool, "none", "import terminal", "print(secret)", DONE)

    @play.agent.terminal
    def secret(ctx: CommandContext) -> None:
        raise AssertionError("nobody calls it")

    assert play.do() == 0
    assert "is not registered" in play.observed(1)[0] and "NameError: name 'secret'" in play.observed(2)[0]


def test_a_command_that_prints_no_text_ends_with_an_error_and_keeps_nobody_waiting(
    pool: agex.Pool, isolation: str
) -> None:
    play = Play(pool, isolation, [TerminalAction("wrong")], DONE)

    @play.agent.terminal
    def wrong(ctx: CommandContext) -> None:
        ctx.stdout.write(b"bytes")  # type: ignore[arg-type]

    assert play.do() == 0
    said = "wrong: TypeError: text is printed, not bytes; write bytes to a file by ctx.files"
    assert play.observed(1) == (f"[stderr]\n{said}\n[exit code 1]",)


def test_a_command_sees_files_as_the_application_sees_those_of_a_session(pool: agex.Pool, isolation: str) -> None:
    play = Play(pool, isolation, [WriteFile("a.txt", ""), WriteFile("d/b.txt", ""), TerminalAction("look")], DONE)
    seen: list[Any] = []

    @play.agent.terminal
    def look(ctx: CommandContext) -> None:
        files: Any = ctx.files
        seen.extend([files.list(), files.list("d"), files.list("no"), files.glob("*.txt"), files.glob("**/*.txt")])

    assert play.do() == 0
    files = play.agent.state().files
    both = ["a.txt", "d/b.txt"]
    assert seen == [both, ["d/b.txt"], [], ["a.txt"], both]
    assert seen == [files.list(), files.list("d"), files.list("no"), files.glob("*.txt"), files.glob("**/*.txt")]


def test_tracebacks_name_an_action_by_its_number_among_all_of_the_task(pool: agex.Pool, isolation: str) -> None:
    fails = PythonAction("1 / 0")
    play = Play(
        pool,
        isolation,
        [WriteFile("a", "x"), fails],
        [TerminalAction("ls"), PythonAction("while True: pass")],
        [fails],
        DONE,
        action_timeout_s=2.0,
    )
    assert play.do() == 0
    assert [play.observed(turn)[-1].count(f'File "<action {number}>"') for turn, number in ((1, 2), (3, 5))] == [1, 1]


def test_what_was_printed_by_python_of_the_terminal_before_the_deadline_is_kept(
    pool: agex.Pool, isolation: str
) -> None:
    endless = TerminalAction("python -c 'print(1)\nwhile True: pass'")
    play = Play(pool, isolation, [endless], DONE, action_timeout_s=1.0)
    assert play.do() == 0
    assert play.observed(1)[0].startswith("1\nThe process that ran this action was ended (timeout:")


def test_errors_about_paths_name_them_as_they_were_given(pool: agex.Pool, isolation: str) -> None:
    turns = [
        [WriteFile("d/f", "x")],
        [WriteFile("d", "y")],
        [WriteFile("d/f/g", "y")],
        [WriteFile("e/", "y")],
        [WriteFile("a\0b", "y")],
        [EditFile("", "a", "b")],
        [WriteFile("\ud800", "\ud800")],
        [TerminalAction("cat '\ud800'")],
    ]
    play = Play(pool, isolation, *turns, DONE)
    assert play.do() == 0
    assert [play.observed(turn)[0] for turn in range(2, 9)] == [
        "IsADirectoryError: [Errno 21] Is a directory: 'd'",
        "NotADirectoryError: [Errno 20] Not a directory: 'd/f/g'",
        "IsADirectoryError: [Errno 21] The name of a folder, and a file is wanted: 'e/'",
        "ValueError: path has a character 0 in it, which no name of a file can have",
        "ValueError: path is empty: name a file of the workspace",
        "wrote \\ud800: 6 bytes, 1 lines",
        "\\ud800",
    ]


def test_a_shell_loop_over_errors_whose_text_has_no_end_is_ended_at_the_deadline(
    pool: agex.Pool, isolation: str
) -> None:
    endless = "class Endless(Exception):\n    def __str__(self):\n        while True: pass\nraise Endless"
    commands = TerminalAction("while true; do python endless.py; done")
    play = Play(pool, isolation, [WriteFile("endless.py", endless), commands], DONE, action_timeout_s=1.0)

    assert play.do() == 0
    assert "timeout: the deadline of the action passed" in play.observed(1)[-1]


def test_the_exit_code_of_python_in_the_terminal_is_a_number_whatever_it_was_given(
    pool: agex.Pool, isolation: str
) -> None:
    hostile = (
        "class Code(int):\n    def __and__(self, other): return self\n    def __bool__(self): return True\n"
        "    def __format__(self, how): raise SystemExit(how)\n    def __eq__(self, other): raise SystemExit(4)\n"
        "    __ne__ = __hash__ = __eq__\nclass Silent:\n    def __str__(self): raise SystemExit(5)\n"
        "import sys\nexit(Code(259) if len(sys.argv) < 2 else Silent())"
    )
    actions = [WriteFile("a.py", hostile), TerminalAction("python a.py x"), TerminalAction("python a.py")]
    play = Play(pool, isolation, actions[:1] + actions[2:], actions[1:2], DONE)

    assert play.do() == 0
    assert play.observed(1)[-1] == "[2 of 2: terminal_action]\n[exit code 3]"
    assert play.observed(2)[-1] == "[stderr]\n<what it ends with has no text: SystemExit>\n[exit code 1]"
