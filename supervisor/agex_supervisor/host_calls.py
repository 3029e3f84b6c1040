"""Functions and objects of the application that agent code may use: arguments decoded and validated by the host's own
annotations.

The worker chooses the arguments; nothing of it chooses what is called beyond a name in a table of ours.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agex_policies.host_calls import HostCallLimits
from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.buffers import Bytes, enclose
from agex_protocol.errors import ProtocolError
from agex_protocol.placing import MIN_BYTES, total_bytes
from agex_supervisor.allowance import Allowance
from agex_supervisor.arenas import Bulk
from agex_supervisor.awaiting import Awaiting
from agex_supervisor.contract import Contract, ContractMismatch
from agex_supervisor.display import display
from agex_supervisor.host_handles import HostHandles
from agex_supervisor.host_objects import HostedObject
from agex_supervisor.hosted import Hosted as Hosted
from agex_supervisor.hosted import hosted as hosted
from agex_supervisor.hosted import refuse_shifted
from agex_supervisor.hosted import spread as spread
from agex_supervisor.outbound import Admit, NotSendable, dump
from agex_supervisor.turn import Value

MAX_ERROR_CHARS = 2_000
MAX_TYPE_CHARS = 200


class HostCalls:
    """Answers the Calls of one session, as many and as openly as the policy's `limits` say."""

    def __init__(
        self,
        functions: Iterable[Hosted],
        caps: Caps,
        admit: Admit | None = None,
        limits: HostCallLimits = HostCallLimits(),  # noqa: B008 -- frozen
        objects: Sequence[HostedObject] = (),
        commanding: Iterable[Hosted] = (),
    ) -> None:
        self._bare = tuple(functions)
        self._commanding = tuple(commanding)
        self._objects = tuple(objects)
        self._functions = {each.declared.name: each for each in self._bare}
        # Under names with a space, which no function of agent code can have.
        self._functions |= {each.declared.name: each for each in self._commanding}
        self._functions |= {name: each for item in objects for name, each in item.functions.items()}
        members = (each for item in self._objects for each in item.members.values())
        # Whether some of them may be given objects that stay in the worker.
        self.takes_handles = any(each.takes_handles for each in (*self._functions.values(), *members))
        self._caps = caps
        self._admit = admit
        self._allowance = Allowance(limits)
        self._messages = limits.messages
        self.handles = HostHandles(self._objects)
        self.awaiting = Awaiting()

    def fresh(self, handles: HostHandles) -> HostCalls:
        """The same for another worker of the session, while one is left with these: what is lent to it, what it waits for."""
        other = copy.copy(self)
        other.handles, other.awaiting = handles, Awaiting()
        return other

    @property
    def declared(self) -> tuple[m.HostFunction, ...]:
        return tuple(each.declared for each in self._bare)

    @property
    def commanding(self) -> tuple[m.HostFunction, ...]:
        """By which commands of the terminal are run; not for agent code itself."""
        return tuple(each.declared for each in self._commanding)

    @property
    def objects(self) -> tuple[m.HostObject, ...]:
        return tuple(each.declared for each in self._objects)

    def __call__(self, call: m.Call, values: list[Value]) -> Iterable[object]:
        """Decode the arguments now, run the function when the answer is read: only the second is the host's own time.

        ProtocolError if the worker named what it was not given.
        """
        owner, hosted = self.find(call.name)
        if refusal := self._allowance.refusal_of_call():
            return _refused(call, hosted, "host_calls.max_rate", refusal)
        if self._allowance.counts_bytes:
            if refusal := self._allowance.refusal_of_bytes(sum(_size(head, buffers) for head, buffers in values)):
                return _refused(call, hosted, "host_calls.max_bytes", refusal)
        if sum([len(head) for head, _ in values]) > self._caps.head_bytes:
            text = f"{hosted.declared.name}(): its arguments are too large together; pass arrays or DataFrames"
            return _failed(call, "TypeError", text)
        given: dict[str, Any] = {}
        for argument, (head, buffers) in zip(call.arguments, values, strict=True):
            contract = hosted.contracts.get(argument.name)
            if contract is None or argument.name in given:
                raise ProtocolError(f"{hosted.declared.name}() has no such argument left: {argument.name[:60]!r}")
            try:
                given[argument.name] = self._decoded(contract, head, buffers)
            except ContractMismatch as error:
                text = f"{hosted.declared.name}({argument.name}=...): {display(str(error), limit=MAX_ERROR_CHARS)}"
                return _failed(call, "TypeError", text)
        refuse_shifted(hosted, given)
        return self._run(call, owner, hosted, given)

    def _decoded(self, contract: Contract, head: bytes, buffers: list[memoryview]) -> object:
        keeper, find = self.handles.keeper, self.handles.find
        if contract.has_handles and keeper is not None:
            return keeper.decode(contract, head, buffers, self._caps, find=find)
        return contract.decode(head, buffers, self._caps, find=find, borrow=True)

    def find(self, name: str) -> tuple[tuple[object, ...], Hosted]:
        """What goes before the arguments of a call, and what is called. ProtocolError for a name that was not given."""
        hosted = self._functions.get(name)
        if hosted is not None:
            return (), hosted
        if "." not in name:
            raise ProtocolError(f"a call of {name[:60]!r}, which is not registered")
        owner, hosted = self.handles.member(name)
        return (owner,), hosted

    def result(self, hosted: Hosted, args: Iterable[object], kwargs: Mapping[str, Any]) -> object:
        """What it gives for arguments that were checked; what an `async def` gives is awaited."""
        result = hosted.function(*args, **kwargs)
        return self.awaiting.result(result) if hasattr(type(result), "__await__") else result

    def _run(self, call: m.Call, owner: tuple[object, ...], hosted: Hosted, given: dict[str, Any]) -> Iterator[object]:
        # Now, and not with the next action: else a loop of calls would leave an object of each behind. Before the function
        # is called, since what it gives may be the last handle of an object.
        keeper = self.handles.keeper if self.takes_handles else None
        if keeper is not None and (gone := keeper.take_dropped()):
            yield m.Drop(tuple(gone))
        yield from self._answered(call, owner, hosted, given)

    def _answered(
        self, call: m.Call, owner: tuple[object, ...], hosted: Hosted, given: dict[str, Any]
    ) -> Iterable[object]:
        name = hosted.declared.name
        try:
            args, kwargs = spread(hosted, given)
        except TypeError as error:
            return _failed(call, "TypeError", str(error))
        try:
            result = self.result(hosted, (*owner, *args), kwargs)
            head, buffers = self.handles.dump(result, self._admit)
        except NotSendable as error:
            kind, text = "TypeError", f"the result of {name}() cannot cross to here: {error}"
        except Exception as error:
            kind, text = type(error).__name__[:MAX_TYPE_CHARS], _text(error) if self._messages else ""
        else:
            if self._allowance.counts_bytes:
                if refusal := self._allowance.refusal_of_bytes(_size(head, buffers)):
                    return _refused(call, hosted, "host_calls.max_bytes", refusal)
            return _sent(call.action, call.call, head, buffers)
        if not self._messages:
            text = f"{name}() failed; the policy keeps back why (host_calls.errors)"
        return _failed(call, kind, text)


def answer(action: bytes, call: int, value: object = None, *, error_type: str = "", error: str = "") -> list[object]:
    """The messages that answer a Call: the value, or the error's type and text."""
    return _sent(action, call, *dump(value), error_type, error[:MAX_ERROR_CHARS])


def _sent(
    action: bytes, call: int, head: Bytes, buffers: Sequence[Bytes], error_type: str = "", error: str = ""
) -> list[object]:
    if total_bytes(head, buffers) >= MIN_BYTES:
        return [Bulk(m.Answer(action, call, m.Encoded(b""), error_type, error), head, buffers)]
    first, encoded = enclose(action, head, buffers)
    return [*first, m.Answer(action, call, encoded, error_type, error)]


def _failed(call: m.Call, error_type: str, error: str) -> list[object]:
    return answer(call.action, call.call, error_type=error_type, error=error)


def _refused(call: m.Call, hosted: Hosted, key: str, why: str) -> list[object]:
    return _failed(call, "PermissionError", f"{hosted.declared.name}() was refused: {why} ({key})")


def _size(head: Bytes, buffers: Sequence[Bytes]) -> int:
    return len(head) + sum(memoryview(buffer).nbytes for buffer in buffers)


def _text(error: Exception) -> str:
    if type(error) is KeyError and len(error.args) == 1 and isinstance(error.args[0], str):
        return error.args[0]  # a KeyError is made of the key and shows its repr, here and again in the worker
    try:
        return str(error)
    except Exception as second:
        return f"<its text cannot be made: {type(second).__name__}>"
