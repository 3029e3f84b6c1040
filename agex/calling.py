"""How a task is called, as type checkers see it: with its own arguments, or with these and options of the call."""

from __future__ import annotations

from typing import Any, Generic, ParamSpec, TypeVar, overload

from agex.options import EventHandler
from agex_supervisor.model import TokenHandler

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Calling(Generic[P, R_co]):
    """One overload for each option: no annotation can say "these parameters, and some keywords". Where a call has an option,
    its own arguments are checked when it is made; `with_options` has them checked before."""

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, /, *args: Any, session: str, **others: Any) -> R_co: ...
    @overload
    def __call__(self, /, *args: Any, tenant: str, **others: Any) -> R_co: ...
    @overload
    def __call__(self, /, *args: Any, on_event: EventHandler, **others: Any) -> R_co: ...
    @overload
    def __call__(self, /, *args: Any, on_token: TokenHandler, **others: Any) -> R_co: ...
    @overload
    def __call__(self, /, *args: Any, timeout_s: float | None, **others: Any) -> R_co: ...
    @overload
    def __call__(self, /, *args: Any, max_actions: int | None, **others: Any) -> R_co: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._called(args, kwargs)

    def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError
