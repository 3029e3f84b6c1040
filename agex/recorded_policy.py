"""The policy file that a recording writes: what was learnt, each grant with its reason, and how it gets its place."""

from __future__ import annotations

import contextlib
import datetime
import os
import stat
import tempfile
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from agex.errors import ConfigurationError
from agex.lessons import Grant
from agex_policies.schema import Policy
from agex_policies.wording import toml
from agex_supervisor.display import display


def changes(grants: Iterable[Grant]) -> dict[str, Any]:
    """The grants as data that extends a policy."""
    found = _by_key(grants)
    tables: dict[str, Any] = {"widen": list(found)}
    for key, given in found.items():
        table, leaf = key.split(".")
        tables.setdefault(table, {})[leaf] = given[0].value if given[0].is_limit else [each.value for each in given]
    return tables


def text(script: str, base: Policy, place: Path, grants: Iterable[Grant]) -> str:
    """The same as a file for `place`, by comments for people. script: the name of what was recorded."""
    name = display(script, limit=200, one_line=True)
    under = display(base.name, limit=200, one_line=True)
    found = _by_key(grants)
    lines = [
        f"# For {name}, recorded on {datetime.date.today()}: what it was refused under {under}, and needs to pass.",
        "# Whoever wrote the script decided what it asks for, so read each grant before you use this.",
        "",
        f"extends = {toml(_extended(base, place))}",
        f"widen = {toml(list(found))}",
        f"description = {toml(f'Recorded from {name}.')}",
    ]
    section = ""
    for key, given in found.items():
        table, leaf = key.split(".")
        if table != section:
            lines += ["", f"[{table}]"]
            section = table
        if given[0].is_limit:
            lines.append(f"{leaf} = {toml(given[0].value)}  # {_comment(given[0])}")
        else:
            entries = [f"    {toml(each.value)},  # {_comment(each)}" for each in given]
            lines += [f"{leaf} = [", *entries, "]"]
    return "\n".join(lines) + "\n"


def checked_place(out: Path, workspace: Path | None, force: bool) -> Path:
    """Where to write, its folder resolved. ConfigurationError where that cannot be."""
    place = Path(os.path.realpath(out.parent)) / out.name
    if place.suffix != ".toml":
        raise ConfigurationError(f"{out} does not end in .toml, so it could not be told from the name of a policy")
    if not place.parent.is_dir() or not os.access(place.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{place.parent} is no folder that can be written in; make it first")
    if os.path.lexists(place) and (place.is_symlink() or not place.is_file()):
        raise ConfigurationError(f"{out} is no regular file; name another")
    if place.exists() and not force:
        raise ConfigurationError(f"{out} exists already; name another file, or overwrite it with --force")
    if workspace is not None and place.is_relative_to(os.path.realpath(workspace)):
        raise ConfigurationError(f"{out} lies in the workspace, where the script could change it; write it elsewhere")
    return place


@contextlib.contextmanager
def draft_of(content: str, folder: Path) -> Generator[Path]:
    """The content in a file of this folder, where its relative paths mean what they will mean; removed in the end."""
    descriptor, name = tempfile.mkstemp(suffix=".toml", dir=folder)
    draft = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def put(draft: Path, place: Path, force: bool) -> None:
    """Give the draft its name, whole or not at all. ConfigurationError where somebody took the name meanwhile."""
    try:
        with open(place, "a" if force else "x"):
            pass  # made for its mode, which is that of other new files here
    except FileExistsError as error:
        raise ConfigurationError(f"{place} was written by somebody else meanwhile, and was left alone") from error
    draft.chmod(stat.S_IMODE(place.stat().st_mode))
    draft.replace(place)


def _by_key(grants: Iterable[Grant]) -> dict[str, list[Grant]]:
    found: dict[str, list[Grant]] = {}
    for grant in sorted(grants, key=lambda each: (each.key, str(each.value))):
        found.setdefault(grant.key, []).append(grant)
    return found


def _comment(grant: Grant) -> str:
    return display(grant.why, limit=300, one_line=True)


def _extended(base: Policy, place: Path) -> str:
    """A packaged policy by its name, any other by the way to its file, so that both can be moved together."""
    if base.source is None or base.origin.packaged:
        return base.name
    return os.path.relpath(base.source, place.parent)
