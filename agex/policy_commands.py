"""`agex policy ...`: policies listed, shown, checked, explained and compared. Only `record` runs code, in locked workers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Annotated

import typer

from agex.record_command import record_policy
from agex_policies.difference import Difference, differences
from agex_policies.errors import PolicyError
from agex_policies.explain import Answer, Setting, answers_on, settings_of
from agex_policies.load import deployment_names, packaged_names
from agex_policies.schema import Policy
from agex_policies.wording import shown
from agex_supervisor.display import display

policies = typer.Typer(help="Look at policies, and learn one from a script.", no_args_is_help=True)
policies.command("record")(record_policy)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Named = Annotated[str, typer.Argument(help="A packaged name, one of AGEX_POLICY_PATH, or a path to a .toml file.")]

_MOST_CHARS = 1 << 20


@policies.command("list")
def list_policies(as_json: AsJson = False) -> None:
    """The packaged policies and those of AGEX_POLICY_PATH, with a sentence on each."""
    found = {name: _described(name) for name in (*packaged_names(), *deployment_names())}
    _print(found, as_json, lambda: "\n".join(f"{display(name):16} {text}" for name, text in found.items()))


@policies.command("show")
def show_policy(name: Named, as_json: AsJson = False) -> None:
    """A policy with everything that it inherits."""
    policy = Policy.load(name)
    _print(policy.model_dump(mode="json", by_alias=True), as_json, policy.to_toml)


@policies.command("check")
def check_policy(name: Named, as_json: AsJson = False) -> None:
    """Say whether a policy file is right; exit code 4 and the reason if it is not."""
    policy = Policy.load(name)
    _print({"policy": policy.name, "ok": True}, as_json, lambda: f"{policy.name}: ok")


@policies.command("explain")
def explain_policy(
    name: Named,
    on: Annotated[
        list[str] | None,
        typer.Option(help="path:/data/x, host:api.example.com:443 or syscall:ptrace; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Every key with who set it; or what happens to a path, host or system call on this machine, and which key decides."""
    policy = Policy.load(name)
    if not on:
        settings = settings_of(policy)
        plain = {"policy": policy.name, "settings": [dataclasses.asdict(each) for each in settings]}
        _print(plain, as_json, lambda: "\n".join(map(_setting, settings)))
        return
    try:
        answers = [answer for each in on for answer in answers_on(policy, each)]
    except ValueError as error:
        raise typer.BadParameter(display(str(error)), param_hint="--on") from error
    plain = {"policy": policy.name, "answers": [dataclasses.asdict(each) for each in answers]}
    _print(plain, as_json, lambda: "\n".join(map(_answer, answers)))


@policies.command("diff")
def compare_policies(first: Named, second: Named, as_json: AsJson = False) -> None:
    """Where two policies differ, key by key, and which of them allows more there."""
    ours, theirs = Policy.load(first), Policy.load(second)
    found = differences(ours, theirs)
    plain = {
        "first": ours.name,
        "second": theirs.name,
        "differences": [dataclasses.asdict(each) for each in found],
    }
    _print(plain, as_json, lambda: _compared(ours.name, theirs.name, found))


@policies.command("schema")
def policy_schema(as_json: AsJson = False) -> None:
    """The JSON Schema of policy files, for editors. It is JSON with --json and without, then on one line."""
    typer.echo(json.dumps(Policy.model_json_schema(), indent=None if as_json else 2))


def _described(name: str) -> str:
    try:
        return Policy.load(name).description
    except PolicyError as error:
        return f"cannot be used: {error}"


def _setting(setting: Setting) -> str:
    return f"{setting.key:24} {shown(setting.value):24} {', '.join(setting.set_by) or 'by default'}"


def _answer(answer: Answer) -> str:
    lines = [f"{answer.subject}: {'allowed' if answer.allowed else 'denied'}", f"  because: {answer.why}"]
    key = answer.key or "no key of a policy"
    lines.append(f"  decided by: {key}{f', set in {answer.set_by}' if answer.set_by else ''}")
    if answer.to_allow:
        lines.append(f"  to allow it: {answer.to_allow}")
    return "\n".join(lines)


def _compared(first: str, second: str, found: tuple[Difference, ...]) -> str:
    wider = {
        "first": f"{first} allows more",
        "second": f"{second} allows more",
        "both": "each allows what the other does not",
    }
    wider |= {"neither": "the same, written differently", "": "grants nothing"}
    if not found:
        return f"{first} and {second} say the same"
    return "\n".join(
        f"{each.key:24} {shown(each.first):24} {shown(each.second):24} {wider[each.wider]}" for each in found
    )


def _print(data: object, as_json: bool, text: Callable[[], str]) -> None:
    typer.echo(json.dumps(data) if as_json else display(text(), limit=_MOST_CHARS))
