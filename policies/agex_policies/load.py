"""Finding and reading policy files: packaged names, paths, the folders of AGEX_POLICY_PATH, and the chain of `extends`.

Nothing here knows what the keys mean; see schema.py for that. No file is read that agent code could have written: the
workspaces of this machine's supervisors are refused here, a workspace of the caller's own by `refuse_documents_in`.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from agex_policies.errors import PolicyError
from agex_policies.sources import Way, way_to

PACKAGED = Path(__file__).resolve().parent
DEFAULT = "default"

_MOST_BYTES = 1 << 20
_LONGEST_CHAIN = 16


@dataclass(frozen=True, slots=True)
class Document:
    """One policy as it was written. `path` and `way` are None where a program gave it, and not a file."""

    name: str
    data: dict[str, Any]
    path: Path | None = None
    text: str = ""
    way: Way | None = None

    @property
    def packaged(self) -> bool:
        """Whether it came with agex."""
        return self.path is not None and self.path.parent == PACKAGED

    def line_of(self, key: str) -> int | None:
        """The line that sets this dotted key, or None where it cannot be told."""
        return _line_of(self.text, key)

    def sets(self, key: str) -> bool:
        """Whether it has a value for this dotted key."""
        table, _, leaf = key.rpartition(".")
        section = self.data.get(table) if table else self.data
        return isinstance(section, Mapping) and leaf in section

    def error(self, message: str, *, key: str = "", remedy: str = "") -> PolicyError:
        """A PolicyError that points at this key of this document."""
        return PolicyError(message, remedy=remedy, key=key, file=self.path or self.name, line=self.line_of(key))


def packaged_names() -> tuple[str, ...]:
    """The policies that come with agex."""
    return _names_in([PACKAGED])


def deployment_names() -> tuple[str, ...]:
    """The policies in the folders of AGEX_POLICY_PATH, right or wrong."""
    return _names_in(_folders())


def load_chain(name_or_path: str | Path) -> tuple[Document, ...]:
    """The policy and all that it extends, the root first. PolicyError where one is missing, unreadable or in a circle."""
    document = _read(_find(name_or_path, asked_by=None))
    chain = [document]
    while (parent := _parent(document)) is not None:
        seen = [link.path for link in chain]
        if parent.file in seen:
            circle = " -> ".join([link.name for link in chain] + [parent.file.stem])
            raise document.error(
                f"policies extend each other in a circle: {circle}",
                key="extends",
                remedy="let one of them extend a policy outside of the circle",
            )
        if len(chain) == _LONGEST_CHAIN:
            remedy = "put some of them together"
            raise document.error(
                f"more than {_LONGEST_CHAIN} policies extend one another", key="extends", remedy=remedy
            )
        document = _read(parent)
        chain.append(document)
    return tuple(reversed(chain))


def parse(text: str, name: str, path: Path | None = None, way: Way | None = None) -> Document:
    """A Document of TOML text; PolicyError with the line where it is not TOML."""
    try:
        data = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or an integer with more digits than Python reads
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        # "at end of document" names no line
        line = int(found[1]) if found else max(1, text.count("\n") + (not text.endswith("\n")))
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise PolicyError(f"this is not TOML: {reason}", remedy=_WRITE_TOML, file=path or name, line=line) from error
    except RecursionError:
        message = "lists or tables are nested too deep"
        raise PolicyError(message, remedy="no key takes more than a list of tables", file=path or name) from None
    return Document(name, data, path, text, way)


def refuse_documents_in(chain: Sequence[Document], directory: Path, what: str) -> None:
    """PolicyError where one of a chain was read from, or by way of, a directory in which agent code can write.

    `what` names the directory in the message: "the workspace".
    """
    for document, child in zip_longest(chain, chain[1:]):
        if document.way is None or not document.way.leads_through(directory):
            continue
        fault = f"is reached through {what} {directory}, where agent code could change it"
        if child is not None and child.line_of("extends"):
            raise child.error(f"{document.path} {fault}", key="extends", remedy=_ELSEWHERE)
        raise document.error(f"this policy {fault}", remedy=_ELSEWHERE)


_WRITE_TOML = "see https://toml.io, or start from the output of `agex policy show default`"
_ELSEWHERE = "keep policies, and links to them, where no agent works"


def _parent(document: Document) -> Way | None:
    parent = document.data.get("extends")
    if parent is None:
        return None if document.packaged and document.name == DEFAULT else way_to(PACKAGED / f"{DEFAULT}.toml")
    if not isinstance(parent, str) or not parent:
        remedy = 'write it like "default" or "../base.toml"'
        raise document.error(f"{parent!r} is not the name of, or the path to, a policy", key="extends", remedy=remedy)
    return _find(parent, asked_by=document)


def _find(name_or_path: str | Path, asked_by: Document | None) -> Way:
    if isinstance(name_or_path, str) and not name_or_path.endswith(".toml") and os.sep not in name_or_path:
        path = _named(name_or_path, asked_by)
    else:
        path = Path(name_or_path)
        if asked_by is not None and asked_by.path is not None:
            path = asked_by.path.parent / path
    try:
        way = way_to(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL, or text that no path can hold
        raise _missing(f"there is no policy file {path}", "give the path to a .toml, or a name", asked_by) from None
    except OSError as error:
        raise _missing(f"{path} cannot be reached: {error.strerror}", "give another path", asked_by) from error
    if scratch := way.scratch():
        message = f"{path} is reached through {scratch}, which holds workspaces: agent code could change it there"
        raise _missing(message, _ELSEWHERE, asked_by)
    return way


def _named(name: str, asked_by: Document | None) -> Path:
    folders = _folders()
    found = [folder / f"{name}.toml" for folder in [PACKAGED, *folders] if _is_there(folder / f"{name}.toml")]
    if not found:
        known = ", ".join(packaged_names())
        where = f" or in {', '.join(map(str, folders))}" if folders else ""
        remedy = f"packaged are {known}; a file of yours is named by its path, or put into a folder of AGEX_POLICY_PATH"
        raise _missing(f"there is no policy named {name!r} with agex{where}", remedy, asked_by)
    if len(found) > 1:
        places = " and ".join(map(str, found))
        raise _missing(f"the name {name!r} means {places}", "give one of them another name", asked_by)
    return found[0]


def _folders() -> list[Path]:
    return [Path(folder) for folder in os.environ.get("AGEX_POLICY_PATH", "").split(os.pathsep) if folder]


def _names_in(folders: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted({path.stem for folder in folders for path in folder.glob("*.toml")}))


def _is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def _missing(message: str, remedy: str, asked_by: Document | None) -> PolicyError:
    if asked_by is None:
        return PolicyError(message, remedy=remedy)
    return asked_by.error(message, key="extends", remedy=remedy)


def _read(way: Way) -> Document:
    path = way.file
    try:
        # Looked at first, because to open a device can be to use it; looked at again, because it may be another now.
        _refuse_irregular(path, os.stat(path, follow_symlinks=False))
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            _refuse_irregular(path, os.fstat(descriptor))
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            remedy = "write paths and modules by the directories and packages that hold them"
            raise PolicyError(f"a policy file has at most {_MOST_BYTES} bytes", remedy=remedy, file=path)
        text = content.decode()
    except OSError as error:
        remedy = f"let user {os.geteuid()} read it, or name another"
        raise PolicyError(f"cannot be read: {error.strerror}", remedy=remedy, file=path) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise PolicyError("this is not UTF-8 text", remedy="save it as UTF-8", file=path, line=line) from error
    return parse(text, path.stem, path, way)


def _refuse_irregular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PolicyError("this is not a regular file", remedy="name a .toml file", file=path)


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
