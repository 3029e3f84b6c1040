from __future__ import annotations

import hashlib
import importlib
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

import agex
from agex import agent as agent_module
from agex import catalogue
from agex.catalogue import BUDGET_TOKENS, render_registry
from agex.llm import Scripted
from agex.llm.tool_calls import ACTION_OF_TOOL
from agex.prompt import (
    SILENT_TURN,
    TOOLS,
    is_time_to_wrap_up,
    policy_text,
    system_prompt,
    task_message,
    tools,
    wrap_up,
)
from agex.registry import Registry
from agex.render import render_value
from agex.tokens import estimated_tokens
from agex_protocol.plan import Limits
from agex_supervisor.model import Request, UserMessage

POLICY = policy_text(policy="default", isolation="kernel", limits=Limits())


def _system(registry_text: str = "", primer: str | None = None, mode: str = "restricted") -> str:
    return system_prompt(
        agent_name="analyst",
        primer=primer,
        registry_text=registry_text,
        policy_text=POLICY,
        mode=mode,
        max_actions=10,
    )


def test_the_system_prompt_without_registrations_is_small_and_always_the_same() -> None:
    assert len(_system()) < 2000
    assert _system() == _system()


def test_the_system_prompt_says_how_tasks_work_and_end_and_what_the_policy_is() -> None:
    text = _system(registry_text="import pandas", primer="  Round to cents.\n")
    for part in ("python_action", "`inputs`", "print()", "task_success(value)", "task_fail(message)", POLICY):
        assert part in text
    assert "task_clarify(question)" in text and "At most 10 actions" in text
    assert text.endswith("# Instructions from the developer\nRound to cents.")


def test_full_mode_does_not_claim_that_modules_must_be_registered() -> None:
    assert "only the modules listed below can be imported" in _system("import pandas", mode="restricted")
    assert "no modules can be imported" in _system(mode="restricted")
    assert "any installed module can be imported" in _system(mode="full")


def test_the_policy_is_told_in_plain_words() -> None:
    limits = Limits(memory_bytes=512 << 20, wall_time_s=2.5, cpu_time_s=10, threads=4, output_bytes=1000)
    text = policy_text(
        policy="strict",
        isolation="kernel",
        limits=limits,
        read=[f"/data/{n}" for n in range(10)],
        write=["/out"],
        network=["api.example.com:443"],
    )
    assert text.splitlines() == [
        "- Policy 'strict', isolation 'kernel'. What it forbids raises an error; do not try ways around it.",
        "- Files: read and write in the working directory: 512 MiB, 10000 files, 256 MiB each, at most.",
        "- Also readable: /data/0, /data/1, /data/2, /data/3, /data/4, /data/5, /data/6, /data/7, and 2 more.",
        "- Also writeable: /out.",
        "- Network: only api.example.com:443. Other programs cannot be started.",
        "- Limits: 2.5 s for an action, 512 MiB of memory, 10 s of CPU time, 4 threads, 1000 bytes of output.",
    ]
    assert "- Network: none. Other programs cannot be started." in POLICY.splitlines()


def test_what_a_policy_gives_is_told_as_far_as_this_isolation_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGEX_TEST_TOLD", "secret value")
    monkeypatch.delenv("AGEX_TEST_UNSET", raising=False)
    grants = {
        "python": {"mode": "full"},
        "filesystem": {"read": [str(tmp_path)]},
        "network": {"allow": ["api.example.com:443", "[2001:db8::1]:80"]},
        "env": {"pass": ["AGEX_TEST_TOLD", "AGEX_TEST_UNSET"]},
        "host_calls": {"max_rate": "200/s", "max_bytes": "1MiB"},
        "isolation": {"accept": ["process", "none"]},
    }
    policy = agex.Policy.load("default").extend(
        {**grants, "widen": ["python.mode", "filesystem.read", "network.allow", "env.pass"]}
    )

    def told(isolation: str, policy: agex.Policy = policy) -> list[str]:
        text = agex.Agent(isolation=isolation, policy=policy).system_prompt(())
        return text[text.index("# Policy in force") :].splitlines()[3:-1]

    assert told("kernel") == [
        f"- Also readable: {tmp_path}.",
        "- Network: only api.example.com:443, [2001:db8::1]:80. Other programs cannot be started.",
        "- Environment variables: AGEX_TEST_TOLD.",
        "- Calls of functions and objects listed below: at most 200/s and 1MiB.",
    ]
    assert told("process")[0] == "- Network: none. Other programs cannot be started."
    assert "secret value" not in agex.Agent(isolation="kernel", policy=policy).system_prompt(())
    behind_sandbox = policy.extend({"python": {"mode": "restricted"}})
    assert told("kernel", behind_sandbox)[0].startswith("- Network: only")  # code opens workspace files only
    assert told("none", behind_sandbox) == ["- Network: none. Other programs cannot be started."]


def test_the_prompt_of_an_agent_is_the_same_byte_by_byte_for_every_turn_call_and_agent_made_alike() -> None:
    def agent(**choices: object) -> agex.Agent:
        made = agex.Agent(isolation="none", llm=Scripted(["1", "task_success(1)"] * 2), **choices)  # type: ignore[arg-type]
        made.module(pandas)
        made.module(numpy)
        return made

    first, second = agent(), agent()

    @first.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    assert (work(), work()) == (1, 1)
    systems = {request.system for request in first.model.requests}  # type: ignore[attr-defined]
    assert systems == {second.system_prompt(())} and len(first.model.requests) == 4  # type: ignore[attr-defined]
    assert agent(name="Ann").system_prompt(()).startswith("You are Ann, a Python function")
    program = (
        "import agex, hashlib, pandas, numpy\na = agex.Agent()\na.module(pandas)\na.module(numpy)\n"
        "print(hashlib.sha256(a.system_prompt(()).encode()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == hashlib.sha256(second.system_prompt(()).encode()).hexdigest()


def test_a_prompt_is_made_once_until_something_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = agent_module.system_prompt
    monkeypatch.setattr(agent_module, "system_prompt", lambda **given: made.append("x") or real(**given))
    agent = agex.Agent()
    texts = {agent.system_prompt(()) for _ in range(3)}
    assert (len(texts), len(made)) == (1, 1)
    agent.module("hashlib")
    assert "import hashlib" in agent.system_prompt(()) and len(made) == 2


def test_a_second_agent_and_other_tasks_read_nothing_again_and_what_was_defined_anew_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    real = catalogue.render_signature
    monkeypatch.setattr(catalogue, "render_signature", lambda name, *a, **k: read.append(name) or real(name, *a, **k))
    source = """
def rate(code: {0}) -> float: "A rate."
class Book:
    def find(self, key: {0}) -> str: "Find."
    """

    def prompts(scope: dict[str, Any]) -> list[str]:
        agent, other = agex.Agent(), agex.Agent()
        agent.module("statistics")
        agent.fn(scope["rate"])
        agent.fn(other.task("Ask.")(scope["rate"]), name="ask")
        agent.cls(scope["Book"])
        agent.module(scope["book"], name="book")
        return [agent.system_prompt(()), agent.system_prompt((list,))]

    def defined(kind: str) -> dict[str, Any]:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(source.format(kind), scope)
        return scope | {"book": scope["Book"]()}

    first, second = defined("int"), defined("bytes")
    texts = prompts(first)
    assert read != []
    read.clear()
    assert prompts(first) == texts and len(set(texts)) == 1 and read == []
    changed = prompts(second)[0]
    assert changed == texts[0].replace("code: int", "code: bytes").replace("key: int", "key: bytes") != texts[0]


def test_a_module_that_was_loaded_anew_is_shown_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prompt() -> str:
        agent = agex.Agent()
        agent.module("loaded_anew")
        return agent.system_prompt(())

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "loaded_anew.py").write_text("def first(): pass\n")
    assert "first()" in prompt()
    (tmp_path / "loaded_anew.py").write_text("def second(): pass\n")
    importlib.reload(sys.modules["loaded_anew"])
    assert "second()" in prompt()


@pytest.mark.parametrize("runs", ["worker", "host"])
def test_members_for_which_there_is_no_room_are_counted(runs: Any) -> None:
    registry = Registry()
    methods: dict[str, Any] = {f"method_{number}": lambda self: None for number in range(300)}
    registry.cls(type("Wide", (), methods), runs=runs)

    text = render_registry(registry, 400)

    shown = re.findall(r"    \.method_\d+\(", text)
    assert len(shown) > 20 and text.endswith(f"\n    ... and {300 - len(shown)} more")
    assert estimated_tokens(text) <= 400


def test_pandas_and_numpy_together_fit_into_the_budget_of_tokens() -> None:
    registry = Registry()
    registry.module(pandas)
    registry.module(numpy)
    text = render_registry(registry)
    assert 1000 < estimated_tokens(text) <= BUDGET_TOKENS
    assert {"DataFrame(", "concat(", "array(", "linspace("} <= {
        line.partition("(")[0] + "(" for line in text.splitlines()
    }


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("x" * 33, 10), ("语言" * 11, 20)],
)
def test_tokens_are_estimated_by_bytes_so_that_no_tokenizer_is_downloaded(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


def test_documentation_in_another_script_takes_no_more_tokens_than_the_budget() -> None:
    registry = Registry()
    for number in range(30):
        registry.fn(lambda: None, name=f"f{number}", docstring="计算每个地区的收入" * 20)
    text = render_registry(registry, 300)
    assert 150 < estimated_tokens(text) <= 300


def test_a_task_message_carries_everything_of_the_call() -> None:
    text = task_message(
        name="top",
        docstring="The n best rows.\n",
        signature_text="top(df: DataFrame, n: int = 5) -> DataFrame",
        inputs={"df": ("DataFrame", "DataFrame of 2 rows\n  'a'  int64  1, 2"), "n": ("int", "5")},
        return_type_text="DataFrame",
        primer="Sort by the last column.",
    )
    assert text == (
        "Task top\n\ndef top(df: DataFrame, n: int = 5) -> DataFrame\n\nSort by the last column.\n\nThe n best rows.\n\n"
        "Inputs:\n- inputs.df: DataFrame =\nDataFrame of 2 rows\n  'a'  int64  1, 2\n- inputs.n: int = 5\n\n"
        "Finish with task_success(value), where value is of type: DataFrame"
    )


def test_a_task_that_returns_nothing_is_told_to_end_without_a_value() -> None:
    text = task_message(name="go", docstring=None, signature_text="go()", inputs={}, return_type_text=None)
    assert text == "Task go\n\ndef go()\n\nWhen it is done, call task_success() without a value."


def test_all_that_a_model_sees_for_pandas_and_a_million_rows_stays_below_eight_kilobytes() -> None:
    registry = Registry()
    registry.module(pandas)
    frame = pandas.DataFrame({f"column_{n}": numpy.arange(1_000_000) for n in range(12)})
    message = task_message(
        name="summarize",
        docstring="Compute summary statistics for the named columns.",
        signature_text="summarize(df: DataFrame, columns: list[str]) -> dict[str, float]",
        inputs={"df": ("DataFrame", render_value(frame)), "columns": ("list[str]", render_value(["price"]))},
        return_type_text="dict[str, float]",
    )
    request = Request(_system(render_registry(registry)), (UserMessage(message),), TOOLS)
    assert len(str(request).encode()) < 8000


def test_every_tool_has_the_fields_of_its_action_as_parameters() -> None:
    for tool in TOOLS:
        declared = {each.name: each.default is MISSING for each in fields(ACTION_OF_TOOL[tool.name])}
        assert {each.name: each.required for each in tool.parameters} == declared
    assert [tool.name for tool in TOOLS] == list(ACTION_OF_TOOL)


def test_commands_of_the_application_stand_with_the_terminal_and_nowhere_else() -> None:
    shown = {tool.name: tool.description for tool in tools("bundle: Bundles a folder.")}
    assert shown["terminal_action"].endswith("(COMMAND --help says more):\nbundle: Bundles a folder.")
    assert [name for name, text in shown.items() if "bundle" in text] == ["terminal_action"]
    assert tools("") == TOOLS


@pytest.mark.parametrize(("max_actions", "first_told_at"), [(10, 2), (20, 4), (3, 1), (2, 1)])
def test_the_note_to_wrap_up_comes_in_the_last_fifth(max_actions: int, first_told_at: int) -> None:
    told = [left for left in range(max_actions, 0, -1) if is_time_to_wrap_up(left, max_actions)]
    assert told == list(range(first_told_at, 0, -1))


def test_with_a_single_action_there_is_no_note_before_it() -> None:
    assert not is_time_to_wrap_up(1, 1)


def test_notes_say_what_to_call() -> None:
    assert "last action" in wrap_up(1) and "2 actions are left" in wrap_up(2)
    for note in (SILENT_TURN, wrap_up(1), wrap_up(2)):
        assert "task_success" in note and "task_fail" in note
