"""What shell text comes to when it is read: commands made of raw words, which are filled in when they are run.

echo a | sort && for f in *.py; do wc -l "$f"; done > counts
`--- Pipeline --'    `--- Loop over words, with its redirects -----'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


class ShellSyntaxError(Exception):
    """The text is no shell text that is understood here; the message says where, and what to do."""


@dataclass(slots=True)
class HereDocument:
    """What stands after the line. It is read after the redirect that speaks of it, so it is filled in then."""

    text: str = ""
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """how: "<", ">", ">>", "<<", "<<<", ">&", "<&", "&>" or "&>>". target: a raw word."""

    descriptor: int
    how: str
    target: str
    document: HereDocument | None = None


Redirects: TypeAlias = tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """NAME=word, or NAME+=word."""

    name: str
    word: str
    adds: bool = False


@dataclass(frozen=True, slots=True)
class Simple:
    """A command and its words, and the variables that are set for it alone."""

    assigns: tuple[Assign, ...]
    words: tuple[str, ...]
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class Group:
    """{ ...; }, or ( ... ), after which variables and the current directory are as before."""

    body: Steps
    apart: bool
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with what follows on each; None is the condition of `else`."""

    branches: tuple[tuple[Steps | None, Steps], ...]
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class While:
    condition: Steps
    body: Steps
    until: bool
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class For:
    """words: None for the arguments of the function or script."""

    name: str
    words: tuple[str, ...] | None
    body: Steps
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class ForSum:
    """for ((first; condition; step))."""

    first: str
    condition: str
    step: str
    body: Steps
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class Case:
    word: str
    branches: tuple[tuple[tuple[str, ...], Steps], ...]
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class Sum:
    """((...)): well where it is not 0."""

    text: str
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class Test:
    """[[ ... ]], its words as they stand there."""

    words: tuple[str, ...]
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    body: Command
    redirects: Redirects = ()


Command: TypeAlias = Simple | Group | If | While | For | ForSum | Case | Sum | Test | Function


@dataclass(frozen=True, slots=True)
class Pipeline:
    """negated: it went well where its last command did not."""

    commands: tuple[Command, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """after: "&&" or "||" where it depends on what came before. last: whether no such step follows."""

    pipeline: Pipeline
    after: Literal[";", "&&", "||"] = ";"
    last: bool = True


Steps: TypeAlias = tuple[Step, ...]
