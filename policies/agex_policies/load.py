"""Finding and reading policy files: packaged names, paths, the folders of AGEX_POLICY_PATH, and the chain of `extends`.

Nothing here knows what the keys mean; see schema.py for that.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agex_policies.errors import PolicyError

PACKAGED = Path(__file__).parent
DEFAULT = "default"

_MOST_BYTES = 1 << 20
_LONGEST_CHAIN = 16


@dataclass(frozen=True, slots=True)
class Document:
    """One policy as it was written. `path` is None where a program gave it, and not a file."""

    name: str
    data: dict[str, Any]
    path: Path | None = None
    text: str = ""

    @property
    def packaged(self) -> bool:
        """Whether it came with agex."""
        return self.path is not None and self.path.parent == PACKAGED

    def line_of(self, key: str) -> int | None:
        """The line that sets this dotted key, or None where it cannot be told."""
        return _line_of(self.text, key)

    def error(self, message: str, *, key: str = "", remedy: str = "") -> PolicyError:
        """A PolicyError that points at this key of this document."""
        return PolicyError(message, remedy=remedy, key=key, file=self.path or self.name, line=self.line_of(key))


def packaged_names() -> tuple[str, ...]:
    """The policies that come with agex."""
    return tuple(sorted(path.stem for path in PACKAGED.glob("*.toml")))


def load_chain(name_or_path: str | Path) -> tuple[Document, ...]:
    """The policy and all that it extends, the root first. PolicyError where one is missing, unreadable or in a circle."""
    document = _read(_find(name_or_path, asked_by=None))
    chain = [document]
    while (parent := _parent(document)) is not None:
        seen = [link.path for link in chain]
        if parent in seen:
            circle = " -> ".join([link.name for link in chain] + [parent.stem])
            raise document.error(f"policies extend each other in a circle: {circle}", key="extends")
        if len(chain) == _LONGEST_CHAIN:
            raise document.error(f"more than {_LONGEST_CHAIN} policies extend one another", key="extends")
        document = _read(parent)
        chain.append(document)
    return tuple(reversed(chain))


def parse(text: str, name: str, path: Path | None = None) -> Document:
    """A Document of TOML text; PolicyError with the line where it is not TOML."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        # "at end of document" names no line
        line = int(found[1]) if found else max(1, text.count("\n") + (not text.endswith("\n")))
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise PolicyError(f"this is not TOML: {reason}", file=path or name, line=line) from error
    return Document(name, data, path, text)


def _parent(document: Document) -> Path | None:
    parent = document.data.get("extends")
    if parent is None:
        return None if document.packaged and document.name == DEFAULT else PACKAGED / f"{DEFAULT}.toml"
    if not isinstance(parent, str) or not parent:
        raise document.error(f"{parent!r} is not the name of, or the path to, a policy", key="extends")
    return _find(parent, asked_by=document)


def _find(name_or_path: str | Path, asked_by: Document | None) -> Path:
    if isinstance(name_or_path, str) and not name_or_path.endswith(".toml") and os.sep not in name_or_path:
        return _find_name(name_or_path, asked_by)
    path = Path(name_or_path)
    if asked_by is not None and asked_by.path is not None:
        path = asked_by.path.parent / path
    if not path.exists():
        raise _missing(f"there is no policy file {path}", "give the path to a .toml, or a name", asked_by)
    return path.resolve()


def _find_name(name: str, asked_by: Document | None) -> Path:
    folders = [Path(folder) for folder in os.environ.get("AGEX_POLICY_PATH", "").split(os.pathsep) if folder]
    found = [folder / f"{name}.toml" for folder in [PACKAGED, *folders] if (folder / f"{name}.toml").exists()]
    if not found:
        known = ", ".join(packaged_names())
        where = f" or in {', '.join(map(str, folders))}" if folders else ""
        remedy = f"packaged are {known}; a file of yours is named by its path, or put into a folder of AGEX_POLICY_PATH"
        raise _missing(f"there is no policy named {name!r} with agex{where}", remedy, asked_by)
    if len(found) > 1:
        places = " and ".join(map(str, found))
        raise _missing(f"the name {name!r} means {places}", "give one of them another name", asked_by)
    return found[0].resolve()


def _missing(message: str, remedy: str, asked_by: Document | None) -> PolicyError:
    if asked_by is None:
        return PolicyError(message, remedy=remedy)
    return asked_by.error(message, key="extends", remedy=remedy)


def _read(path: Path) -> Document:
    try:
        if not path.is_file():
            raise PolicyError("this is not a regular file", file=path)
        if path.stat().st_size > _MOST_BYTES:
            raise PolicyError(f"a policy file has at most {_MOST_BYTES} bytes", file=path)
        text = path.read_bytes().decode()
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", file=path) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise PolicyError("this is not UTF-8 text", file=path, line=line) from error
    return parse(text, path.stem, path)


_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_\-\"'. ]+?)\s*=")


def _line_of(text: str, key: str) -> int | None:
    """tomllib keeps no positions, so look for the assignment, or else for the header of its table."""
    section = ""
    header = None
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _HEADER.match(line):
            section = _bare(found[1])
            if section == key:
                header = number
        elif found := _ASSIGNMENT.match(line):
            assigned = ".".join(filter(None, [section, _bare(found[1])]))
            if assigned == key or key.startswith(assigned + "."):
                return number
    return header


def _bare(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))
