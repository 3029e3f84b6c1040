"""The command line. Exit codes: 0 ok, 1 the code or task failed, 2 usage, 3 isolation unavailable, 4 policy error."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from agex.errors import AgexError, IsolationUnavailable, PolicyError
from agex.policy_commands import AsJson, policies
from agex.sandbox import Sandbox, SandboxOutcome
from agex.state_commands import states
from agex_supervisor.display import display
from agex_supervisor.execution import Unsent

EXIT_FAILED, EXIT_ISOLATION, EXIT_POLICY = 1, 3, 4  # 2 is given by typer

app = typer.Typer(
    name="agex",
    help="Typed Python functions whose bodies a language model writes, run in kernel-locked workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(policies, name="policy")
app.add_typer(states, name="state")

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
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say what was refused to the script also where it ended well.")
    ] = False,
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
        # In ASCII: no terminal control of the script's reaches a terminal.
        typer.echo(json.dumps(_plain(outcome)))
    else:
        _show(outcome, verbose)
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


def _source(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(display(f"{file} cannot be read: {error}")) from error


def _show(outcome: SandboxOutcome, verbose: bool) -> None:
    if outcome.stdout:
        typer.echo(display(outcome.stdout), nl=not outcome.stdout.endswith("\n"))
    if outcome.stderr:
        typer.echo(display(outcome.stderr), nl=not outcome.stderr.endswith("\n"), err=True)
    error = outcome.error
    if error is not None:
        typer.echo(display(error.traceback or f"{outcome.status}: {error.message}").rstrip("\n"), err=True)
    if verbose or outcome.status != "ok":
        for denial in outcome.denials:
            typer.echo(f"denied: {denial}", err=True)


def _plain(outcome: SandboxOutcome) -> dict[str, Any]:
    record = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    value = record.pop("value")
    shown = dataclasses.asdict(value) if isinstance(value, Unsent) else value
    plain = {key: _as_data(part) for key, part in record.items()}
    return {**plain, "value": shown if _is_json(shown) else display(repr(shown), limit=4000)}


def _as_data(part: Any) -> Any:
    if isinstance(part, list):
        return [_as_data(each) for each in part]
    return dataclasses.asdict(part) if dataclasses.is_dataclass(part) and not isinstance(part, type) else part


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _die(status: int, text: str) -> None:
    typer.echo(f"agex: {display(text)}", err=True)
    raise SystemExit(status)
