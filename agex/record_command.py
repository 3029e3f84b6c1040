"""`agex policy record`: run a script in a locked worker, and write the smallest policy that lets it pass."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from agex.errors import ConfigurationError
from agex.lessons import Grant, Most
from agex.recording import MAX_ROUNDS, Recording, record
from agex.rehearsal import Script
from agex_policies.quantities import size_bytes, time_s
from agex_policies.wording import toml
from agex_supervisor.display import display

EXIT_NOT_POSSIBLE = 1


def record_policy(
    file: Annotated[Path, typer.Argument(help="The script.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .toml file to write.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="After --: the script's own arguments, as `argv`.")
    ] = None,
    policy: Annotated[str, typer.Option(help="The policy to stand on: a packaged one's name, or a path.")] = "default",
    module: Annotated[list[str] | None, typer.Option(help="A module that the script may import; repeatable.")] = None,
    workspace: Annotated[
        Path | None, typer.Option(help="A directory to work in, for all runs; by default each has a new one.")
    ] = None,
    max_memory: Annotated[str | None, typer.Option(help="Up to where limits.memory may be raised: 4GiB.")] = None,
    max_time: Annotated[
        str | None, typer.Option(help="Up to where limits.wall_time and limits.cpu_time may be raised: 5min.")
    ] = None,
    max_disk: Annotated[
        str | None, typer.Option(help="Up to where limits.file_size and limits.workspace_size may be raised: 2GiB.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs to learn from, at most.")] = MAX_ROUNDS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Learn from a script what it needs, write the smallest policy that gives it, and see it pass under that.

    The script runs many times, in locked workers, and each time it has what was learnt so far: record nothing that you
    would not let have what it asks for. Exit code 1, and no file, where no policy lets it pass.
    """
    try:
        most = Most(
            memory_bytes=size_bytes(max_memory) if max_memory else None,
            time_s=time_s(max_time) if max_time else None,
            disk_bytes=size_bytes(max_disk) if max_disk else None,
        )
        code = file.read_text(encoding="utf-8")
        script = Script(str(file), code, tuple(arguments or ()), tuple(module or ()), workspace)
        recording = record(script, policy, out, most=most, rounds=rounds, force=force, tell=_progress)
    except (OSError, ValueError, ConfigurationError) as error:
        raise typer.BadParameter(display(str(error))) from error
    if as_json:
        typer.echo(json.dumps({"file": str(out) if recording.passed else None, **dataclasses.asdict(recording)}))
    else:
        _show(recording, out)
    raise typer.Exit(0 if recording.passed else EXIT_NOT_POSSIBLE)


def _progress(line: str) -> None:
    typer.echo(display(line, one_line=True), err=True)


def _show(recording: Recording, out: Path) -> None:
    if recording.passed:
        lines = [f"{out}: passed when replayed, granting {len(recording.grants)} more than its base"]
        lines += [f"  {_entry(grant)}" for grant in recording.grants]
        if recording.untried:
            lines.append(f"  of these {recording.untried} were not tried to do without")
    else:
        lines = [f"no policy was written: {recording.ended}"]
        lines += [f"  {each.what}: {each.reason}" for each in recording.obstacles]
        if recording.grants:
            lines += ["learnt so far:", *(f"  {_entry(grant)}" for grant in recording.grants)]
    typer.echo("\n".join(display(line, one_line=True) for line in lines))


def _entry(grant: Grant) -> str:
    return f"{grant.key} = {toml(grant.value)}  ({grant.why})"
