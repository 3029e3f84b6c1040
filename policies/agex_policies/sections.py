"""Every key a policy may have, each explained once, in its description; the JSON schema is made of these."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from agex_policies.grants import parse_grant, target
from agex_policies.quantities import SIZE_UNITS, TIME_UNITS, rate, size_bytes, time_s
from agex_policies.syscall_options import OPTIONAL
from agex_policies.syscalls import resolve


def _size(value: Any) -> Any:
    size_bytes(value)
    return value


def _time(value: Any) -> Any:
    time_s(value)
    return value


def _rate(value: Any) -> Any:
    rate(value)
    return value


def _environment_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of one environment variable; there are no wildcards")
    return value


def _module_name(value: str) -> str:
    if value != "*" and not all(part.isidentifier() for part in value.split(".")):
        raise ValueError(f"{value!r} is not a module's dotted name, nor '*'")
    return value


def _text_schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": list(examples)})


_NUMBER = r"[0-9]+(\.[0-9]+)? ?"

Size = Annotated[str, BeforeValidator(_size), _text_schema(f"{_NUMBER}({'|'.join(SIZE_UNITS)})", "512MiB", "2GiB")]
Time = Annotated[str, BeforeValidator(_time), _text_schema(f"{_NUMBER}({'|'.join(TIME_UNITS)})", "3s", "250ms", "5min")]
Rate = Annotated[str, BeforeValidator(_rate), _text_schema("[0-9]+/(s|min|h)", "100/s", "1000/min")]
# Of names or paths. Whether one list allows more than another takes a look at each pair.
_MOST_ENTRIES = 1024

Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
Flag = Annotated[bool, Strict()]


class Section(BaseModel):
    """What all parts of a policy share: nothing unknown gets in, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Python(Section):
    """What Python the agent may write."""

    mode: Literal["restricted", "full"] = Field(
        default="restricted",
        description="'restricted': the inner sandbox decides what code can name. 'full': any Python and any module that"
        " may be read; the kernel's walls alone hold.",
    )
    modules: tuple[Annotated[str, AfterValidator(_module_name)], ...] = Field(
        default=("*",),
        max_length=_MOST_ENTRIES,
        description="Modules that a program may register, each with its submodules; '*' is any.",
    )
    builtins: tuple[str, ...] = Field(
        default=(),
        max_length=_MOST_ENTRIES,
        description="Builtins allowed beyond the standard table of the inner sandbox.",
    )


class Filesystem(Section):
    """Files beyond the workspace and the Python installation. Relative paths start at the policy file's folder."""

    read: tuple[str, ...] = Field(
        default=(),
        max_length=_MOST_ENTRIES,
        description="Files to read, or directories to read with all that is beneath them.",
    )
    write: tuple[str, ...] = Field(
        default=(),
        max_length=_MOST_ENTRIES,
        description="The same for reading and writing. What is written there stays.",
    )
    hide_host: Flag = Field(
        default=False,
        description="Run nothing where even names and sizes of other files cannot be hidden; as if `isolation.namespaces`"
        " were 'required'.",
    )


class Grant(Section):
    """One place to connect to, as it is written out in full."""

    to: str = Field(description="'host:port', with a name, an IPv4 address, or an IPv6 address in brackets.")
    tls: Literal["required", "any"] = Field(
        description="'required': nothing but a TLS connection whose ClientHello names the host. 'any': any protocol."
        " Where it is left out, names on port 443 require it."
    )


def _written_out(entry: object) -> dict[str, str]:
    grant = parse_grant(dict(entry) if isinstance(entry, Grant) else entry)
    return {"to": target(grant.host, grant.port), "tls": grant.tls}


_GRANT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": ":[0-9]{1,5}$", "examples": ["api.example.com:443", "10.0.0.5:5432"]},
        {
            "type": "object",
            "properties": {
                "to": {
                    "type": "string",
                    "pattern": ":[0-9]{1,5}$",
                    "description": Grant.model_fields["to"].description,
                },
                "tls": {"enum": ["required", "any"], "description": Grant.model_fields["tls"].description},
            },
            "required": ["to"],
            "additionalProperties": False,
        },
    ]
}


def _without_repeats(grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
    return tuple(dict.fromkeys(grants))


class Network(Section):
    """Where a worker may connect to, through a relay in the supervisor."""

    allow: Annotated[
        tuple[Annotated[Grant, BeforeValidator(_written_out), WithJsonSchema(_GRANT_SCHEMA)], ...],
        AfterValidator(_without_repeats),
    ] = Field(
        default=(),
        max_length=_MOST_ENTRIES,
        description="Grants such as 'api.example.com:443' or { to = 'db.example.com:5432', tls = 'any' }: one host and one"
        " port each, no wildcards. Without any there is no network. Private and local addresses have to be granted as"
        " addresses.",
    )


def _allowed(names: tuple[str, ...]) -> tuple[str, ...]:
    resolve(names, ())
    return names


def _denied(names: tuple[str, ...]) -> tuple[str, ...]:
    resolve((), names)
    return names


class Syscalls(Section):
    """Changes to the list of system calls, by the names of groups or of calls that stand in one."""

    allow: Annotated[tuple[str, ...], AfterValidator(_allowed)] = Field(
        default=(),
        max_length=_MOST_ENTRIES,
        description=f"Groups, or calls of them, allowed beyond the standard list: {', '.join(group.name for group in OPTIONAL)}.",
        examples=[["priorities"], ["timers", "sched_setaffinity"]],
    )
    deny: Annotated[tuple[str, ...], AfterValidator(_denied)] = Field(
        default=(),
        max_length=_MOST_ENTRIES,
        description="Groups, or calls of them, that are refused; it wins over `allow`.",
        examples=[["socketpair"]],
    )


class Limits(Section):
    """How much a worker may use. Sizes and times carry a unit; counts are plain integers."""

    memory: Size = Field(default="1GiB", description="Per worker: memory beyond what the preloaded modules take.")
    cpu_time: Time = Field(default="120s", description="Per worker: processor time of all its threads together.")
    wall_time: Time = Field(
        default="30s", description="Per action: time on the clock; time in host functions does not count."
    )
    threads: Count = Field(default=64, description="Per worker: threads at once.")
    open_files: Annotated[Count, Field(ge=16)] = Field(
        default=256, description="Per worker: open descriptors; at least 16."
    )
    file_size: Size = Field(default="256MiB", description="Per worker: size of each file it writes.")
    workspace_size: Size = Field(default="512MiB", description="Per worker: all files of the workspace together.")
    workspace_files: Count = Field(
        default=10_000, description="Per worker: number of files and directories in the workspace."
    )
    output: Size = Field(default="1MiB", description="Per action: what is kept of stdout, and of stderr.")


class Results(Section):
    """What may come back."""

    max_size: Size = Field(default="256MiB", description="Per action: size of an encoded result.")
    opaque: Flag = Field(
        default=True,
        description="Allow results that stay sealed bytes (Opaque), and objects to be sealed for other workers.",
    )
    trust_unpickle: Flag = Field(
        default=False,
        description="Allow tasks that unpickle results in your process: that runs code of the agent's choice there.",
    )


class HostCalls(Section):
    """Calls from a worker to functions in your process. A task counts from its start to its end, a Sandbox until it is closed."""

    errors: Literal["message", "type"] = Field(
        default="message",
        description="What of a host function's error the agent sees: its type and message, or its type alone.",
    )
    max_rate: Rate | None = Field(
        default=None,
        description="Per task: so many calls at once, and after that as many again in each of these times; a call above is"
        " refused, and the agent is told. Without it, any number.",
    )
    max_bytes: Size | None = Field(
        default=None,
        description="Per task: bytes of all arguments and results of its calls together. Without it, any number.",
    )


class Isolation(Section):
    """Which isolation the policy wants, and which weaker one it puts up with."""

    require: Literal["none", "process", "kernel"] = Field(
        default="none", description="The weakest isolation that a program may choose with this policy."
    )
    accept: tuple[Literal["none", "process"], ...] = Field(
        default=(),
        description="Run there although keys of this policy cannot be held there; they are reported as unenforced.",
    )
    namespaces: Literal["off", "auto", "required"] = Field(
        default="auto",
        description="Give a worker its own view of the machine: its files, processes and network. 'auto': where it can be had.",
    )
    cgroup: Literal["off", "auto", "required"] = Field(
        default="auto",
        description="Put a worker into a control group that bounds its memory and threads, and has it give way to your own"
        " process on the processor. 'auto': where it can be had.",
    )


class Env(Section):
    """The worker's environment; nothing of yours is in it but what is named here."""

    passed: tuple[Annotated[str, AfterValidator(_environment_name)], ...] = Field(
        default=(),
        max_length=_MOST_ENTRIES,
        alias="pass",
        description="Environment variables of your process that workers, and so agents, may see.",
    )
