"""What a worker says of objects, its own and the supervisor's: forged, replayed, in any order, from another session.

`lent`, `held` and the like are each machine's own account, which the supervisor's tables have to agree with after each step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, cast

import msgpack
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.errors import ProtocolError, ValueRefused
from agex_protocol.turns import Conversation
from agex_supervisor.contract import Contract
from agex_supervisor.errors import CodeError, HandleClosed
from agex_supervisor.handle import Handle
from agex_supervisor.host_calls import HostCalls, hosted
from agex_supervisor.host_handles import HostHandles
from agex_supervisor.host_objects import HostedObject, Member, hosted_object
from agex_supervisor.keeper import Keeper, Service
from agex_supervisor.turn import Turn, no_network

STEADY = settings(derandomize=True, max_examples=60, stateful_step_count=25, deadline=None)
ACTION, OTHER = b"a" * 16, b"b" * 16
FORGED = ("", ".", "db", "@", "@" + "0" * 32, "Row", "price", "db.", "__class__", "@.double", "\0", "@" + "f" * 33)
MEMBERS = ("double", "row", "take", "label", "secret", "__class__", "__init__", "", "double.double", "number")


class Row:
    """Stays here."""

    def __init__(self, number: int) -> None:
        self.number = number

    def double(self, times: int = 1) -> int:
        CALLED.append(("double", self))
        return times

    def secret(self) -> str:
        CALLED.append(("secret", self))
        return "secret"


class Db:
    """A live object."""

    def take(self, row: Row) -> int:
        CALLED.append(("take", row))
        return 1


CALLED: list[tuple[str, object]] = []
DB = Db()


def _method(cls: type, name: str) -> Member:
    signature = inspect.signature(getattr(cls, name), eval_str=True)
    return Member(name, "method", signature.replace(parameters=list(signature.parameters.values())[1:]))


def _objects() -> tuple[HostedObject, ...]:
    hosts = (Row, Db)
    return (
        hosted_object("db", Db, DB, [_method(Db, "take")], hosts=hosts),
        hosted_object("Row", Row, None, [_method(Row, "double")], hosts=hosts),
    )


class Lending(RuleBasedStateMachine):
    """Calls and returns of one worker after the other, each killed at its first fault."""

    @initialize()
    def begin(self) -> None:
        price = hosted("price", lambda: CALLED.append(("price", None)), inspect.Signature(), "")
        self.calls = HostCalls([price], Caps(), objects=_objects())
        self.gone: list[str] = []
        self.lent: dict[str, Row] = {}
        self.foreign = HostHandles(_objects())
        self.foreign.dump(Row(0), None)
        self._another_worker()

    @rule(number=st.integers(0, 3))
    def the_supervisor_lends(self, number: int) -> None:
        rows = [Row(each) for each in range(number)]
        before = set(_names(self.calls.handles))
        self.calls.handles.dump([DB, *rows], None)
        new = [name for name in _names(self.calls.handles) if name not in before]
        self.lent.update(zip(new, rows, strict=True))

    @rule(data=st.data(), member=st.sampled_from(MEMBERS))
    def the_worker_calls_a_member(self, data: st.DataObject, member: str) -> None:
        target = data.draw(self._target())
        self._call(f"{target}.{member}", (), data)

    @rule(data=st.data(), name=st.sampled_from(["db.take", "price", "Row", "nothing", "db.take.take"]))
    def the_worker_gives_an_object(self, data: st.DataObject, name: str) -> None:
        value = data.draw(self._target() | st.sampled_from([None, 1, [], b"db", ["db"]]))
        argument = data.draw(st.sampled_from(["row", "row", "times", "self", ""]))
        count = data.draw(st.sampled_from([1, 1, 0, 2]))
        self._call(name, ((argument, value),) * count, data)

    @rule(data=st.data())
    def the_worker_gives_back(self, data: st.DataObject) -> None:
        targets = tuple(data.draw(st.lists(self._target(), max_size=3)))
        message = _crossed(m.Returned(data.draw(st.sampled_from([ACTION, ACTION, OTHER])), targets))
        fits = message.action == ACTION and len(set(targets)) == len(targets) and set(targets) <= set(self.lent)
        try:
            self.conversation.heard(message)
            self.calls.handles.returned(message)
        except ProtocolError:
            assert not fits
            self._another_worker()
            return
        assert fits
        for target in targets:
            del self.lent[target]
            self.gone.append(target)

    @invariant()
    def it_holds_what_it_was_lent(self) -> None:
        assert {name: self.calls.handles.find(name) for name in _names(self.calls.handles)} == self.lent
        assert self.calls.handles.find("db") is DB

    def _call(self, name: str, arguments: tuple[tuple[str, Any], ...], data: st.DataObject) -> None:
        number = self.number + data.draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
        action = data.draw(st.sampled_from([ACTION, ACTION, ACTION, ACTION, OTHER]))
        given = tuple(m.Argument(key, m.Encoded(msgpack.packb(value))) for key, value in arguments)
        message = _crossed(m.Call(action, number, name, given))
        due = (action, number) == (ACTION, self.number + 1)
        expected = self._expected(name, arguments) if due else None
        CALLED.clear()
        try:
            self.conversation.heard(message)
            answers = list(self.calls(message, [(each.value.head, []) for each in message.arguments]))
        except ProtocolError:
            assert expected is None
            assert CALLED == []
            self._another_worker()
            return
        assert isinstance(answers[-1], m.Answer)
        assert expected == CALLED
        self.conversation.answered()
        self.number += 1

    def _expected(self, name: str, arguments: tuple[tuple[str, Any], ...]) -> list[tuple[str, object]] | None:
        """What is to run, by this account; None where the worker breaks the rules."""
        keys = [key for key, _ in arguments]
        if name == "price":
            return [("price", None)] if not arguments else None
        if name == "db.take":
            if not arguments:
                return []  # the argument is missing, which is the code's own fault
            key, value = arguments[0]
            if (key, value) == ("row", "db"):
                return []  # an object that it holds, of another class
            row = self.lent.get(value) if isinstance(value, str) else None
            return [("take", row)] if row is not None and keys == ["row"] else None
        target, _, member = name.rpartition(".")
        if member == "double" and target in self.lent and not arguments:
            return [("double", self.lent[target])]
        return None

    def _target(self) -> st.SearchStrategy[str]:
        known = [*self.lent, *self.gone[-3:], *_names(self.foreign), "db"]
        return st.sampled_from([*known, *known, *FORGED])

    def _another_worker(self) -> None:
        self.gone += self.lent
        self.lent.clear()
        self.calls = self.calls.fresh(self.calls.handles.fresh())
        self.conversation, self.number = Conversation(), 0
        self.conversation.heard(m.Ready(m.PROTOCOL_VERSION, (), ()))
        self.conversation.run(ACTION)


class Told:
    """In the place of a pool, a place in it, a worker and its arenas: it answers as the machine says."""

    wait_s = 1.0
    ahead = False

    def __init__(self) -> None:
        self.killed: list[str] = []
        self.given_back = 0
        self.dropped: list[int] = []
        self.next = Turn()

    @property
    def worker(self) -> Told:
        return self

    @property
    def arenas(self) -> Told:
        return self

    def run(self, asked: m.Use, first: Iterable[object], **rest: Any) -> Turn:
        for message in first:
            self.dropped += message.handles if isinstance(message, m.Drop) else ()
        return self.next

    def kill(self, cause: str, detail: str) -> None:
        self.killed.append(cause)

    def checkin(self, place: object) -> None:
        self.given_back += 1

    def close(self) -> None:
        return


class Keeping(RuleBasedStateMachine):
    """Numbers of objects that a worker makes up, in results and in answers to what its handles are asked."""

    @initialize()
    def another_worker(self) -> None:
        self.told = Told()
        self.keeper = Keeper(cast(Any, self.told), cast(Any, self.told))
        service = Service(_no_calls, no_network, Caps(), 1.0, HostHandles(()), may_seal=False)
        self.keeper.service = service
        self.known: set[int] = set()
        self.handles: dict[int, Handle[Any]] = {}
        self.closed: set[int] = set()
        self.over = False

    @rule(
        numbers=st.lists(
            st.integers(-1, 9) | st.sampled_from([True, 2.0, "1", 100_000, 100_001, 2**63, None]), max_size=3
        )
    )
    def a_result_brings_handles(self, numbers: list[Any]) -> None:
        head = cast(bytes, msgpack.packb([[number, "T", "r"] for number in numbers]))
        fits = self._are_new(numbers)
        try:
            handles = self.keeper.decode(HANDLES, head, [], Caps())
        except ValueRefused:
            assert not fits
            self._count(numbers)
            return
        assert fits
        self.known.update(numbers)
        self.handles.update(zip(numbers, handles, strict=True))

    @rule(
        data=st.data(), number=st.integers(0, 9), ending=st.sampled_from(["data", "handle", "raised", "wrong", "other"])
    )
    def a_handle_is_asked(self, data: st.DataObject, number: int, ending: str) -> None:
        if not self.handles:
            return
        asked = data.draw(st.sampled_from(sorted(self.handles)))
        self.told.next = Turn()
        self.told.next.ending, self.told.next.head = ENDINGS[ending](number)
        dead = self.over or asked in self.closed
        fits = ending in ("data", "raised") or (ending == "handle" and self._are_new([number]))
        try:
            came = self.handles[asked]()
        except HandleClosed:
            assert dead or not fits
            if not dead:
                self.over = True
                assert self.told.killed == ["violation"]
            return
        except CodeError as error:
            assert (dead, ending, error.error.type) == (False, "raised", "KeyError")
            return
        assert fits and not dead
        if ending == "data":
            assert came == number
        else:
            self.known.add(number)
            self.handles[number] = came

    @rule(data=st.data())
    def a_handle_is_closed(self, data: st.DataObject) -> None:
        if self.handles:
            number = data.draw(st.sampled_from(sorted(self.handles)))
            self.handles[number].close()
            self.closed.add(number)

    @invariant()
    def each_object_counts_once(self) -> None:
        for number, handle in self.handles.items():
            assert bool(self.keeper.why_gone(number)) == (self.over or number in self.closed)
            assert repr(handle).startswith(
                "<closed Handle of T" if self.over or number in self.closed else "<Handle of T"
            )
        assert self.told.given_back == (1 if self.over else 0)
        assert set(self.told.dropped) <= self.known

    def _are_new(self, numbers: list[Any]) -> bool:
        plain = all(type(number) is int and 0 < number <= 100_000 for number in numbers)
        return plain and len(set(numbers)) == len(numbers) and not self.known & set(numbers)

    def _count(self, numbers: list[Any]) -> None:
        """Those before the fault were handed out, and are not again."""
        for number in numbers:
            if not self._are_new([number]):
                return
            self.known.add(number)


def _no_calls(call: m.Call, values: list[Any]) -> Iterable[object]:
    raise ProtocolError("there are no host functions")


def _crossed(message: Any) -> Any:
    return unpack_message(pack_message(message), m.ToSupervisor)


def _names(handles: HostHandles) -> list[str]:
    return list(handles._lent)


HANDLES = Contract.of(list[Handle[Any]], where="the result", result=True)
ENDINGS: dict[str, Callable[[int], tuple[Any, bytes]]] = {
    "data": lambda number: (m.Finished(ACTION, m.Encoded(b"x")), msgpack.packb([0, number])),
    "handle": lambda number: (m.Finished(ACTION, m.Encoded(b"x")), msgpack.packb([1, [number, "T", "r"]])),
    "raised": lambda number: (m.Raised(ACTION, "KeyError", "no", ""), b""),
    "wrong": lambda number: (m.Finished(ACTION, m.Encoded(b"x")), msgpack.packb([2, number])),
    "other": lambda number: (m.Finished(ACTION, m.Encoded(b"")), b""),
}


@pytest.mark.parametrize("machine", [Lending, Keeping])
def test_a_worker_reaches_no_object_but_those_that_it_was_given(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=STEADY)
