"""Host functions and objects for code that runs in this process: the same proxies as in a worker, and nothing encoded.

Arguments are validated by the annotations, objects whose class is registered are given by handles, as across a process.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from agex.containers import replaced
from agex.interruption import Passing
from agex_protocol.errors import ProtocolError
from agex_protocol.host_handle import HostHandle, target_of
from agex_supervisor.contract import Contract, ContractMismatch
from agex_supervisor.handle import Handle
from agex_supervisor.host_calls import HostCalls, spread
from agex_supervisor.local_holder import local_object
from agex_supervisor.outbound import NotSendable, Refer
from agex_supervisor.wording import as_worker_says
from agex_worker.from_outside import FromOutside
from agex_worker.host_function import proxy
from agex_worker.host_objects import HostNames, host_names
from agex_worker.sandbox.own import GATE_NAME


class DirectCalls:
    """What agent code finds under `names`. `away` is entered while a host function runs."""

    def __init__(self, calls: HostCalls, away: Callable[[], AbstractContextManager[None]]) -> None:
        self._calls = calls
        self._away = away
        # In which agent code was started: it has none of this on threads that it starts itself.
        self.context = contextvars.copy_context()
        self.thread = 0
        self.names: HostNames = host_names(calls.declared, calls.objects, self._ask, self._gone)
        self.commanding = {each.name: proxy(each, self._ask) for each in calls.commanding}

    def presented(self, value: object) -> object:
        """A value as agent code gets it. NotSendable when it holds too many handles already."""
        if isinstance(value, Handle) or self._calls.takes_handles:
            value = replaced(value, _behind)
        with self._calls.handles.lending() as refer:
            return value if refer is None else self._lent(value, refer)

    def found(self, value: object) -> object:
        """A value of agent code with the objects of this process for what it has in their place."""
        return replaced(value, self._meant)

    def _ask(self, name: str, arguments: Mapping[str, Any], shapes: object) -> object:
        owner, hosted = self._calls.find(name)
        shown = hosted.declared.name
        given = {key: self._checked(shown, key, hosted.contracts[key], value) for key, value in arguments.items()}
        try:
            args, kwargs = spread(hosted, given)
        except TypeError as error:
            raise TypeError(f"{shown}(): {error}") from None
        try:
            with self._away():
                result = self._in_context(lambda: self._calls.result(hosted, (*owner, *args), kwargs))
        except Exception as error:
            # As across a process: what went wrong, and nothing of where in the application that was.
            raise error.with_traceback(None) from None
        except FromOutside:
            raise
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt) and _is_of_code(error):
                raise  # of a function that it gave to this one, and no business of the application's
            raise Passing(error) from None
        try:
            return self.presented(result)
        except NotSendable as error:
            raise TypeError(f"the result of {shown}() cannot cross to here: {error}") from None

    def _in_context(self, call: Callable[[], object]) -> object:
        return call() if threading.get_ident() == self.thread else self.context.copy().run(call)

    def begin(self) -> None:
        """A run begins on this thread."""
        self.context, self.thread = contextvars.copy_context(), threading.get_ident()

    def _gone(self, target: str) -> None:
        with contextlib.suppress(ProtocolError):  # the session is over, and the table is empty
            self._calls.handles.take_back([target])

    def _checked(self, function: str, name: str, contract: Contract, value: object) -> object:
        if contract.takes_hosted:
            value = self.found(value)
        elif isinstance(value, HostHandle):
            raise TypeError(f"{function}(): {value!r} goes only where its class is declared")
        try:
            return contract.check(value)
        except ContractMismatch as error:
            said = "" if contract.takes_hosted else as_worker_says(value, contract.shape, name)
            text = said or f"{function}({name}=...): {error}"
            raise TypeError(text) from None

    def _meant(self, value: object) -> object:
        return self._calls.handles.find(target_of(value)) if isinstance(value, HostHandle) else value

    def _lent(self, value: object, refer: Refer) -> object:
        def given(part: object) -> object:
            reference = refer(part)
            return part if reference is None else self.names.restore(reference.target, reference.kind)

        return replaced(value, given)


def _behind(value: object) -> object:
    return local_object(value) if isinstance(value, Handle) else value


def _is_of_code(error: BaseException) -> bool:
    """Whether it came up in agent code, or in what that is given to end itself."""
    trace = error.__traceback__
    while trace is not None:
        scope = trace.tb_frame.f_globals
        if GATE_NAME in scope or str(scope.get("__name__")).startswith("agex_worker."):
            return True
        trace = trace.tb_next
    return False
