"""Skills: folders of instructions that an agent reads when it needs them, as files of its workspace.

A skill is the developer's text, and trusted as such. SKILL.md opens with its front matter, which the prompt is made of;
the rest is read by the agent, or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from agex.errors import ConfigurationError

FOLDER = "skills"
ENTRY = "SKILL.md"

MOST_FILES = 500
MOST_BYTES = 8 << 20
_MOST_DEPTH = 8
_MOST_DESCRIPTION = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FRONT_MATTER = re.compile(r"\A(?:\ufeff)?---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_FORM = "it opens with a line ---, then `name: ...` and `description: ...`, then a line ---"


@dataclass(frozen=True, slots=True)
class Skill:
    """modules: those it tells how to use. contents: its files, by their paths within it, SKILL.md among them."""

    name: str
    description: str
    modules: tuple[str, ...]
    contents: Mapping[str, bytes]

    @property
    def entry(self) -> str:
        """Where the agent reads it, from its working directory."""
        return f"{FOLDER}/{self.name}/{ENTRY}"


class Skills:
    """The skills of one agent, in the order in which they were given."""

    def __init__(self) -> None:
        self._skills: dict[str, Skill] = {}

    def __iter__(self) -> Iterator[Skill]:
        return iter(tuple(self._skills.values()))

    def __len__(self) -> int:
        return len(self._skills)

    def add(self, source: object) -> Skill:
        """Read a skill. ConfigurationError says what is wrong with it, or that there is one of its name."""
        skill = read_skill(source)
        known = self._skills.get(skill.name.casefold())
        if known is not None and known != skill:
            raise ConfigurationError(f"there is a skill {known.name!r} already; give one of the two another `name:`")
        self._skills[skill.name.casefold()] = skill
        return skill

    def files(self) -> Mapping[str, bytes]:
        """What lies below `skills/` in the workspace."""
        return {f"{each.name}/{path}": content for each in self for path, content in each.contents.items()}

    def modules(self) -> Mapping[str, str]:
        """For each module that a skill is about, the file to read."""
        return {module: each.entry for each in self for module in each.modules}

    def check(self, known: Callable[[str], bool]) -> None:
        """ConfigurationError for a skill about a module that code cannot import."""
        for each in self:
            for module in each.modules:
                if not known(module):
                    raise ConfigurationError(
                        f"skill {each.name!r} is about the module {module!r}, which is not registered:"
                        f" agent.module({module!r}), or take it out of `modules:`"
                    )


def read_skill(source: object) -> Skill:
    """A skill from a folder with a SKILL.md, from such a file alone, or from its bytes. ConfigurationError where it is none."""
    if isinstance(source, bytes):
        return _skill({ENTRY: source}, "the skill given as bytes")
    root: Any = Path(source) if isinstance(source, str) else source
    if not isinstance(root, Traversable):
        raise ConfigurationError(
            "skill() takes a path, the bytes of a SKILL.md, or a Traversable of importlib.resources, not an object of type"
            f" {type(source).__name__}"
        )
    where = f"skill {str(root)!r}"
    try:
        if root.is_file():
            return _skill({ENTRY: root.read_bytes()}, where)
        if not root.is_dir():
            raise ConfigurationError(f"{where}: there is no such file or folder")
        contents: dict[str, bytes] = {}
        _collect(root, "", contents, where)
    except OSError as error:
        raise ConfigurationError(f"{where} cannot be read: {error.strerror or error}") from error
    if ENTRY not in contents:
        raise ConfigurationError(f"{where}: the folder has no {ENTRY}; {_FORM}")
    return _skill(contents, where)


def _collect(folder: Traversable, prefix: str, contents: dict[str, bytes], where: str) -> None:
    """Files of a folder and those below it, in the order of their names; what begins with a dot stays out."""
    if prefix.count("/") > _MOST_DEPTH:
        raise ConfigurationError(f"{where}: {prefix} is nested deeper than {_MOST_DEPTH} folders")
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.name.startswith(".") or each.name == "__pycache__":
            continue
        if not each.name.isprintable() or "/" in each.name or "\\" in each.name:
            raise ConfigurationError(f"{where}: {each.name!r} is no name for a file that an agent is to open")
        if each.is_dir():
            _collect(each, f"{prefix}{each.name}/", contents, where)
        else:
            contents[prefix + each.name] = each.read_bytes()
        if len(contents) > MOST_FILES:
            raise ConfigurationError(f"{where}: it has more than {MOST_FILES} files; give data to the task as an input")
        if sum(map(len, contents.values())) > MOST_BYTES:
            raise ConfigurationError(
                f"{where}: it has more than {MOST_BYTES >> 20} MiB; give data to the task as an input"
            )


def _skill(contents: dict[str, bytes], where: str) -> Skill:
    if len(contents[ENTRY]) > MOST_BYTES:
        raise ConfigurationError(f"{where}: it has more than {MOST_BYTES >> 20} MiB; give data to the task as an input")
    try:
        text = contents[ENTRY].decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{where}: {ENTRY} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    front = _front_matter(text, where)
    name = _text(front, "name", where)
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{where}: `name: {name}` becomes a folder: up to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or digit"
        )
    description = " ".join(_text(front, "description", where).split())
    if len(description) > _MOST_DESCRIPTION:
        raise ConfigurationError(
            f"{where}: `description` has {len(description)} characters, and {_MOST_DESCRIPTION} fit into the prompt; move"
            " the rest below the front matter"
        )
    return Skill(name, description, _modules(front, where), MappingProxyType(dict(contents)))


def _front_matter(text: str, where: str) -> dict[str, object]:
    # Here, because few programs have skills.
    import yaml

    found = _FRONT_MATTER.match(text)
    if found is None:
        raise ConfigurationError(f"{where}: {ENTRY} has no front matter; {_FORM}")
    try:
        front: object = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise ConfigurationError(f"{where}: the front matter of {ENTRY} is not YAML: {told}") from error
    if not isinstance(front, dict):
        raise ConfigurationError(f"{where}: the front matter of {ENTRY} has no `name: value` lines; {_FORM}")
    return cast("dict[str, object]", front)


def _text(front: Mapping[str, object], key: str, where: str) -> str:
    value = front.get(key)
    if not isinstance(value, str) or not value.strip():
        told = "is missing" if value is None else f"is {value!r}, and has to be text: put it into quotes"
        raise ConfigurationError(f"{where}: `{key}` of the front matter {told}; {_FORM}")
    return value.strip()


def _modules(front: Mapping[str, object], where: str) -> tuple[str, ...]:
    given = front.get("modules")
    listed: list[object] = [] if given is None else list(given) if isinstance(given, list) else [given]
    for each in listed:
        if not isinstance(each, str) or not all(part.isidentifier() for part in each.split(".")):
            raise ConfigurationError(
                f"{where}: `modules` takes dotted names of modules, such as [pandas], not {each!r}"
            )
    return tuple(str(each) for each in listed)
