"""The command line. Exit codes: 0 ok, 1 the code or task failed, 2 usage, 3 isolation unavailable, 4 policy error."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agex.errors import AgexError, IsolationUnavailable, PolicyError
from agex.sandbox import Sandbox, SandboxOutcome
from agex_policies.load import packaged_names
from agex_policies.schema import Policy
from agex_supervisor.display import display
from agex_supervisor.execution import Unsent

EXIT_FAILED, EXIT_USAGE, EXIT_ISOLATION, EXIT_POLICY = 1, 2, 3, 4

app = typer.Typer(
    name="agex",
    help="Typed Python functions whose bodies a language model writes, run in kernel-locked workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
policies = typer.Typer(help="Look at policies.", no_args_is_help=True)
app.add_typer(policies, name="policy")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
PolicyOption = Annotated[str, typer.Option("--policy", help="A packaged policy's name, or a path to a .toml file.")]


def main() -> None:
    """Entry point: runs a command, and turns our errors into one line on stderr and an exit code."""
    try:
        app()
    except IsolationUnavailable as error:
        _die(EXIT_ISOLATION, f"isolation unavailable: {error}")
    except PolicyError as error:
        _die(EXIT_POLICY, f"policy error: {error}")
    except AgexError as error:
        _die(EXIT_FAILED, f"{type(error).__name__}: {error}")


@app.command()
def run(
    file: Annotated[str, typer.Argument(help="The script, or - for standard input.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="After --: the script's own arguments, as `argv`.")
    ] = None,
    policy: PolicyOption = "default",
    isolation: Annotated[str, typer.Option(help="none, process or kernel.")] = "kernel",
    module: Annotated[list[str] | None, typer.Option(help="A module that the script may import; repeatable.")] = None,
    workspace: Annotated[
        str | None, typer.Option(help="A directory to work in; by default one that is thrown away.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds of wall clock; the policy's limit stands.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a Python script in a locked worker. Its output is shown when it has ended."""
    code = _source(file)
    try:
        sandbox = Sandbox(isolation=isolation, policy=policy, modules=module or [], workspace=workspace)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with sandbox:
        outcome = sandbox.run(code, {"argv": [file, *(arguments or [])]}, timeout_s=timeout)
    if as_json:
        typer.echo(json.dumps(_plain(outcome), ensure_ascii=False))
    else:
        _show(outcome)
    raise typer.Exit(0 if outcome.status == "ok" else EXIT_FAILED)


@app.command()
def doctor(policy: PolicyOption = "default", as_json: AsJson = False) -> None:
    """Lock a worker down on this machine, try to break each promise in it, and say what holds."""
    from agex.doctor import examine, show

    findings = examine(policy)
    if as_json:
        typer.echo(json.dumps(findings.to_plain(), ensure_ascii=False))
    else:
        show(findings)
    raise typer.Exit(0 if findings.holds else EXIT_ISOLATION)


@app.command()
def demo() -> None:
    """The main job on bundled data: a scripted model over real HTTP, pandas in a locked worker. Works offline."""
    from agex.demo.orders import show

    show()


@policies.command("list")
def list_policies(as_json: AsJson = False) -> None:
    """The packaged policies, and for whom each is."""
    found = {name: Policy.load(name).description for name in packaged_names()}
    _print(found, as_json, lambda: "\n".join(f"{name:16} {text}" for name, text in found.items()))


@policies.command("show")
def show_policy(
    name: Annotated[str, typer.Argument(help="A packaged name or a path.")], as_json: AsJson = False
) -> None:
    """A policy with everything that it inherits."""
    policy = Policy.load(name)
    _print(policy.model_dump(mode="json"), as_json, policy.to_toml)


@policies.command("check")
def check_policy(
    file: Annotated[str, typer.Argument(help="A packaged name or a path.")], as_json: AsJson = False
) -> None:
    """Say whether a policy file is right; exit code 4 and the reason if it is not."""
    policy = Policy.load(file)
    _print({"policy": policy.name, "ok": True}, as_json, lambda: f"{policy.name}: ok")


@policies.command("schema")
def policy_schema() -> None:
    """The JSON Schema of policy files, for editors."""
    typer.echo(json.dumps(Policy.model_json_schema(), indent=2))


def _source(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}") from error


def _show(outcome: SandboxOutcome) -> None:
    if outcome.stdout:
        typer.echo(display(outcome.stdout), nl=not outcome.stdout.endswith("\n"))
    if outcome.stderr:
        typer.echo(display(outcome.stderr), nl=not outcome.stderr.endswith("\n"), err=True)
    error = outcome.error
    if error is not None:
        typer.echo(display(error.traceback or f"{outcome.status}: {error.message}").rstrip("\n"), err=True)


def _plain(outcome: SandboxOutcome) -> dict[str, Any]:
    record = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    value = record.pop("value")
    shown = dataclasses.asdict(value) if isinstance(value, Unsent) else value
    plain = {key: _as_data(part) for key, part in record.items()}
    return {**plain, "value": shown if _is_json(shown) else display(repr(shown), limit=4000)}


def _as_data(part: Any) -> Any:
    return dataclasses.asdict(part) if dataclasses.is_dataclass(part) and not isinstance(part, type) else part


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _print(data: object, as_json: bool, text: Callable[[], str]) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False) if as_json else text())


def _die(status: int, text: str) -> None:
    typer.echo(f"agex: {display(text)}", err=True)
    raise SystemExit(status)
