"""Every key a policy may have, each explained once, in its description; the JSON schema is made of these.

A key marked `unavailable` belongs to a later version: it is known by name, and refused unless it has its default value.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from agex_policies.quantities import size_bytes, time_s

UNAVAILABLE: dict[str, Any] = {"unavailable": True}


def _size(value: Any) -> Any:
    size_bytes(value)
    return value


def _time(value: Any) -> Any:
    time_s(value)
    return value


def _environment_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of one environment variable; there are no wildcards")
    return value


def _module_name(value: str) -> str:
    if value != "*" and not all(part.isidentifier() for part in value.split(".")):
        raise ValueError(f"{value!r} is not a module's dotted name, nor '*'")
    return value


Size = Annotated[str, BeforeValidator(_size), WithJsonSchema({"type": "string", "examples": ["512MiB"]})]
Time = Annotated[str, BeforeValidator(_time), WithJsonSchema({"type": "string", "examples": ["3s"]})]
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
        default=("*",), description="Modules that a program may register, each with its submodules; '*' is any."
    )
    builtins: tuple[str, ...] = Field(
        default=(), description="Builtins allowed beyond the standard table of the inner sandbox."
    )


class Filesystem(Section):
    """Files beyond the workspace and the Python installation. Relative paths start at the policy file's folder."""

    read: tuple[str, ...] = Field(
        default=(), description="Files to read, or directories to read with all that is beneath them."
    )
    write: tuple[str, ...] = Field(
        default=(), description="The same for reading and writing. What is written there stays."
    )
    hide_host: Flag = Field(
        default=False,
        description="Let even names and sizes of other files be invisible (takes a mount namespace).",
        json_schema_extra=UNAVAILABLE,
    )


class Network(Section):
    """Where a worker may connect to, through a relay in the supervisor."""

    allow: tuple[Any, ...] = Field(
        default=(), description="Grants such as 'api.example.com:443'. None: no network.", json_schema_extra=UNAVAILABLE
    )


class Syscalls(Section):
    """Changes to the list of system calls."""

    allow: tuple[str, ...] = Field(
        default=(), description="Groups or names allowed beyond the standard list.", json_schema_extra=UNAVAILABLE
    )
    deny: tuple[str, ...] = Field(
        default=(), description="Groups or names taken from the standard list.", json_schema_extra=UNAVAILABLE
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
        default=False, description="Allow results that stay sealed bytes (Opaque).", json_schema_extra=UNAVAILABLE
    )
    trust_unpickle: Flag = Field(
        default=False,
        description="Allow tasks that unpickle results in your process: that runs code of the agent's choice there.",
        json_schema_extra=UNAVAILABLE,
    )


class HostCalls(Section):
    """Calls from a worker to functions in your process."""

    errors: Literal["message", "type"] = Field(
        default="message",
        description="What of a host function's error the agent sees: its type and message, or its type alone.",
        json_schema_extra=UNAVAILABLE,
    )
    max_rate: str | None = Field(
        default=None, description="Calls a time, such as '100/s'.", json_schema_extra=UNAVAILABLE
    )
    max_bytes: Size | None = Field(
        default=None, description="Per task: bytes of all calls together.", json_schema_extra=UNAVAILABLE
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
        default="off", description="Give a worker its own view of the machine.", json_schema_extra=UNAVAILABLE
    )
    cgroup: Literal["off", "auto", "required"] = Field(
        default="off", description="Put a worker into a control group.", json_schema_extra=UNAVAILABLE
    )


class Env(Section):
    """The worker's environment; nothing of yours is in it but what is named here."""

    passed: tuple[Annotated[str, AfterValidator(_environment_name)], ...] = Field(
        default=(),
        alias="pass",
        description="Environment variables of your process that workers, and so agents, may see.",
    )
