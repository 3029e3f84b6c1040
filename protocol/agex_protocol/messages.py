"""Every message between the supervisor and a worker, once; those of a zygote are in `zygote_messages.py`. A frame carries
exactly one; `codec.py` turns it to bytes and back, `turns.py` says when it may come.

    Notifying? Ready; Begin -> Begun; then per action  Buffer* Run -> (Call -> Drop? Buffer* Answer | Dial -> Dialled |
    Room -> Roomed | one of the cache -> Buffer* Answer | Viewed | Filled | Denied | Dropped | Returned)* Buffer* ->
    one ending; or Drop? Buffer* Use, or Outline, and the same after it but for the cache and Viewed, ended by Finished
    or Raised; or Shell, Write or Edit and the same, ended by Done or Raised.

A worker's id for an action is 128 random bits that the supervisor chose; every message about that action carries it.
Each is a tuple, which can be written as it is and is made in one step: a call of a host function takes four of them.
A change that an older peer could misread raises PROTOCOL_VERSION.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from agex_protocol.plan import SandboxPlan

PROTOCOL_VERSION = 6

# Where a worker with namespaces of its own finds its files: HOME and TMPDIR, and in it WORK, the workspace.
SLOT = "/sandbox"
WORK = "work"
# Folders within one another in a workspace. The watch, which counts from further up, ends a worker with some more.
FOLDERS_DEEP = 60

# The functions by which a worker runs commands of the terminal that are the supervisor's. No identifier has a space.
START_COMMAND = "a command"
CONTINUE_COMMAND = "a command's next step"


class Encoded(NamedTuple):
    """A value on the wire: a msgpack head, and the raw buffers that belong to it.

    placed: (offset, length) of those that lie in an arena (placing.py), which come first. buffers: how many were sent
    before, by Buffer.
    """

    head: bytes
    buffers: int = 0
    placed: tuple[tuple[int, int], ...] = ()


# --- supervisor -> worker ---------------------------------------------------------------------------------------------


class HostParameter(NamedTuple):
    """One parameter of a host function. `kind` is that of inspect.Parameter by name; `shape` is a Shape as msgpack."""

    name: str
    kind: str
    optional: bool
    shape: bytes


class HostFunction(NamedTuple):
    """A function that runs in the supervisor, as the worker must know it to call it.

    A name with a dot is a member of a module, or a method of a HostObject.
    """

    name: str
    doc: str
    parameters: tuple[HostParameter, ...]


class HostObject(NamedTuple):
    """A live object of the supervisor, or a class whose instances live there, with all that code may ask of them.

    `functions` are asked of the class itself: its static and class methods, and under its own name its constructor.
    """

    name: str
    type: str
    doc: str
    live: bool
    methods: tuple[HostFunction, ...]
    attributes: tuple[str, ...]
    functions: tuple[HostFunction, ...]


class HostCommand(NamedTuple):
    """A command of the terminal that runs in the supervisor; `help` is what `name --help` prints."""

    name: str
    help: str


class Begin(NamedTuple):
    """What a session needs once. `bindings` is a pickle made by the supervisor: {name: class or function}.

    `functions` are the host functions, by name, with the shapes of their parameters; `objects` likewise. `commands` are
    those of the terminal, and `commanding` the functions by which they are run: no agent code has these by a name.
    """

    sandbox: SandboxPlan
    bindings: bytes
    functions: tuple[HostFunction, ...]
    workspace: str
    objects: tuple[HostObject, ...] = ()
    commands: tuple[HostCommand, ...] = ()
    commanding: tuple[HostFunction, ...] = ()


class Run(NamedTuple):
    """Run one piece of code. `inputs` is a pickle (protocol 5) whose out-of-band buffers came before it, or are placed in
    an arena whose descriptor comes with the frame; so it is with Answer.

    `returns` is the shape (shapes.py, as msgpack) of what the code has to give; `task` says whether it gives it by
    task_success, else by its last expression. `number` is what tracebacks call it by: that of the action in its task, 0 for
    the setup, or that of the run in its Sandbox.
    """

    action: bytes
    code: str
    inputs: Encoded
    returns: bytes
    task: bool
    number: int = 0


class Use(NamedTuple):
    """Do something with an object that a handle stands for: `operation` is one of operations.py, `name` that of a member.

    `arguments` is a pickle of (args, kwargs) as `Run.inputs` is one; `returns` is the shape of what it has to give.
    """

    action: bytes
    handle: int
    operation: str
    name: str
    arguments: Encoded
    returns: bytes


class Shell(NamedTuple):
    """Run these shell commands on the workspace."""

    action: bytes
    commands: str


class Write(NamedTuple):
    """Write a file of the workspace, or add to its end."""

    action: bytes
    path: str
    content: str
    append: bool


class Edit(NamedTuple):
    """Replace a piece of a file of the workspace; `all`: wherever it is, else it has to be there once."""

    action: bytes
    path: str
    search: str
    replace: str
    all: bool


class Outline(NamedTuple):
    """Say what Python there is in the workspace: of each file the functions and classes with their first lines.

    `returns` is the shape of the text. No code of the workspace runs for it.
    """

    action: bytes
    returns: bytes


class Drop(NamedTuple):
    """These objects have no handle any more. There is no answer."""

    handles: tuple[int, ...]


class Answer(NamedTuple):
    """What a Call gave: a pickle (protocol 5) of the result, or the error's type and message."""

    action: bytes
    call: int
    result: Encoded
    error_type: str = ""
    error: str = ""


class Dialled(NamedTuple):
    """What a Dial came to: a connected descriptor comes with the frame, or `error` says why not.

    `refused` tells an address that the policy does not grant from one that does not answer.
    """

    action: bytes
    call: int
    refused: bool = False
    error: str = ""


class Roomed(NamedTuple):
    """Answer to Room: the descriptor of an arena of that many bytes comes with the frame; 0, and none: send Buffers.

    arena: its number. The same number is the same arena, which the worker may still have mapped.
    """

    action: bytes
    call: int
    arena: int
    size_bytes: int


# --- both ways --------------------------------------------------------------------------------------------------------


class Buffer(NamedTuple):
    """A piece of a large value; `last` ends one buffer. Kept until the message that counts the buffers comes."""

    action: bytes
    data: bytes
    last: bool


# --- worker -> supervisor ---------------------------------------------------------------------------------------------


class Ready(NamedTuple):
    """Locked down and idle. `layers` are (layer, state) pairs, `probes` (promise, result) pairs of the self-test."""

    version: int
    layers: tuple[tuple[str, str], ...]
    probes: tuple[tuple[str, str], ...]


class Refused(NamedTuple):
    """A layer did not hold: there is no worker."""

    layer: str
    message: str


class Begun(NamedTuple):
    """The session's names are bound; or `error` says which of them could not be."""

    error: str


class Argument(NamedTuple):
    """One argument of a Call, encoded for its parameter."""

    name: str
    value: Encoded


class Call(NamedTuple):
    """Please call a registered host function with these arguments; the others keep their defaults.

    `name` is a function's, or a target (host_handle.py), a dot and a member of it.
    """

    action: bytes
    call: int
    name: str
    arguments: tuple[Argument, ...]


class Returned(NamedTuple):
    """The worker holds nothing any more that stands for these objects of the supervisor."""

    action: bytes
    targets: tuple[str, ...]


class Notifying(NamedTuple):
    """The listener of the system-call filter comes with this frame; the only descriptor a worker ever hands over."""


class Denied(NamedTuple):
    """Something was refused to the code of this action, as far as the worker itself noticed. `layer` and `operation` are
    from a closed list (denials.py in the supervisor); target is a path, a name or an address."""

    action: bytes
    layer: str
    operation: str
    target: str


class Dial(NamedTuple):
    """Please connect to this address, if the policy grants it. host: a name or an IP address."""

    action: bytes
    call: int
    host: str
    port: int


class Room(NamedTuple):
    """Please make room for so many bytes of values, in an arena to write them to."""

    action: bytes
    call: int
    size_bytes: int


class Recall(NamedTuple):
    """Please give what the session's cache holds under this key; Answer says KeyError where there is nothing."""

    action: bytes
    call: int
    key: str


class Remember(NamedTuple):
    """Please keep this in the session's cache. form: "plain" for a value as Any encodes it, which the application can read
    back; "sealed" for a pickle, which is opened in workers only. `type` and `repr` are what the worker says of it."""

    action: bytes
    call: int
    key: str
    form: Literal["plain", "sealed"]
    type: str
    repr: str
    value: Encoded


class Forget(NamedTuple):
    """Please take this key out of the session's cache; Answer says KeyError where there is nothing."""

    action: bytes
    call: int
    key: str


class Recount(NamedTuple):
    """Please list the session's cache; Answer has (key, type) of each entry."""

    action: bytes
    call: int


class Viewed(NamedTuple):
    """An image that the model is to see after this action, as a PNG file."""

    action: bytes
    image: Encoded


class Filled(NamedTuple):
    """What was written so far to the arena that Room asked for: it may be copied while the rest is written."""

    action: bytes
    size_bytes: int


class Dropped(NamedTuple):
    """Nothing here looks at these arenas with inputs any more: they may be written again. By their numbers: the first that
    this worker was given is 1."""

    action: bytes
    arenas: tuple[int, ...]


class Finished(NamedTuple):
    """Ending: the code ran to its end. `value` is that of its last expression where one was asked for."""

    action: bytes
    value: Encoded


class Succeeded(NamedTuple):
    """Ending: task_success(value)."""

    action: bytes
    value: Encoded


class GaveUp(NamedTuple):
    """Ending: task_fail(message)."""

    action: bytes
    message: str


class Asked(NamedTuple):
    """Ending: task_clarify(question)."""

    action: bytes
    question: str


class Raised(NamedTuple):
    """Ending: the code raised; or its value could not cross (`type` is then ContractError)."""

    action: bytes
    type: str
    message: str
    traceback: str


class Kept(NamedTuple):
    """Ending: the code ran to its end, but the value of its last expression stays behind: what it was, and why."""

    action: bytes
    type: str
    repr: str
    reason: str


class Done(NamedTuple):
    """Ending of a Shell, a Write or an Edit: what there is to tell, the exit code, and the files that it added and changed
    as far as the worker kept count."""

    action: bytes
    text: str
    exit_code: int
    added: tuple[str, ...]
    modified: tuple[str, ...]


OnWorkspace = Shell | Write | Edit
ToWorker = Begin | Run | Use | Outline | Shell | Write | Edit | Drop | Answer | Dialled | Roomed | Buffer
ToSupervisor = (
    Notifying
    | Ready
    | Refused
    | Begun
    | Buffer
    | Call
    | Dial
    | Room
    | Recall
    | Remember
    | Forget
    | Recount
    | Viewed
    | Filled
    | Dropped
    | Denied
    | Returned
    | Finished
    | Succeeded
    | GaveUp
    | Asked
    | Raised
    | Kept
    | Done
)
Ending = Finished | Succeeded | GaveUp | Asked | Raised | Kept | Done
OfCache = Recall | Remember | Forget | Recount
