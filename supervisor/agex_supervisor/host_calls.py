"""Functions of the application that agent code may call: arguments decoded and validated by the host's own annotations.

The worker chooses the arguments; nothing of it chooses the function beyond a name in this table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import GenericAlias
from typing import Any

from agex_policies.host_calls import HostCallLimits
from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.buffers import Bytes, enclose
from agex_protocol.errors import ProtocolError
from agex_protocol.placing import MIN_BYTES, total_bytes
from agex_supervisor.allowance import Allowance
from agex_supervisor.arenas import Bulk
from agex_supervisor.contract import Contract, ContractMismatch
from agex_supervisor.display import display
from agex_supervisor.outbound import Admit, NotSendable, dump
from agex_supervisor.turn import Value

MAX_ERROR_CHARS = 2_000
MAX_DOC_CHARS = 2_000


@dataclass(frozen=True)
class Hosted:
    """One function with what its parameters declare."""

    function: Callable[..., Any]
    declared: m.HostFunction
    contracts: Mapping[str, Contract]
    signature: inspect.Signature


def hosted(
    name: str, function: Callable[..., Any], signature: inspect.Signature, doc: str | None, *, local: bool = False
) -> Hosted:
    """A function under the name that code calls it by. `signature` carries annotations as objects.

    Raises Unportable where a parameter's class has no codec, unless `local`: then nothing has to cross.
    """
    contracts: dict[str, Contract] = {}
    parameters: list[m.HostParameter] = []
    for parameter in signature.parameters.values():
        annotation: Any = Any if parameter.annotation is parameter.empty else parameter.annotation
        if parameter.kind is parameter.VAR_POSITIONAL:
            annotation = GenericAlias(tuple, (annotation, ...))
        elif parameter.kind is parameter.VAR_KEYWORD:
            annotation = GenericAlias(dict, (str, annotation))
        contract = Contract.of(annotation, where=f"{name}({parameter.name})", local=local)
        contracts[parameter.name] = contract
        optional = parameter.default is not parameter.empty
        shape = b"" if local else contract.shape.to_bytes()
        parameters.append(m.HostParameter(parameter.name, parameter.kind.name, optional, shape))
    declared = m.HostFunction(name, (doc or "")[:MAX_DOC_CHARS], tuple(parameters))
    return Hosted(function, declared, contracts, signature)


class HostCalls:
    """Answers the Calls of one session, as many and as openly as the policy's `limits` say."""

    def __init__(
        self,
        functions: Iterable[Hosted],
        caps: Caps,
        admit: Admit | None = None,
        limits: HostCallLimits = HostCallLimits(),  # noqa: B008 -- frozen
    ) -> None:
        self._functions = {each.declared.name: each for each in functions}
        self._caps = caps
        self._admit = admit
        self._allowance = Allowance(limits)
        self._messages = limits.messages

    @property
    def declared(self) -> tuple[m.HostFunction, ...]:
        return tuple(each.declared for each in self._functions.values())

    def __call__(self, call: m.Call, values: list[Value]) -> Iterable[object]:
        """Decode the arguments now, run the function when the answer is read: only the second is the host's own time.

        ProtocolError if the worker named what it was not given.
        """
        hosted = self._functions.get(call.name)
        if hosted is None:
            raise ProtocolError(f"a call of {call.name[:60]!r}, which is not registered")
        if refusal := self._allowance.refusal_of_call():
            return _refused(call, "host_calls.max_rate", refusal)
        if refusal := self._allowance.refusal_of_bytes(sum(_size(head, buffers) for head, buffers in values)):
            return _refused(call, "host_calls.max_bytes", refusal)
        if sum(len(head) for head, _ in values) > self._caps.head_bytes:
            text = f"{call.name}(): its arguments are too large together; pass arrays or DataFrames"
            return _failed(call, "TypeError", text)
        given: dict[str, Any] = {}
        for argument, (head, buffers) in zip(call.arguments, values, strict=True):
            contract = hosted.contracts.get(argument.name)
            if contract is None or argument.name in given:
                raise ProtocolError(f"{call.name}() has no such argument left: {argument.name[:60]!r}")
            try:
                given[argument.name] = contract.decode(head, buffers, self._caps, borrow=True)
            except ContractMismatch as error:
                text = f"{call.name}({argument.name}=...): {display(str(error), limit=MAX_ERROR_CHARS)}"
                return _failed(call, "TypeError", text)
        _refuse_shifted(hosted, given)
        return self._run(call, hosted, given)

    def _run(self, call: m.Call, hosted: Hosted, given: dict[str, Any]) -> Iterator[object]:
        yield from self._answered(call, hosted, given)

    def _answered(self, call: m.Call, hosted: Hosted, given: dict[str, Any]) -> Iterable[object]:
        try:
            args, kwargs = spread(hosted, given)
        except TypeError as error:
            return _failed(call, "TypeError", str(error))
        try:
            head, buffers = dump(hosted.function(*args, **kwargs), self._admit)
        except NotSendable as error:
            kind, text = "TypeError", f"the result of {call.name}() cannot cross to here: {error}"
        except Exception as error:
            kind, text = type(error).__name__, _text(error) if self._messages else ""
        else:
            if refusal := self._allowance.refusal_of_bytes(_size(head, buffers)):
                return _refused(call, "host_calls.max_bytes", refusal)
            return _sent(call.action, call.call, head, buffers)
        if not self._messages:
            text = f"{call.name}() failed; the policy keeps back why (host_calls.errors)"
        return _failed(call, kind, text)


def _refuse_shifted(hosted: Hosted, given: Mapping[str, Any]) -> None:
    """ProtocolError for arguments that no call can have, and by which one would take the place of another unchecked."""
    skipped = False
    for parameter in hosted.declared.parameters:
        name, kind = parameter.name, parameter.kind
        if name not in given:
            skipped = skipped or kind in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")
        elif skipped and (kind == "POSITIONAL_ONLY" or (kind == "VAR_POSITIONAL" and given[name])):
            raise ProtocolError(f"{hosted.declared.name}() got {name!r} past an argument that was left out")
        elif kind == "VAR_KEYWORD":
            named = {each.name for each in hosted.declared.parameters if each.kind != "POSITIONAL_ONLY"}
            if twice := sorted(named & set(given[name])):
                raise ProtocolError(f"{hosted.declared.name}() got {twice[0]!r} once more among {name!r}")


def spread(hosted: Hosted, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by parameter name, as a call takes them. TypeError where one without a default is missing."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    positional = True
    for parameter in hosted.declared.parameters:
        name, kind = parameter.name, parameter.kind
        if name not in given:
            if not parameter.optional and kind not in ("VAR_POSITIONAL", "VAR_KEYWORD"):
                raise TypeError(f"{hosted.declared.name}() misses its argument {name!r}")
            positional = False  # what follows goes by keyword, past the one left at its default
        elif kind == "VAR_POSITIONAL":
            args += given[name]
        elif kind == "VAR_KEYWORD":
            kwargs |= given[name]
        elif kind == "POSITIONAL_ONLY" or (kind == "POSITIONAL_OR_KEYWORD" and positional):
            args.append(given[name])
        else:
            kwargs[name] = given[name]
    return args, kwargs


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


def _refused(call: m.Call, key: str, why: str) -> list[object]:
    return _failed(call, "PermissionError", f"{call.name}() was refused: {why} ({key})")


def _size(head: Bytes, buffers: Sequence[Bytes]) -> int:
    return len(head) + sum(memoryview(buffer).nbytes for buffer in buffers)


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception as second:
        return f"<its text cannot be made: {type(second).__name__}>"
