"""Which names agent code may use, as tables: decided once per name, when code is compiled or a name is computed.

plain      `df.head`        nothing to ask: compiles to the native attribute access
doubtful   `df.to_csv`      depends on the object: goes through a gate at run time
private    `self._x`        only of what the agent's own code defines: a gate, or one check at a method's start
refused    `g.gi_frame`     never
"""

from __future__ import annotations

import types
import unicodedata
from typing import Literal

from agex_worker import denials
from agex_worker.sandbox.dangerous import EXPLICIT, HIDDEN, ONLY

Kind = Literal["plain", "doubtful", "private", "refused"]


class SandboxViolation(SyntaxError):
    """The source uses something that the inner sandbox does not allow; the message names line, thing and remedy."""

    __module__ = "builtins"  # in a traceback it has its bare name, as the errors of Python have


class Refused(AttributeError):
    """The same for a name or object that was only known at run time. Noted as a denial when it is made.

    `target` names what was refused, where it has a name; `operation` is a word of the supervisor's table.
    """

    __module__ = "builtins"

    def __init__(self, message: str = "", target: str = "", operation: str = "use") -> None:
        super().__init__(message)
        denials.note("sandbox", operation, target)


def kind_of(name: str) -> Kind:
    """How an attribute of this name is treated, whatever the object."""
    if name.startswith("_"):
        if is_dunder(name):
            return "plain" if name in READABLE else "doubtful" if name in GATED_DUNDERS else "refused"
        return "private"
    if name in REFUSED:
        return "refused"
    return "doubtful" if name in DOUBTFUL else "plain"


def is_dunder(name: str) -> bool:
    """Whether Python itself gives this name a meaning."""
    return name.startswith("__") and name.endswith("__")


def why_refused(name: str) -> str:
    """The reason to show, with what to use instead where there is something."""
    return REFUSED.get(name) or _DUNDER_REMEDIES.get(name, "it leads to the interpreter's internals")


def is_normal(name: str) -> bool:
    """Whether the identifier is in the form to which Python brings identifiers before it looks them up."""
    return name.isascii() or unicodedata.normalize("NFKC", name) == name


def _internals(reason: str, *kinds: type) -> dict[str, str]:
    """Public attributes of interpreter types that have an underscore in them: f_globals, gi_frame, co_code, ..."""
    return {name: reason for kind in kinds for name in dir(kind) if "_" in name and not name.startswith("_")}


REFUSED: dict[str, str] = {
    **_internals("a frame holds the globals and builtins of every caller", types.FrameType),
    **_internals("a traceback holds frames", types.TracebackType),
    **_internals("a generator's frame leads to its callers", types.GeneratorType),
    **_internals("a coroutine's frame leads to its callers", types.CoroutineType, types.AsyncGeneratorType),
    **_internals("a code object can be altered and run", types.CodeType),
    **dict.fromkeys(
        ("func_code", "func_globals", "func_closure", "func_defaults", "im_func", "im_self", "im_class"),
        "it is the older name of a function's internals",
    ),
    "gi_suspended": "a generator's frame leads to its callers",
    "cr_suspended": "a coroutine's frame leads to its callers",
    "ag_suspended": "a coroutine's frame leads to its callers",
    "f_generator": "a frame holds the globals and builtins of every caller",
    "cell_contents": "a closure's cell gives, and changes, what a function of someone else's keeps",
    "mro": "the list of base classes ends in object, from which every class can be reached; use isinstance()",
    "format_map": "a format string can walk through attributes; use format() with keyword arguments or an f-string",
}
REFUSED_TO_BIND = frozenset(REFUSED)

# What a read of a dunder may safely give, of any object: texts, and the methods behind operators and statements.
_OPERATORS = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
_METHODS = frozenset(
    f"__{name}__"
    for name in [
        *_OPERATORS,
        *(f"r{name}" for name in _OPERATORS),
        *(f"i{name}" for name in _OPERATORS if name != "divmod"),
        *"lt le eq ne gt ge hash bool len length_hint int float complex index round trunc floor ceil".split(),
        *"neg pos abs invert str repr bytes format iter next reversed contains getitem setitem delitem missing".split(),
        *"call enter exit aenter aexit aiter anext await post_init init_subclass class_getitem copy".split(),
        *"deepcopy dir".split(),
    ]
)
READABLE = _METHODS | {
    "__name__", "__qualname__", "__doc__", "__module__", "__version__", "__slots__", "__match_args__",
    "__cause__", "__context__", "__suppress_context__", "__notes__",
}  # fmt: skip
GATED_DUNDERS = frozenset({"__class__", "__init__", "__new__", "__setattr__", "__delattr__", "__members__"})
# What `super()` without arguments gives of any class: the agent's own object, one class further up.
READABLE_OF_SUPER = READABLE | {"__init__", "__new__"}
# A decorator names the function that it returns.
STORABLE_DUNDERS = frozenset({"__name__", "__qualname__", "__doc__"})

# Methods that a class of the agent may define. Left out: what answers for the class's place in the type system
# (__instancecheck__, __mro_entries__), what pickling and copying obey (__reduce__), what C code trusts as a description
# of memory (__array_interface__, __buffer__), and what runs after the action (__del__).
DEFINABLE = _METHODS | {
    "__new__", "__init__", "__getattr__", "__setattr__", "__delattr__", "__set_name__", "__get__", "__set__", "__delete__",
}  # fmt: skip
# Names that a class body may assign to; __match_args__ and __slots__ only as literals.
ASSIGNABLE = _METHODS | {"__doc__", "__slots__", "__match_args__", "__version__", "__author__"}
LITERAL_ONLY = frozenset({"__slots__", "__match_args__"})

_DUNDER_REMEDIES = {
    "__class__": "use type(x) or isinstance()",
    "__dict__": "it is a way around every check; use vars(x) on an object of your own class",
    "__import__": "use the import statement",
    "__builtins__": "it is a way around every check; the builtins are there under their own names",
    "__mro__": "the base classes lead to object, from which every class can be reached; use isinstance()",
    "__bases__": "the base classes lead to object, from which every class can be reached; use isinstance()",
    "__base__": "the base classes lead to object, from which every class can be reached; use isinstance()",
    "__subclasses__": "every class can be reached from object",
    "__globals__": "a function's globals are those of its module",
    "__code__": "a code object can be altered and run",
    "__traceback__": "a traceback holds frames; str(error) and repr(error) say what happened",
    "__del__": "it would run when the action is over; use a context manager",
    "__getattribute__": "it is asked for internal names too; define __getattr__, or use getattr()",
    "__reduce__": "it decides what is called when a value is copied or loaded",
    "__annotations__": "annotations are evaluated by libraries; write them in the class body",
}

# Attributes whose meaning depends on the object, beyond those of a registration's `exclude`. Which objects, and what
# happens there, is in dangerous.py and gates.py. The names of modules are among them because a library keeps what it
# imported for itself: the way to `os` leads through an attribute of that name.
#
# Those of MAPPINGS give a view of a dict that belongs to a library, and a view hands the dict itself to whoever is compared
# with it. That of numpy's fields says where in memory what lies.
MAPPINGS = frozenset({"fields", "mapping", "metadata", "parameters", "registry"})
DOUBTFUL = MAPPINGS | {"format", "obj", "register"} | {name.partition(".")[0] for name in {*EXPLICIT, *ONLY, *HIDDEN}}
