"""A task called with each of many items. The types of the results follow from the task's own, awaited or not."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from agex.batch import Batch
from agex.calling import Calling, P, R_co
from agex.driving import run
from agex.errors import ConfigurationError
from agex.options import Options
from agex.outcome import TaskOutcome
from agex_supervisor.bridge import on_thread

if TYPE_CHECKING:
    from agex.agent import Agent
    from agex.call import Call

Q = ParamSpec("Q")
V = TypeVar("V")
X = TypeVar("X")


class Mapped(Calling[P, R_co]):
    """What calls are made with many items."""

    __qualname__: str
    _options: Options

    @overload
    def map(
        self: Mapped[Concatenate[X, Q], Coroutine[Any, Any, V]],
        items: Iterable[X],
        /,
        concurrency: int = 4,
        outcomes: Literal[False] = False,
        **common: Any,
    ) -> list[V]: ...
    @overload
    def map(
        self: Mapped[Concatenate[X, Q], V],
        items: Iterable[X],
        /,
        concurrency: int = 4,
        outcomes: Literal[False] = False,
        **common: Any,
    ) -> list[V]: ...
    @overload
    def map(
        self: Mapped[Concatenate[X, Q], Any],
        items: Iterable[X],
        /,
        concurrency: int = 4,
        *,
        outcomes: Literal[True],
        **common: Any,
    ) -> list[TaskOutcome]: ...
    @overload
    def map(
        self: Mapped[Concatenate[X, Q], Any],
        items: Iterable[X],
        /,
        concurrency: int = 4,
        outcomes: bool = False,
        **common: Any,
    ) -> list[Any]: ...
    def map(self, items: Iterable[Any], /, concurrency: int = 4, outcomes: bool = False, **common: Any) -> list[Any]:
        """Call it with each item as first argument, each in a session of its own.

        The first failure cancels the rest, also what runs, and raises; with outcomes=True the list holds a TaskOutcome for
        each. `cancel()` ends all of it, which raises TaskCancelled.
        """
        return self._results(self._batch(outcomes, common), items, concurrency, outcomes)

    @overload
    async def amap(
        self: Mapped[Concatenate[X, Q], Coroutine[Any, Any, V]],
        items: Iterable[X],
        /,
        concurrency: int = 4,
        outcomes: Literal[False] = False,
        **common: Any,
    ) -> list[V]: ...
    @overload
    async def amap(
        self: Mapped[Concatenate[X, Q], V],
        items: Iterable[X],
        /,
        concurrency: int = 4,
        outcomes: Literal[False] = False,
        **common: Any,
    ) -> list[V]: ...
    @overload
    async def amap(
        self: Mapped[Concatenate[X, Q], Any],
        items: Iterable[X],
        /,
        concurrency: int = 4,
        *,
        outcomes: Literal[True],
        **common: Any,
    ) -> list[TaskOutcome]: ...
    @overload
    async def amap(
        self: Mapped[Concatenate[X, Q], Any],
        items: Iterable[X],
        /,
        concurrency: int = 4,
        outcomes: bool = False,
        **common: Any,
    ) -> list[Any]: ...
    async def amap(
        self, items: Iterable[Any], /, concurrency: int = 4, outcomes: bool = False, **common: Any
    ) -> list[Any]:
        """As `map`, awaited. Cancelling it ends all calls."""
        batch = self._batch(outcomes, common)
        return await on_thread(lambda: self._results(batch, items, concurrency, outcomes), batch.end)

    def _batch(self, outcomes: bool, common: dict[str, Any]) -> Batch:
        options = self._chosen(common)
        if options.session != self._options.session:
            raise ConfigurationError("each item of a map has a session of its own; leave out session=")

        def begin(options: Options, item: Any) -> Call:
            return self._call_with(options, (item,), dict(common))

        return Batch(begin, run, options, keep_going=outcomes)

    def _results(self, batch: Batch, items: Iterable[Any], concurrency: int, outcomes: bool) -> list[Any]:
        running, session = self.agent.running, self._options.session_of_tenant
        running.add(self.__qualname__, session, batch)
        try:
            done = batch.results(items, concurrency)
        finally:
            running.remove(self.__qualname__, session, batch)
        return list(done) if outcomes else [outcome.value for outcome in done]

    @property
    def agent(self) -> Agent:
        """The agent that fills it in."""
        raise NotImplementedError

    def _chosen(self, kwargs: dict[str, Any]) -> Options:
        raise NotImplementedError

    def _call_with(self, options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        raise NotImplementedError
