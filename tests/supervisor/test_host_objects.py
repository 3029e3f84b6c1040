"""A worker reaches the objects of this process that it was given, by the members that were registered; anything else that it
says of them ends it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agex_protocol.budget import Caps
from agex_protocol.errors import ProtocolError
from agex_protocol.host_handle import MAX_HANDLES, HostReference
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_supervisor.contract import Contract
from agex_supervisor.equipment import Equipment
from agex_supervisor.execution import Executed, WorkerExecutor
from agex_supervisor.host_calls import HostCalls, hosted
from agex_supervisor.host_handles import HostHandles
from agex_supervisor.host_objects import HostedObject, Member, hosted_object
from agex_supervisor.outbound import NotSendable, dump_bindings
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.session import Session

ANYTHING = Contract.of(Any, where="the value")


class Row:
    """Kept here."""

    def __init__(self, number: int) -> None:
        self.number = number

    def double(self, times: int = 1) -> int:
        return self.number * 2 * times

    def secret(self) -> str:
        return "secret"

    def __getitem__(self, key: str) -> str:
        return "item"


class Db:
    """A live object."""

    def __init__(self) -> None:
        self.label = "main"
        self.seen: list[Row] = []

    def row(self, number: int) -> Row:
        return Row(number)

    def take(self, row: Row) -> int:
        self.seen.append(row)
        return row.number

    def drop(self) -> None:
        self.seen.clear()


def method(cls: type, name: str) -> Member:
    signature = inspect.signature(getattr(cls, name), eval_str=True)
    return Member(name, "method", signature.replace(parameters=list(signature.parameters.values())[1:]))


def attribute(name: str) -> Member:
    return Member(name, "attribute", inspect.Signature())


def objects(db: Db) -> tuple[HostedObject, HostedObject]:
    hosts = (Row, Db)
    return (
        hosted_object("db", Db, db, [method(Db, "row"), method(Db, "take"), attribute("label")], hosts=hosts),
        hosted_object("Row", Row, None, [method(Row, "double")], hosts=hosts),
    )


class Bench:
    """A session in ordinary Python with one live object and one class whose instances stay here."""

    def __init__(self, pool: Pool, plan: LockdownPlan) -> None:
        self.db = Db()
        price = hosted("price", lambda: 1, inspect.Signature(), "")
        self.calls = HostCalls([price], Caps(), objects=objects(self.db))
        sandbox = SandboxPlan(mode="full")
        equipment = Equipment(sandbox, dump_bindings({}), self.calls.declared, self.calls.objects)
        workspace = pool.new_workspace()
        self.session = Session(pool, Kit(plan), equipment, workspace, handles=self.calls.handles)
        self.executor = WorkerExecutor(self.session, self.calls, Caps())

    def run(self, code: str, **inputs: object) -> Executed:
        return self.executor.execute(code, inputs, ANYTHING, task=False, timeout_s=60.0)


@pytest.fixture
def bench(shared: Pool, plan: LockdownPlan) -> Iterator[Callable[[], Bench]]:
    benches: list[Bench] = []

    def bench() -> Bench:
        benches.append(Bench(shared, plan))
        return benches[-1]

    yield bench
    for each in benches:
        each.executor.close()


TARGET = "from agex_protocol.host_handle import target_of\n"
CALL = """
def call(name, *arguments, number=1):
    send('Call', action, number, name, [[key, [msgpack.packb(value), 0, []]] for key, value in arguments])
"""


def violation(executed: Executed) -> str:
    assert executed.death is not None and executed.death.cause == "violation", executed
    return executed.death.detail


def test_handles_are_named_by_random_bits_and_never_twice(bench: Callable[[], Bench]) -> None:
    each = bench()
    names = each.run(TARGET + "rows = [db.row(1) for _ in range(50)]\n[target_of(row) for row in rows]").value
    assert len(set(names)) == 50
    assert all(name[0] == "@" and len(bytes.fromhex(name[1:])) == 16 for name in names)


def test_what_the_session_is_given_it_holds_until_it_gives_it_back(bench: Callable[[], Bench]) -> None:
    each = bench()
    code = "import builtins\nbuiltins.kept = [db.row(1), db.row(2)]\ndb.take(kept[0])"
    assert each.run(code).value == 1
    assert len(each.calls.handles) == 2
    assert each.run("import builtins\ndel builtins.kept[1]\nprice()").value == 1
    assert len(each.calls.handles) == 1
    assert each.run("import os; os._exit(0)").kind == "died"
    assert each.run("price()").value == 1
    assert len(each.calls.handles) == 0


def test_an_input_is_a_handle_to_the_very_object(bench: Callable[[], Bench]) -> None:
    each = bench()
    row = Row(7)
    assert each.run("[row.double(), db.take(row), rows[0].double()]", row=row, rows=[row]).value == [14, 7, 14]
    assert each.db.seen == [row]


FORGED = "@" + "0" * 32


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("db.drop", "", "a call of 'db.drop', which is not registered"),
        ("db.seen", "", "a call of 'db.seen', which is not registered"),
        ("db._private", "", "a call of 'db._private', which is not registered"),
        ("db.__class__", "", "a call of 'db.__class__', which is not registered"),
        ("db.row.__globals__", "", "'db.row' names no object that this worker holds"),
        ("db.label.upper", "", "'db.label' names no object that this worker holds"),
        ("db.__getitem__", "", "a call of 'db.__getitem__', which is not registered"),
        ("db.", "", "a call of 'db.', which is not registered"),
        (".row", "", "'' names no object that this worker holds"),
        ("db", "", "a call of 'db', which is not registered"),
        ("Row", "", "a call of 'Row', which is not registered"),
        ("Row.double", "", "'Row' names no object that this worker holds"),
        ("price.real", "", "'price' names no object that this worker holds"),
        (f"{FORGED}.double", "", f"'{FORGED}' names no object that this worker holds"),
        ("@.double", "", "'@' names no object that this worker holds"),
        ("db.label", "('x', 1)", "db.label() has no such argument left: 'x'"),
        ("db.take", f"('row', {FORGED!r})", f"'{FORGED}' names no object that this worker holds"),
        ("db.take", "('row', 'Row')", "'Row' names no object that this worker holds"),
        ("db.take", "('row', '')", "'' names no object that this worker holds"),
        ("db.take", "('row', 3)", "what the worker sent is not Row: a int where a str is expected"),
        ("db.take", "('row', ['db'])", "what the worker sent is not Row: a list where a str is expected"),
        ("db.take", "('row', None)", "what the worker sent is not Row: a NoneType where a str is expected"),
    ],
)
def test_a_name_that_was_not_given_ends_the_worker(
    name: str, arguments: str, expected: str, bench: Callable[[], Bench], channel_code: str
) -> None:
    each = bench()
    executed = each.run(channel_code + CALL + f"call({name!r}, {arguments})\nwhile True: pass")
    assert violation(executed) == expected
    assert each.db.seen == [] and each.db.label == "main"


@pytest.mark.parametrize("member", ["secret", "number", "__getitem__", "__init__", "_x", "double.__func__"])
def test_a_member_that_is_not_registered_ends_the_worker_that_holds_the_object(
    member: str, bench: Callable[[], Bench], channel_code: str
) -> None:
    code = (
        TARGET
        + channel_code
        + CALL
        + f"row = db.row(3)\ncall(target_of(row) + '.{member}', number=2)\nwhile True: pass"
    )
    assert violation(bench().run(code)).endswith(("which is not registered", "names no object that this worker holds"))


def test_the_wrong_object_is_an_error_of_the_code_and_not_of_the_worker(bench: Callable[[], Bench]) -> None:
    executed = bench().run("db.take(db)")
    assert executed.error is not None and executed.error.type == "TypeError"
    assert executed.error.message == "db.take(row=...): the value: Input should be an instance of Row (got Db)"


def test_a_handle_of_another_session_names_nothing(bench: Callable[[], Bench], channel_code: str) -> None:
    one, other = bench(), bench()
    code = TARGET + "import builtins\nbuiltins.kept = db.row(1)\ntarget_of(kept)"
    target = one.run(code).value
    stolen = other.run(channel_code + CALL + f"call({target + '.double'!r})\nwhile True: pass")
    assert violation(stolen) == f"{target!r} names no object that this worker holds"
    assert one.run("import builtins\nkept.double()").value == 2


def test_a_handle_does_not_outlive_its_worker(bench: Callable[[], Bench], channel_code: str) -> None:
    each = bench()
    target = each.run(TARGET + "import builtins\nbuiltins.kept = db.row(1)\ntarget_of(kept)").value
    assert each.run("import os; os._exit(0)").kind == "died"
    executed = each.run(channel_code + CALL + f"call({target + '.double'!r})\nwhile True: pass")
    assert violation(executed) == f"{target!r} names no object that this worker holds"


@pytest.mark.parametrize(
    "given_back", [f"[{FORGED!r}]", "['db']", "['']", "[target_of(row), target_of(row)]", "[target_of(row), 'Row']"]
)
def test_giving_back_what_is_not_held_ends_the_worker(
    given_back: str, bench: Callable[[], Bench], channel_code: str
) -> None:
    code = TARGET + channel_code + f"row = db.row(1)\nsend('Returned', action, {given_back})\nwhile True: pass"
    assert violation(bench().run(code)).endswith("was given back, which is not held")


def test_what_was_given_back_names_nothing_any_more(bench: Callable[[], Bench], channel_code: str) -> None:
    code = (
        TARGET
        + channel_code
        + CALL
        + (
            "row = db.row(1)\nsend('Returned', action, [target_of(row)])\n"
            "call(target_of(row) + '.double', number=2)\nwhile True: pass"
        )
    )
    assert violation(bench().run(code)).endswith("names no object that this worker holds")


@pytest.mark.parametrize("frame", ["'Returned', b'x' * 16, []", "'Returned', action", "'Returned', action, [1]"])
def test_a_malformed_return_ends_the_worker(frame: str, bench: Callable[[], Bench], channel_code: str) -> None:
    assert violation(bench().run(channel_code + f"send({frame})\nwhile True: pass"))


def test_a_flood_of_handles_is_refused_and_the_worker_goes_on(bench: Callable[[], Bench]) -> None:
    each = bench()
    code = """
rows = []
try:
    while True:
        rows.append(db.row(len(rows)))
except TypeError as error:
    text = str(error)
rows.pop()
[len(rows), rows[0].double(), db.row(5).double(), text]"""
    count, first, again, text = each.run(code).value
    assert (count, first, again) == (MAX_HANDLES - 1, 0, 10)
    assert text == (
        f"the result of db.row() cannot cross to here: the code holds {MAX_HANDLES} objects of this kind already;"
        " let go of some, or ask for plain data"
    )


def test_a_flood_of_returns_moves_no_deadline(bench: Callable[[], Bench], channel_code: str) -> None:
    each = bench()
    code = channel_code + "while True: send('Returned', action, [])"
    executed = each.executor.execute(code, {}, ANYTHING, task=False, timeout_s=0.5)
    assert executed.death is not None and executed.death.cause == "timeout"


def test_a_handle_cannot_be_a_result(bench: Callable[[], Bench]) -> None:
    executed = bench().run("db.row(1)")
    assert (executed.kind, executed.value.type) == ("finished", "Row")


def test_a_result_that_names_an_object_ends_the_worker(bench: Callable[[], Bench], channel_code: str) -> None:
    each = bench()
    returns = Contract.of(Row, where="the value", hosts=(Row,))
    code = channel_code + "send('Finished', action, [msgpack.packb('db'), 0, []])"
    executed = each.executor.execute(code, {}, returns, task=False, timeout_s=60)
    assert violation(executed) == "what the worker sent is not Row: an object of this process where none can be named"


# --- the table by itself ---


def test_a_value_that_cannot_be_sent_lends_nothing() -> None:
    handles = HostHandles(objects(Db()))
    with pytest.raises(KeyError):
        with handles.lending() as refer:
            assert refer is not None and refer(Row(1)) is not None
            raise KeyError
    assert len(handles) == 0


def test_only_registered_classes_and_their_heirs_are_lent() -> None:
    class Heir(Row):
        pass

    db = Db()
    handles = HostHandles(objects(db))
    with handles.lending() as refer:
        assert refer is not None
        assert refer(db) == HostReference("db", 0)
        other, row, heir = refer(Db()), refer(Row(1)), refer(Heir(1))
        assert [each.kind for each in (other, row, heir) if each] == [0, 1, 1]
        assert [refer(each) for each in (3, "x", [Row(1)], Row, None)] == [None] * 5
    assert len(handles) == 3


def test_the_cap_counts_what_is_held() -> None:
    handles = HostHandles(objects(Db()))
    with handles.lending() as refer:
        assert refer is not None
        lent = [refer(Row(number)) for number in range(MAX_HANDLES)]
    with pytest.raises(NotSendable), handles.lending() as refer:
        assert refer is not None
        refer(Row(0))
    handles.take_back([each.target for each in lent if each])
    assert len(handles) == 0
    with pytest.raises(ProtocolError):
        handles.take_back(["db"])
