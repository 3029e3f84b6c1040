"""The objects of this process that one session's worker may name: live ones by the name of their registration, and what
its host functions gave by 128 random bits.

A name that is not in this table was never given to that worker, or it gave it back: either breaks the protocol.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agex_protocol import messages as m
from agex_protocol.errors import ProtocolError
from agex_protocol.host_handle import MAX_HANDLES, HostReference
from agex_supervisor.host_objects import HostedObject
from agex_supervisor.hosted import Hosted
from agex_supervisor.outbound import BARE, Admit, Local, NotSendable, Refer, dump

if TYPE_CHECKING:
    from agex_supervisor.keeper import Keeper


class HostHandles:
    """Of one worker; used by the one thread that has its turn, or makes what it is sent."""

    def __init__(self, objects: Sequence[HostedObject]) -> None:
        self.keeper: Keeper | None = None  # of that worker
        self._objects = objects
        self._live = {each.declared.name: (each.live, each) for each in objects if each.live is not None}
        self._names = {id(owner): name for name, (owner, _) in self._live.items()}
        self._kinds: dict[type, int] = {}
        for number, each in sorted(enumerate(objects), key=lambda pair: pair[1].live is None):
            if each.cls.__module__ != "builtins":  # a dict that a function returns is data
                self._kinds[each.cls] = number
        self._lent: dict[str, tuple[object, HostedObject]] = {}

    def __len__(self) -> int:
        return len(self._lent)

    def fresh(self) -> HostHandles:
        """For another worker, which has been given nothing yet."""
        return HostHandles(self._objects)

    def find(self, target: str) -> object:
        """The object itself. ProtocolError for a name that this worker does not hold."""
        return self._held(target)[0]

    def member(self, name: str) -> tuple[object, Hosted]:
        """The owner and the member for a name as a Call has it. ProtocolError where either was not given."""
        target, _, member = name.rpartition(".")
        owner, hosted_object = self._held(target)
        hosted = hosted_object.members.get(member)
        if hosted is None:
            raise ProtocolError(f"a call of {name[-60:]!r}, which is not registered")
        return owner, hosted

    def dump(self, value: object, admit: Admit | None, *, local: Local | None = None) -> tuple[bytes, list[memoryview]]:
        """A value on its way to the worker. NotSendable as of `dump`, and where it would hold too many handles."""
        if local is None and self.keeper is not None:
            local = self.keeper.number_of
        if not self._objects or type(value) in BARE:
            return dump(value, admit, local=local)
        with self.lending() as refer:
            return dump(value, admit, refer, local=local)

    @contextmanager
    def lending(self) -> Generator[Refer | None]:
        """For one value on its way to the worker; what an error keeps from going is not lent either."""
        if not self._objects:
            yield None
            return
        lent: list[str] = []

        def refer(value: object) -> HostReference | None:
            name = self._names.get(id(value))
            if name is not None:
                return HostReference(name, self._number(self._live[name][1]))
            kind = next((self._kinds[each] for each in type(value).__mro__ if each in self._kinds), None)
            if kind is None:
                return None
            if len(self._lent) >= MAX_HANDLES:
                raise NotSendable(
                    f"the code holds {MAX_HANDLES} objects of this kind already; let go of some, or ask for plain data"
                )
            target = f"@{secrets.token_hex(16)}"
            self._lent[target] = (value, self._objects[kind])
            lent.append(target)
            return HostReference(target, kind)

        try:
            yield refer
        except BaseException:
            for target in lent:
                self._lent.pop(target, None)
            raise

    def returned(self, returned: m.Returned) -> None:
        """ProtocolError if the worker gives back what it does not hold."""
        self.take_back(returned.targets)

    def take_back(self, targets: Iterable[str]) -> None:
        """The worker holds these no more. ProtocolError for one that it does not hold."""
        for target in targets:
            if self._lent.pop(target, None) is None:
                raise ProtocolError(f"{target[:60]!r} was given back, which is not held")

    def clear(self) -> None:
        """The worker is gone, and with it all that it held."""
        self._lent.clear()

    def _held(self, target: str) -> tuple[object, HostedObject]:
        held = self._lent.get(target) or self._live.get(target)
        if held is None:
            raise ProtocolError(f"{target[:60]!r} names no object that this worker holds")
        return held

    def _number(self, wanted: HostedObject) -> int:
        return next(number for number, each in enumerate(self._objects) if each is wanted)
