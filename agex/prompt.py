"""What the model is told: how it works here, what its task is, and the few notes that come in between.

The system prompt depends on the agent alone, never on the task or the turn, so that a provider can cache it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agex_protocol.plan import Limits
from agex_supervisor.model import Parameter, Tool
from agex_worker.sandbox.names import kind_of

PYTHON_ACTION = Tool(
    name="python_action",
    description="Run a Python script in the sandbox and see what it prints, or the traceback.",
    parameters=(Parameter("code", "string", "The whole script. Nothing is left over from earlier scripts but files."),),
)
TERMINAL_ACTION = Tool(
    name="terminal_action",
    description=(
        "Run shell commands on the files of the working directory, in the language of bash: pipes, redirects, "
        "here-documents, variables, $(...), loops, if, case, functions, and ls cat head tail grep find wc sort uniq cut sed awk tr diff tar gzip jq xargs tee mkdir rm cp "
        "mv and more (`help` lists them). `python FILE ARGS` runs a file under the rules of python_action. No other "
        "program can be started, and task_success, inputs and cache are not there. The output is shown, with an exit code "
        "that is not 0."
    ),
    parameters=(Parameter("commands", "string", "The commands. Variables and cd are gone afterwards; files stay."),),
)
WRITE_FILE = Tool(
    name="write_file",
    description="Write a whole text file of the working directory, or add to its end. Folders on the way are made.",
    parameters=(
        Parameter("path", "string", "The file, relative to the working directory."),
        Parameter("content", "string", "The text."),
        Parameter("append", "boolean", "Add to the end of the file. Default: false.", required=False),
    ),
)
EDIT_FILE = Tool(
    name="edit_file",
    description=(
        "Replace a piece of a text file. The piece has to be there exactly once; where it is not, differences in spaces at "
        "line ends and in how deep it is indented are overlooked."
    ),
    parameters=(
        Parameter("path", "string", "The file, relative to the working directory."),
        Parameter("search", "string", "The text to be replaced, with enough lines around it to be found once."),
        Parameter("replace", "string", "What stands there afterwards."),
        Parameter("all", "boolean", "Replace it wherever it is. Default: false.", required=False),
    ),
)
TOOLS: tuple[Tool, ...] = (PYTHON_ACTION, TERMINAL_ACTION, WRITE_FILE, EDIT_FILE)

# A turn with neither an action nor a problem to report.
SILENT_TURN = (
    "Nothing was run: your turn had no action, and text alone does not reach anyone. Call python_action now; when you "
    "have the result, call task_success(value) in it. If the task cannot be done, call task_fail(message)."
)


def tools(commands: str = "") -> tuple[Tool, ...]:
    """What a model is offered. `commands` describes those of the application in the terminal."""
    if not commands:
        return TOOLS
    description = f"{TERMINAL_ACTION.description}\nCommands of the application (COMMAND --help says more):\n{commands}"
    return tuple(replace(tool, description=description) if tool is TERMINAL_ACTION else tool for tool in TOOLS)


def system_prompt(
    *,
    agent_name: str | None,
    primer: str | None,
    registry_text: str,
    policy_text: str,
    mode: str,
    max_actions: int,
    ordinary: Sequence[str] = (),
    skills: Sequence[tuple[str, str, str]] = (),
) -> str:
    """The text above every task of an agent. `mode` is the policy's [python] mode, "restricted" or "full".

    agent_name: None where it was made up, since text that differs in every process cannot be cached.

    ordinary: modules that code may import without a registration. skills: name, file and description of each.
    """
    sections = [
        f"You are {'' if agent_name is None else f'{agent_name}, '}a Python function at work: a program called you with typed"
        " inputs and waits for a value.",
        _HOW.format(actions=max_actions),
        _ENDING,
        _FULL if mode == "full" else _RESTRICTED.format(modules=_importable(ordinary, registry_text)),
        f"# Policy in force\n{policy_text}",
    ]
    if registry_text:
        sections.append(f"# What you may use\n{registry_text}")
    if skills:
        sections.append("\n".join([_SKILLS, *(f"- {file}: {about}" for _, file, about in skills)]))
    if primer:
        sections.append(f"# Instructions from the developer\n{primer.strip()}")
    return "\n\n".join(sections)


def task_message(
    *,
    name: str,
    docstring: str | None,
    signature_text: str,
    inputs: Mapping[str, tuple[str, str]],
    return_type_text: str | None,
    primer: str | None = None,
) -> str:
    """One call of a task. `inputs` maps a parameter to its type and its bounded picture, both as text.

    `return_type_text` is None for a task that returns nothing; `primer` is the task's own instruction, which then
    leads, since the docstring speaks to the caller.
    """
    parts = [f"Task {name}", f"def {signature_text}"]
    parts += [text.strip() for text in (primer, docstring) if text and text.strip()]
    if inputs:
        parts.append("Inputs:\n" + "\n".join(_input(key, kind, shown) for key, (kind, shown) in inputs.items()))
    if return_type_text is None:
        parts.append("When it is done, call task_success() without a value.")
    else:
        parts.append(f"Finish with task_success(value), where value is of type: {return_type_text}")
    return "\n\n".join(parts)


def policy_text(
    *,
    policy: str,
    isolation: str,
    limits: Limits,
    read: Sequence[str] = (),
    write: Sequence[str] = (),
    network: Sequence[str] = (),
    environment: Sequence[str] = (),
    calls: str = "",
) -> str:
    """The policy as the agent has to know it. `read` and `write` are granted paths beside the workspace; `network` holds
    "host:port" entries, `environment` the names of variables; `calls` says how the functions of the developer are bounded."""
    lines = [
        f"Policy {policy!r}, isolation {isolation!r}. What it forbids raises an error; do not try ways around it.",
        f"Files: read and write in the working directory: {_size(limits.workspace_size_bytes)}, "
        + f"{limits.workspace_files} files, {_size(limits.file_size_bytes)} each, at most.",
    ]
    if read:
        lines.append(f"Also readable: {_some(read)}.")
    if write:
        lines.append(f"Also writeable: {_some(write)}.")
    lines.append(f"Network: {f'only {_some(network)}' if network else 'none'}. Other programs cannot be started.")
    if environment:
        lines.append(f"Environment variables: {_some(environment)}.")
    if calls:
        lines.append(f"Calls of functions and objects listed below: at most {calls}.")
    lines.append(
        f"Limits: {limits.wall_time_s:g} s for an action, {_size(limits.memory_bytes)} of memory, {limits.cpu_time_s:g} s "
        f"of CPU time, {limits.threads} threads, {_size(limits.output_bytes)} of output."
    )
    return "\n".join(f"- {line}" for line in lines)


def wrap_up(actions_left: int) -> str:
    """The note for when actions run out."""
    if actions_left == 1:
        return "This is your last action: call task_success with the best value you have, or task_fail with the reason."
    return f"{actions_left} actions are left. Come to the result: task_success(value), or task_fail(message)."


def is_time_to_wrap_up(actions_left: int, max_actions: int) -> bool:
    """In the last fifth of the actions, and at least before the last one; never before the first."""
    return actions_left < max_actions and actions_left <= max(max_actions // 5, 1)


_HOW = """# How you work
- You act by python_action: send a script, read what it printed or its traceback, send the next. At most {actions} actions.
- Every script starts afresh: variables, imports and functions of earlier ones are gone. Files in the working directory stay.
- The inputs are real objects, the attributes of `inputs`, for example `inputs.df`. What you see of them here is a \
shortened picture: compute on the objects, never copy values out of the picture.
- `cache` is a mapping that lasts for the session: cache['rows'] = rows. A read gives a copy: assign again what you changed.
- Later scripts can import the Python files of the working directory: `from helpers.tables import clean`.
- view_image(image) lets you see a PIL image, or a figure of matplotlib or plotly.
- Only print() lets you observe; the value of a last expression is not shown. Print little: shapes, heads, aggregates."""

_ENDING = """# How a task ends
Call one of these in a script; it ends the script at once:
- task_success(value): the result, as a real object of the declared type. If it does not fit you are told why; try again.
- task_fail(message): it cannot be done; say why.
- task_clarify(question): you cannot go on without an answer from the caller."""

_RESTRICTED = """# The Python you have
Ordinary Python with these bounds: beside your own files, {modules} can be imported; names starting with an \
underscore, eval, exec and the like are out of reach. An error says what was refused: use something else."""

_FULL = """# The Python you have
Ordinary Python: any installed module can be imported. The process itself is confined by the policy below."""


_SKILLS = """# Skills
Instructions for special work, as read-only files in the working directory. Before you do what one is about, read it: \
print(open("skills/NAME/SKILL.md").read()). It may name further files beside it."""


def _importable(ordinary: Sequence[str], registry_text: str) -> str:
    if not ordinary:
        return "only the modules listed below" if registry_text else "no modules"
    listed = ", ".join(ordinary)
    return f"only {listed}{' and the modules listed below' if registry_text else ''}"


def _input(key: str, kind: str, shown: str) -> str:
    separator = "\n" if "\n" in shown else " "
    # A parameter may have a name that the inner sandbox reads of no object.
    spoken = f"vars(inputs)[{key!r}]" if kind_of(key) == "refused" else f"inputs.{key}"
    return f"- {spoken}: {kind} ={separator}{shown}"


def _some(entries: Sequence[str], at_most: int = 8) -> str:
    more = [f"and {len(entries) - at_most} more"] if len(entries) > at_most else []
    return ", ".join([*entries[:at_most], *more])


def _size(size_bytes: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size_bytes >= 1 << power:
            return f"{size_bytes / (1 << power):g} {unit}"
    return f"{size_bytes} bytes"
