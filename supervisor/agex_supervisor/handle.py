"""Handle: an object that stays where it is, as its caller sees it. Every look at it is an operation in the worker that holds it.

The worker has no say in what is reached: names, arguments and the types of results are checked here, by the declared type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from agex_protocol.operations import is_public
from agex_supervisor.display import display
from agex_supervisor.opaque import Opaque

if TYPE_CHECKING:
    from agex_supervisor.contract import Contract
    from agex_supervisor.reach import Reach

T_co = TypeVar("T_co", covariant=True)

MAX_TYPE_CHARS = 200
MAX_REPR_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that stayed behind, as its worker tells of it: a number of its own, and two texts that nobody checked."""

    number: int
    type: str
    repr: str


class Holder(Protocol):
    """What has the objects: a worker's keeper, or this process itself with isolation "none"."""

    def use(
        self,
        number: int,
        operation: str,
        name: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        returns: Contract | None,
    ) -> Any:
        """One operation of agex_protocol.operations. `returns`: None where nothing is declared of its result."""
        ...

    def close(self, number: int) -> None:
        """The object is not needed any more."""
        ...

    def why_gone(self, number: int) -> str:
        """Why the object is there no more; "" while it is."""
        ...


class Handle(Generic[T_co]):
    """Stands for an object that stays in its worker. Annotate a result with `Handle[T]`; the code gives a T.

    Call it, call its methods and read its attributes, as far as T has them by a public name; `len(h)` and `h[key]` likewise.
    Each is run in the worker, under its policy and within `limits.wall_time`. What an operation gives is validated by T's
    annotations; data without one crosses as it is, and any other object as a Handle again. Close it, or use it in a `with`:
    a worker whose last handle is closed, forgotten or idle for too long is let go. HandleClosed says that the object is gone.
    """

    __slots__ = ("__weakref__", "_agex")

    # Not by asking for item after item.
    __iter__: ClassVar[None] = None
    __contains__: ClassVar[None] = None

    def __init__(self, holder: Holder, kept: Kept, reach: Reach) -> None:
        self._agex = Held(holder, kept, reach)

    def close(self) -> None:
        """Let go of the object. Afterwards everything raises HandleClosed; closing twice is nothing."""
        self._agex.holder.close(self._agex.kept.number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        held = self._agex
        return held.use("call", "", held.reach.checked(args), kwargs, held.reach.of_call())

    def __getattr__(self, name: str) -> Any:
        if not is_public(name):
            raise AttributeError(f"a handle does not reach {name!r}: it is not a public name")
        held = self._agex
        is_method = held.reach.is_method(name)
        if is_method is None:
            is_method = held.use("callable", name, (), {}, held.reach.of_question())
        if is_method:
            return Method(self, name)
        return held.use("get", name, (), {}, held.reach.of_member(name))

    def __len__(self) -> int:
        held = self._agex
        return int(held.use("len", "", (), {}, held.reach.of_length()))

    def __getitem__(self, key: Any) -> Any:
        held = self._agex
        return held.use("item", "", (key,), {}, held.reach.of_item())

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._agex.reach.names()})

    def __reduce__(self) -> str:
        raise TypeError("a Handle cannot be pickled or copied: it belongs to a worker; declare the result as Opaque")

    def __repr__(self) -> str:
        held = self._agex
        kind = display(held.kept.type, limit=MAX_TYPE_CHARS, one_line=True)
        gone = "closed " if held.holder.why_gone(held.kept.number) else ""
        return f"<{gone}Handle of {kind}: {display(held.kept.repr, limit=MAX_REPR_CHARS, one_line=True)}>"


@dataclass(frozen=True, slots=True)
class Held:
    """What a Handle is made of: kept apart, so that no name of its own hides one of the object's."""

    holder: Holder
    kept: Kept
    reach: Reach

    def use(
        self,
        operation: str,
        name: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        returns: Contract | None,
    ) -> Any:
        return self.holder.use(self.kept.number, operation, name, args, kwargs, returns)

    def sealed(self) -> Opaque[Any]:
        """The object as sealed bytes, for another worker."""
        # Here, because contracts are made of what this module is needed for.
        from agex_supervisor.contract import Contract

        returns = Contract.of(Opaque[Any], where="the object", result=True)
        opaque: Opaque[Any] = self.use("self", "", (), {}, returns)
        return opaque


class Method:
    """A method of an object that stays where it is, to be called."""

    __slots__ = ("_handle", "_name")

    def __init__(self, handle: Handle[Any], name: str) -> None:
        self._handle = handle  # all of it, for it is not to be forgotten before the call is over
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        held = held_by(self._handle)
        return held.use("method", self._name, args, kwargs, held.reach.of_member(self._name))

    def __repr__(self) -> str:
        return f"<method {self._name} of {self._handle!r}>"


def held_by(handle: Handle[Any]) -> Held:
    """What is behind a handle, for who passes it on."""
    return handle._agex  # pyright: ignore[reportPrivateUsage]  # of this module
