"""Handles where nothing crosses: with isolation "none" the object is in this process, and its handle behaves as any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agex_protocol.bulk import BARE
from agex_protocol.kinds import kind_undeclared
from agex_protocol.operations import perform
from agex_supervisor.error_info import ErrorInfo, error_info
from agex_supervisor.errors import CodeError, ContractError, HandleClosed
from agex_supervisor.handle import Handle, Kept, held_by

if TYPE_CHECKING:
    from agex_supervisor.contract import Contract


def handle_of(value: Any, wanted: Any) -> Handle[Any]:
    """A handle of an object of this process."""
    # Here, because contracts need this module.
    from agex_supervisor.reach import Reach

    kind = str.__str__(type(value).__qualname__)
    return Handle(LocalHolder(value), Kept(0, kind, _text(repr, value)), Reach(wanted, local=True))


def local_object(handle: Handle[Any]) -> object:
    """The object of a handle that was made here. ContractError for one of a worker: no worker's object comes here."""
    holder = held_by(handle).holder
    if not isinstance(holder, LocalHolder):
        raise ContractError(f"{handle!r} is of a worker, and isolation='none' has none; use 'process' or 'kernel'")
    return holder.target


class LocalHolder:
    """Holds one object."""

    def __init__(self, target: object) -> None:
        self._target = target
        self._closed = False

    @property
    def target(self) -> Any:
        if self._closed:
            raise HandleClosed("the object behind this handle is gone: the handle was closed")
        return self._target

    def use(
        self,
        number: int,
        operation: str,
        name: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        returns: Contract | None,
    ) -> Any:
        from agex_supervisor.contract import ContractMismatch
        from agex_supervisor.wording import as_worker_says

        given = [local_object(each) if isinstance(each, Handle) else each for each in args]
        named = {key: local_object(each) if isinstance(each, Handle) else each for key, each in kwargs.items()}
        target = self.target
        try:
            value = perform(target, operation, name, given, named)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit of the code ends a worker's operation, and not the application
            told = _told(error)
            raise CodeError(f"{told.type}: {told.message}", error=told) from error
        if returns is None:
            plain = type(value) in BARE or kind_undeclared(value) is not None
            return value if plain else handle_of(value, Any)
        try:
            return returns.check(value)
        except ContractMismatch as error:
            text = as_worker_says(value, returns.shape, "result") or str(error)
            told = error_info("ContractError", text, "")
            raise CodeError(f"{told.type}: {told.message}", error=told) from None

    def close(self, number: int) -> None:
        self._closed = True
        self._target = None

    def why_gone(self, number: int) -> str:
        return "the handle was closed" if self._closed else ""


def _told(error: BaseException) -> ErrorInfo:
    try:
        text = _text(str, error)
    except KeyboardInterrupt:
        raise
    except BaseException as second:
        text = f"<its str cannot be made: {str.__str__(type(second).__name__)}>"
    return error_info(type(error).__name__, text, "")


def _text(call: Callable[[object], str], value: object) -> str:
    """As a plain str, whatever the object's class makes of it."""
    try:
        return str.__str__(call(value))
    except Exception as error:
        return f"<its {call.__name__} cannot be made: {str.__str__(type(error).__name__)}>"
