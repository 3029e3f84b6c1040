"""Policy: what a person writes. The keys are in sections.py; here is how a file becomes a Policy, each narrowing its parent."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError

from agex_policies import sections
from agex_policies.complaints import first_wrong, nearest
from agex_policies.errors import PolicyError
from agex_policies.load import DEFAULT, Document, load_chain, parse, refuse_documents_in
from agex_policies.narrowing import WITHIN, Values, wider_keys
from agex_policies.wording import shown, toml


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a policy comes from: `chain` is all that it stands on and itself, the root first.

    `named` are the keys that documents not packaged with agex set, on the way up to it.
    """

    name: str = "unnamed"
    source: Path | None = None
    packaged: bool = False
    named: frozenset[str] = frozenset()
    chain: tuple[Document, ...] = ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that it was read from, the root first."""
        return tuple(document.path for document in self.chain if document.path is not None)


class Policy(sections.Section):
    """What agent code may do and use. Immutable; made by `Policy.load` or `.extend`, which check what it grants."""

    model_config = ConfigDict(
        title="agex policy", json_schema_extra={"$schema": "https://json-schema.org/draft/2020-12/schema"}
    )

    extends: str | None = Field(
        default=None,
        description="The policy that this one narrows: a name, or a path from this file; by default 'default'.",
        examples=["strict", "../base.toml"],
    )
    widen: tuple[str, ...] = Field(
        default=(),
        description="Keys such as 'limits.memory' in which this policy allows more than the one it extends.",
        json_schema_extra={"items": {"type": "string", "enum": list(WITHIN)}},
    )
    description: str = Field(default="", description="One sentence for people.")
    python: sections.Python = sections.Python()
    filesystem: sections.Filesystem = sections.Filesystem()
    network: sections.Network = sections.Network()
    syscalls: sections.Syscalls = sections.Syscalls()
    limits: sections.Limits = sections.Limits()
    results: sections.Results = sections.Results()
    host_calls: sections.HostCalls = sections.HostCalls()
    isolation: sections.Isolation = sections.Isolation()
    env: sections.Env = sections.Env()

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """The policy of this name ("default", "strict", or a file in AGEX_POLICY_PATH) or in this .toml file.

        PolicyError where it is missing, wrong, wider than what it extends, or beyond AGEX_POLICY_CEILING.
        """
        policy = cls._of(load_chain(name_or_path))
        policy.check_ceiling()
        return policy

    def extend(self, changes: Mapping[str, Any] | str) -> Self:
        """This policy, changed by a mapping or by TOML text under the rules of a file that extends it."""
        name = f"{self.name} (extended)"
        document = parse(changes, name) if isinstance(changes, str) else Document(name, dict(changes))
        if "extends" in document.data:
            remedy = "leave `extends` out"
            raise document.error(f"this extends {self.name!r} already", key="extends", remedy=remedy)
        policy = self._narrowed(document)
        policy.check_ceiling()
        return policy

    @property
    def name(self) -> str:
        """The packaged name, or that of the file."""
        return self._origin.name

    @property
    def source(self) -> Path | None:
        """The file it was read from; None where a program made it."""
        return self._origin.source

    @property
    def origin(self) -> Origin:
        """All that is known of where it comes from."""
        return self._origin

    def set_by(self, key: str) -> Document:
        """The document that gave this dotted key its value, for messages; the policy's own where none of them did."""
        chain = self._origin.chain or (Document(self.name, {}),)
        return next((document for document in reversed(chain) if document.sets(key)), chain[-1])

    def check_ceiling(self) -> None:
        """PolicyError where this allows more than the policy that AGEX_POLICY_CEILING names; nothing is ever clamped."""
        named = os.environ.get("AGEX_POLICY_CEILING")
        if not named:
            return
        ceiling = _ceiling(named)
        beyond = wider_keys(values(self), values(ceiling))
        if beyond:
            mine, most = values(self)[beyond[0]], values(ceiling)[beyond[0]]
            raise self.set_by(beyond[0]).error(
                f"{shown(mine)} is beyond the ceiling {ceiling.name!r}, which allows {shown(most)}",
                key=beyond[0],
                remedy="ask for less; whoever set AGEX_POLICY_CEILING can allow more",
            )

    def to_toml(self) -> str:
        """Text that loads as the same policy from any folder. It stands on `default`, and names where it is wider."""
        root = values(self._of(load_chain(DEFAULT)))
        mine = values(self)
        lines = [f"extends = {toml(DEFAULT)}", f"widen = {toml(wider_keys(mine, root))}"]
        lines.append(f"description = {toml(self.description)}")
        section = ""
        for key, value in mine.items():
            if value is None:
                continue
            table, leaf = key.split(".")
            if table != section:
                lines += ["", f"[{table}]"]
                section = table
            lines.append(f"{leaf} = {toml(value)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def _of(cls, chain: tuple[Document, ...]) -> Self:
        root = cls()
        root._origin = Origin(chain[0].name, chain[0].path, packaged=True)
        policy = root
        for document in chain:
            policy = policy._narrowed(document)
        return policy

    def _narrowed(self, document: Document) -> Self:
        changes = _absolute(document)
        before = values(self)
        try:
            policy = self.model_validate(_merged(before, changes))
        except ValidationError as error:
            raise first_wrong(document, error, [*Policy.model_fields, *before]) from error
        now = values(policy)
        _refuse_contradiction(document, policy)
        unknown = [key for key in policy.widen if key not in WITHIN]
        if unknown:
            raise document.error(f"{unknown[0]!r} is no key to widen", key="widen", remedy=nearest(unknown[0], WITHIN))
        for key in wider_keys(now, before):
            if key not in policy.widen:
                message = f"{shown(now[key])} allows more than {self.name!r}, which has {shown(before[key])}"
                remedy = f"a policy only narrows the one it extends; if this is meant, add {key!r} to `widen`"
                raise document.error(message, key=key, remedy=remedy)
        named = frozenset[str]() if document.packaged else frozenset(key for key, _ in _dotted(changes))
        above = self._origin
        policy._origin = Origin(
            document.name, document.path, document.packaged, above.named | named, (*above.chain, document)
        )
        return policy


def refuse_sources_in(policy: Policy, directory: Path, what: str = "the workspace") -> None:
    """PolicyError where this policy, one that it extends, or the ceiling can be changed by who can write in `directory`."""
    refuse_documents_in(policy.origin.chain, directory, what)
    if named := os.environ.get("AGEX_POLICY_CEILING"):
        refuse_documents_in(_ceiling(named).origin.chain, directory, what)


def values(policy: Policy) -> Values:
    """{dotted key: value} of all keys in sections, in the order of the schema."""
    return dict(_dotted(policy.model_dump(by_alias=True, exclude={"extends", "widen", "description"})))


def _dotted(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for table, keys in tables.items():
        if isinstance(keys, Mapping):
            for key, value in cast(Mapping[str, Any], keys).items():
                yield f"{table}.{key}", value


# In these a child's list is added to its parent's; elsewhere its value takes the parent's place.
ADDED_UP = frozenset(
    {
        "python.builtins",
        "filesystem.read",
        "filesystem.write",
        "network.allow",
        "syscalls.allow",
        "syscalls.deny",
        "isolation.accept",
        "env.pass",
    }
)


def _merged(before: Values, changes: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = dict(changes)
    for key, old in before.items():
        table, leaf = key.split(".")
        section = changes.get(table, {})
        if not isinstance(section, Mapping):
            continue  # not a table at all: validation says so
        new = cast(Mapping[str, Any], section).get(leaf, ())
        if leaf not in section:
            value = old
        elif key in ADDED_UP and isinstance(new, list | tuple):
            entries = [*old, *cast(list[Any], new)]
            value = tuple({repr(entry): entry for entry in entries}.values())
        else:
            value = new
        merged[table] = {**cast(Mapping[str, Any], merged.get(table, {})), leaf: value}
    return merged


def _absolute(document: Document) -> dict[str, Any]:
    """The document's data, its paths made absolute against its folder."""
    data = dict(document.data)
    section = data.get("filesystem")
    if not isinstance(section, Mapping):
        return data
    files = dict(cast(Mapping[str, Any], section))
    for key in ("read", "write"):
        if isinstance(paths := files.get(key), list | tuple):
            files[key] = [_absolute_path(document, f"filesystem.{key}", path) for path in cast(list[Any], paths)]
    data["filesystem"] = files
    return data


def _absolute_path(document: Document, key: str, path: Any) -> Any:
    if not isinstance(path, str):
        return path  # validation says what is wrong with it
    if not path or path.startswith("~") or "\0" in path:
        raise document.error(f"{path!r} is not a path", key=key, remedy="write it out from '/'")
    if not os.path.isabs(path) and document.path is None:
        raise document.error(f"{path!r} is relative, but to no file", key=key, remedy="write it out from '/'")
    return os.path.normpath(os.path.join(document.path.parent if document.path else "/", path))


def _refuse_contradiction(document: Document, policy: Policy) -> None:
    if policy.filesystem.hide_host and policy.isolation.namespaces == "off":
        message = 'other files can be hidden only by a mount namespace, and `isolation.namespaces` is "off"'
        remedy = 'set it to "auto" or "required", or leave `hide_host` out'
        raise document.error(message, key="filesystem.hide_host", remedy=remedy)


def _ceiling(named: str) -> Policy:
    try:
        return Policy._of(load_chain(named))  # pyright: ignore[reportPrivateUsage] -- the same concept, outside of its class
    except PolicyError as error:
        message = f"AGEX_POLICY_CEILING={named!r} cannot be used: {error.message}"
        raise PolicyError(message, remedy=error.remedy, key=error.key, file=error.file, line=error.line) from error
