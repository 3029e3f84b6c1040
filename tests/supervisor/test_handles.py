"""Handles of objects in real workers: what they do, what ends them, and what a worker that lies about them comes to."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from agex_policies.compile import compile_plan
from agex_policies.schema import Policy
from agex_protocol.budget import Caps
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_supervisor import keeper
from agex_supervisor.contract import Contract
from agex_supervisor.death import Death
from agex_supervisor.equipment import Equipment
from agex_supervisor.errors import CodeError, HandleClosed, PoolExhausted, SessionBusy
from agex_supervisor.execution import Executed, WorkerExecutor
from agex_supervisor.handle import Handle, held_by
from agex_supervisor.host_calls import HostCalls, hosted
from agex_supervisor.host_objects import HostedObject, Member, hosted_object
from agex_supervisor.keeper import Keeper
from agex_supervisor.outbound import dump_bindings
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.session import Session
from tests.supervisor.conftest import HANG_S

HANDLE = Contract.of(Handle[Any], where="the value", result=True)
HANDLES = Contract.of(list[Handle[Any]], where="the value", result=True)
NUMBER = Contract.of(int, where="the value", result=True)

ENGAGED = (
    "the worker that holds this object is running the code that called you: it cannot do both. Use it when that is over; give"
    " it back as it is; or take what you need as data, or sealed (agex.Opaque)"
)
COUNTER = """
class Counter:
    def __init__(self):
        self.count = 0
    def add(self, number=1):
        self.count += number
        return self.count
    def same(self):
        return self
    def fail(self):
        raise ValueError("no \\x1b[31m way")
    def spin(self):
        while True: pass
    def leave(self):
        import os
        os._exit(3)
    def ask(self, number):
        return double(number)
    def write(self, text):
        open("note.txt", "w").write(text)
    def read(self):
        return open("note.txt").read()
    def __repr__(self):
        return f"Counter({self.count}) \\x1b[2J\\u202e<b>"
"""


class Bench:
    """A session with functions, and the shortest way to use it."""

    def __init__(
        self,
        pool: Pool,
        plan: LockdownPlan,
        functions: dict[str, Callable[..., Any]],
        objects: Sequence[HostedObject] = (),
    ) -> None:
        hosts = [hosted(name, each, inspect.signature(each, eval_str=True), "") for name, each in functions.items()]
        calls = HostCalls(hosts, Caps(), objects=objects)
        equipment = Equipment(SandboxPlan(mode="full"), dump_bindings({}), calls.declared, calls.objects)
        self.session = Session(pool, Kit(plan), equipment, pool.new_workspace(), handles=calls.handles)
        self.executor = WorkerExecutor(self.session, calls, Caps())

    def run(self, code: str, returns: Contract = HANDLE, *, inputs: dict[str, object] | None = None) -> Executed:
        return self.executor.execute(code, inputs or {}, returns, task=False, timeout_s=60.0)

    def counter(self) -> Any:
        """A handle whose worker the session still has."""
        return self.run(f"{COUNTER}\nCounter()").value

    def kept(self, code: str = f"{COUNTER}\nCounter()", returns: Contract = HANDLE) -> Any:
        """Handles that alone keep their worker."""
        self.executor.start(keeps=True)
        value = self.run(code, returns).value
        self.executor.release()
        return value


@pytest.fixture
def own() -> Iterator[Callable[..., Pool]]:
    """Pools of the test's own."""
    pools: list[Pool] = []

    def own(**options: Any) -> Pool:
        pools.append(Pool(spares=0, **options))
        return pools[-1]

    yield own
    for each in pools:
        each.close()


@pytest.fixture
def bench(shared: Pool, plan: LockdownPlan) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def bench(
        pool: Pool | None = None,
        other: LockdownPlan | None = None,
        objects: Sequence[HostedObject] = (),
        **functions: Callable[..., Any],
    ) -> Bench:
        benches.append(Bench(pool or shared, other or plan, functions, objects))
        return benches[-1]

    yield bench
    for each in benches:
        each.executor.close()


def keeper_of(handle: Handle[Any]) -> Keeper:
    holder = held_by(handle).holder
    assert isinstance(holder, Keeper)
    return holder


def worker_of(handle: Handle[Any]) -> Any:
    return keeper_of(handle)._place.worker


def gone(handle: Handle[Any]) -> tuple[str, str]:
    """What an operation on a handle comes to whose object is gone."""
    with pytest.raises(HandleClosed) as caught:
        handle.add()
    return str(caught.value), caught.value.cause


# --- what they do -----------------------------------------------------------------------------------------------------


def test_the_object_lasts_from_operation_to_operation_and_gives_data_or_handles(bench: Callable[..., Bench]) -> None:
    counter = bench().counter()
    assert (counter.add(), counter.add(5), counter.add(number=4), counter.count) == (1, 6, 10, 10)
    method = counter.add
    assert method(1) == 11
    assert repr(method) == f"<method add of {counter!r}>"
    same = counter.same()
    assert (same.add(), counter.count) == (12, 12)


def test_a_result_whose_structure_itself_is_large_comes_as_any_other(bench: Callable[..., Bench]) -> None:
    # All of it lies in the arena then, the head too.
    numbers = bench().run("class Numbers:\n    def upto(self, end):\n        return list(range(end))\nNumbers()").value
    assert numbers.upto(200_000) == list(range(200_000))
    assert numbers.upto(2) == [0, 1]


def test_its_repr_is_what_the_worker_told_and_harmless(bench: Callable[..., Bench]) -> None:
    counter = bench().counter()
    counter.add()
    assert repr(counter) == "<Handle of Counter: Counter(0) \\x1b[2J\\u202e<b>>"
    counter.close()
    assert repr(counter) == "<closed Handle of Counter: Counter(0) \\x1b[2J\\u202e<b>>"


def test_what_the_code_raises_is_told_as_strings_and_the_object_lives_on(bench: Callable[..., Bench]) -> None:
    counter = bench().counter()
    with pytest.raises(CodeError) as caught:
        counter.fail()
    assert str(caught.value) == "ValueError: no \\x1b[31m way"
    assert caught.value.error.traceback.splitlines()[-1] == "ValueError: no \\x1b[31m way"
    assert counter.add() == 1


def test_a_private_name_is_refused_here_without_asking_the_worker(bench: Callable[..., Bench]) -> None:
    counter = bench().counter()
    worker_of(counter).kill("closed", "to see that it is not asked")
    for name in ("_x", "__dict__x", "__wrapped__"):
        with pytest.raises(AttributeError) as caught:
            getattr(counter, name)
        assert str(caught.value) == f"a handle does not reach {name!r}: it is not a public name"
    assert not hasattr(counter, "__array_interface__")


def test_host_functions_are_called_from_within_an_operation(bench: Callable[..., Bench]) -> None:
    def double(number: int) -> int:
        return 2 * number

    counter = bench(double=double).kept()
    assert counter.ask(21) == 42
    with pytest.raises(CodeError) as caught:
        counter.ask("x")
    assert caught.value.error.type == "TypeError"


def test_a_host_function_cannot_use_an_object_of_the_worker_that_waits_for_it(bench: Callable[..., Bench]) -> None:
    found: list[Any] = []
    told: list[str] = []

    def double(number: int) -> int:
        try:
            return int(found[0].add(number))
        except RuntimeError as error:
            told.append(str(error))
            return 0

    found.append(bench(double=double).counter())
    assert found[0].ask(1) == 0
    assert told == [ENGAGED]


def test_what_a_host_function_was_given_cannot_be_used_nor_sent_elsewhere_before_it_returns(
    bench: Callable[..., Bench],
) -> None:
    there, taken = bench(), list[Handle[Any]]()

    def use(counter: Handle[Any]) -> int:
        taken.append(counter)
        return int(counter.add(2))

    async def wait(counter: Handle[Any]) -> int:
        return int(await asyncio.to_thread(counter.add, 2))

    def send(counter: Handle[Any]) -> int:
        return int(there.run("given.add(2)", NUMBER, inputs={"given": counter}).value)

    here = bench(use=use, wait=wait, send=send)
    for name in ("use", "wait", "send"):
        told = here.run(f"{COUNTER}\n{name}(Counter())").error
        assert told is not None and told.message.count(ENGAGED) == 1, name
    assert taken[0].add(3) == 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("[['one', of(1)], ['other', of(1)]]", "object 1 has been handed out before"),
        ("[['one', of(0)]]", "what the worker sent is not any object: not a handle"),
        ("[['one', of(2**40)]]", "what the worker sent is not any object: not a handle"),
        ("[['one', of(1)], ['many', [packb([[n, 'T', 'r'] for n in range(2, 1003)]), 0, []]]]", "more than 1000 objects behind handles"),
    ],
)  # fmt: skip
def test_forged_objects_in_the_arguments_of_a_call_end_the_worker_and_leave_no_handle(
    arguments: str, why: str, bench: Callable[..., Bench], channel_code: str
) -> None:
    def take(one: Handle[Any], other: Handle[Any] | None = None, many: list[Handle[Any]] | None = None) -> None:
        raise AssertionError

    each = bench(take=take)
    code = f"{channel_code}\nfrom msgpack import packb\ndef of(n): return [packb([n, 'T', 'r']), 0, []]\n"
    turn = each.run(f"{code}send('Call', action, 1, 'take', {arguments})\nwhile True: pass", NUMBER)
    assert turn.death == Death("violation", why)
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Handle) and held_by(one).kept.type == "T"]


def test_threads_that_pass_objects_at_once_pass_each_its_own(bench: Callable[..., Bench]) -> None:
    taken: list[Handle[Any]] = []

    def take(counter: Handle[Any], number: int) -> None:
        taken.append(counter)

    each = bench(take=take)
    code = f"""{COUNTER}
import threading
class Unseen:
    def __repr__(self):
        raise ValueError
def work(place):
    for number in range(place * 20, place * 20 + 20):
        counter = Counter()
        counter.add(number)
        take(counter, number)
        try:
            take(Counter(), Unseen())
        except TypeError:
            pass
threads = [threading.Thread(target=work, args=(place,)) for place in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import sys
len(sys.modules['agex_worker.holding'].HOLDING._objects)"""
    assert each.run(code, NUMBER).value == 120
    assert sorted(counter.count for counter in taken) == list(range(120))


def test_a_host_function_may_close_the_handle_whose_operation_calls_it(bench: Callable[..., Bench]) -> None:
    found: list[Any] = []

    def double(number: int) -> int:
        found[0].close()
        return number

    found.append(bench(double=double).kept(f"{COUNTER}\nCounter()", COUNTER_HANDLE))
    with pytest.raises(HandleClosed) as caught:
        found[0].ask(1)
    assert str(caught.value) == "the object behind this handle is gone: the handle was closed"


def test_an_object_is_passed_as_itself_to_code_of_its_worker_and_sealed_to_others(bench: Callable[..., Bench]) -> None:
    here, there = bench(), bench()
    counter = here.counter()
    assert here.run("given[0].add(2)", NUMBER, inputs={"given": [counter]}).value == 2
    assert counter.count == 2
    assert there.run("given[0].add(5)", NUMBER, inputs={"given": [counter]}).value == 7
    assert counter.count == 2
    assert counter.add(there.counter().add(3)) == 5


def test_an_argument_may_be_an_object_of_the_same_worker(bench: Callable[..., Bench]) -> None:
    first, second = (
        bench().run("class Box:\n    def same(self, other): return other is self\n[Box(), Box()]", HANDLES).value
    )
    assert (first.same(first), first.same(second)) == (True, False)


def test_operations_of_many_threads_are_done_one_after_the_other(bench: Callable[..., Bench]) -> None:
    counter = bench().kept()
    threads = [threading.Thread(target=lambda: [counter.add() for _ in range(20)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert counter.count == 80


def test_who_waits_too_long_for_the_worker_is_told_and_nothing_is_harmed(
    own: Callable[..., Pool], bench: Callable[..., Bench]
) -> None:
    inside, over = threading.Event(), threading.Event()

    def double(number: int) -> int:
        inside.set()
        over.wait()
        return 2 * number

    counter = bench(own(wait_s=0.0), double=double).kept()
    told: list[int] = []
    thread = threading.Thread(target=lambda: told.append(counter.ask(4)))
    thread.start()
    inside.wait()
    with pytest.raises(SessionBusy) as caught:
        counter.add()
    assert str(caught.value) == "the worker is busy with something else; waited 0 s"
    over.set()
    thread.join()
    assert told == [8] and counter.add() == 1


# --- what ends them ---------------------------------------------------------------------------------------------------


def test_a_closed_handle_says_so_and_closing_twice_is_nothing(bench: Callable[..., Bench]) -> None:
    each = bench()
    with each.counter() as counter:
        assert counter.add() == 1
    counter.close()
    assert gone(counter) == ("the object behind this handle is gone: the handle was closed", "closed")
    # The worker is the session's, and the object is not in it any more.
    assert each.run("1", NUMBER).value == 1
    code = "import gc\ngc.collect()\nsum(type(each).__name__ == 'Counter' for each in gc.get_objects())"
    assert each.run(code, NUMBER).value == 0


def test_the_session_takes_its_handles_with_it_when_it_is_closed(bench: Callable[..., Bench]) -> None:
    each = bench()
    counter, kept = each.counter(), bench(None).kept()
    each.executor.close()
    assert gone(counter) == ("the object behind this handle is gone: its session is over", "closed")
    assert kept.add() == 1


@pytest.mark.parametrize(
    ("method", "cause", "detail"),
    [
        ("leave", "exit", "the worker ended by itself with exit status 3"),
        ("spin", "timeout", "the deadline of the action passed"),
    ],
)
def test_an_operation_in_which_the_worker_ends_tells_how(
    method: str,
    cause: str,
    detail: str,
    own: Callable[..., Pool],
    bench: Callable[..., Bench],
    limited: Callable[..., LockdownPlan],
) -> None:
    pool = own()
    each = bench(pool, limited(wall_time_s=0.3))
    counter, other = each.kept(f"{COUNTER}\n[Counter(), Counter()]", HANDLES)
    with pytest.raises(HandleClosed) as caught:
        getattr(counter, method)()
    text = f"the object behind this handle is gone: its worker ended ({cause}: {detail})"
    assert (str(caught.value), caught.value.cause) == (text, cause)
    assert gone(counter) == gone(other) == (text, cause)
    assert (pool.stats().busy, pool.stats().kept) == (0, 0)


def test_a_worker_that_is_killed_while_a_handle_is_held_is_noticed_by_the_next_operation(
    bench: Callable[..., Bench],
) -> None:
    counter = bench().kept()
    os.kill(worker_of(counter).pid, 9)
    text, cause = gone(counter)
    assert cause == "signal"
    assert text.startswith("the object behind this handle is gone: its worker ended (signal: SIGKILL, ")


def test_closing_the_last_handle_gives_the_worker_back_before_it_returns(
    own: Callable[..., Pool], bench: Callable[..., Bench], wait_gone: Callable[[int], None]
) -> None:
    pool = own()
    first, second = bench(pool).kept(f"{COUNTER}\n[Counter(), Counter()]", HANDLES)
    pid = worker_of(first).pid
    first.close()
    assert (second.add(), pool.stats().kept, pool.stats().busy) == (1, 1, 1)
    second.close()
    assert (pool.stats().kept, pool.stats().busy) == (0, 0)
    wait_gone(pid)


def test_a_handle_that_is_forgotten_lets_the_worker_go(own: Callable[..., Pool], bench: Callable[..., Bench]) -> None:
    pool = own()
    counter = bench(pool).kept()
    worker = worker_of(counter)
    del counter
    gc.collect()
    assert worker.gone.wait(60)


def test_a_method_that_is_called_on_a_forgotten_handle_still_has_its_object(bench: Callable[..., Bench]) -> None:
    assert bench().kept(f"{COUNTER}\nCounter()", COUNTER_HANDLE).add(4) == 4


class Counter:
    """As far as this side knows it; the worker's has the same name, and is another."""

    __module__ = "__main__"

    def add(self, number: int = 1) -> int:
        raise NotImplementedError

    def ask(self, number: int) -> int:
        raise NotImplementedError


COUNTER_HANDLE = Contract.of(Handle[Counter], where="the value", result=True)


def test_a_worker_that_nobody_uses_is_let_go(own: Callable[..., Pool], bench: Callable[..., Bench]) -> None:
    pool = own(handle_ttl_s=0.2)
    counter = bench(pool).kept()
    assert worker_of(counter).gone.wait(60)
    text = "the object behind this handle is gone: nobody used it for 0.2 s (Pool(handle_ttl_s=...))"
    assert gone(counter) == (text, "idle")


def test_the_pool_takes_all_handles_with_it_when_it_is_closed(
    own: Callable[..., Pool], bench: Callable[..., Bench]
) -> None:
    pool = own()
    counter = bench(pool).kept()
    pool.close()
    assert gone(counter) == ("the object behind this handle is gone: the pool was closed", "closed")


def test_a_session_whose_worker_stays_goes_on_with_another_and_with_the_files_as_they_were_left(
    bench: Callable[..., Bench],
) -> None:
    each = bench()
    counter = each.kept(f"open('note.txt', 'w').write('left')\n{COUNTER}\nCounter()")
    counter.write("later")
    assert each.run("open('note.txt').read()", Contract.of(str, where="", result=True)).value == "left"
    each.run("open('note.txt', 'w').write('newer')", NUMBER)
    assert counter.read() == "later"


def test_a_worker_that_stays_and_the_sessions_next_one_have_async_functions_at_once(
    bench: Callable[..., Bench],
) -> None:
    both = threading.Barrier(2)

    async def double(number: int) -> int:
        await asyncio.to_thread(both.wait, HANG_S)
        return number * 2

    each = bench(double=double)
    counter = each.kept()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(counter.ask, 4)
        assert each.run("double(3)", NUMBER).value == 6
        assert asked.result(HANG_S) == 8


@pytest.mark.parametrize("stays", [False, True])
def test_closing_a_session_ends_an_operation_that_waits_for_an_async_function(
    stays: bool, bench: Callable[..., Bench]
) -> None:
    asked, ended = threading.Event(), threading.Event()

    async def double(number: int) -> int:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return number

    each = bench(double=double)
    counter = each.kept() if stays else each.counter()
    with ThreadPoolExecutor(1) as threads:
        operation = threads.submit(counter.ask, 4)
        assert asked.wait(HANG_S)
        each.executor.close()
        with pytest.raises(HandleClosed, match="its session is over"):
            operation.result(HANG_S)
    assert ended.is_set()


def test_a_worker_that_stays_keeps_the_objects_of_this_process_that_it_was_lent(bench: Callable[..., Bench]) -> None:
    class Row:
        def number(self) -> int:
            return 7

    of_class = Member("number", "method", inspect.Signature())
    rows = hosted_object("Row", Row, None, [of_class])
    each = bench(row=Row, objects=[rows])
    holder = each.kept("class Holder:\n    row = row()\n    def ask(self): return self.row.number()\nHolder()")
    for _ in range(2):
        assert each.run("import os\nmine = row()\nos._exit(1)", NUMBER).kind == "died"
        assert each.run("row().number()", NUMBER).value == 7
    assert holder.ask() == 7
    each.executor.release()
    assert (holder.ask(), len(each.session.handles)) == (7, 0)


def test_without_namespaces_the_workspace_comes_home_too(bench: Callable[..., Bench]) -> None:
    each = bench(other=compile_plan(Policy.load("full-python"), "process"))
    counter = each.kept(f"open('note.txt', 'w').write('left')\n{COUNTER}\nCounter()")
    counter.write("later")
    assert each.run("open('note.txt').read()", Contract.of(str, where="", result=True)).value == "left"
    assert counter.read() == "later"
    counter.close()
    assert each.run("open('note.txt').read()", Contract.of(str, where="", result=True)).value == "left"


def test_only_so_many_workers_stay_and_the_next_is_refused_before_it_runs(
    own: Callable[..., Pool], bench: Callable[..., Bench]
) -> None:
    pool = own(max_workers=4, max_kept=1)
    counter = bench(pool).kept()
    each = bench(pool)
    with pytest.raises(PoolExhausted) as caught:
        each.executor.start(keeps=True)
    assert str(caught.value) == (
        "1 workers stay for the handles of their objects, and the pool keeps no more; close handles that are not needed,"
        " or make agex.Pool(max_kept=...) larger"
    )
    counter.close()
    assert each.kept().add() == 1


def test_a_session_that_kept_nothing_gives_its_room_back(own: Callable[..., Pool], bench: Callable[..., Bench]) -> None:
    pool = own(max_kept=1)
    for _ in range(3):
        each = bench(pool)
        each.executor.start(keeps=True)
        assert each.run("1 / 0").kind == "raised"
        each.executor.release()
    assert pool.stats().kept == 0


def test_fifty_handles_leave_no_descriptor_behind(
    own: Callable[..., Pool], bench: Callable[..., Bench], open_descriptors: Callable[[], set[str]]
) -> None:
    pool = own()
    bench(pool).kept().close()
    before = open_descriptors()
    for _ in range(10):
        for each in bench(pool).kept(f"{COUNTER}\n[Counter() for _ in range(5)]", HANDLES):
            each.add()
            each.close()
    assert open_descriptors() <= before


def test_a_forked_child_neither_uses_nor_ends_what_its_parent_holds(
    bench: Callable[..., Bench], unprivileged: Any
) -> None:
    counter = bench().kept()

    def child(ground: object) -> str:
        counter.close()
        return gone(counter)[0]

    assert unprivileged(child) == (
        "the object behind this handle is gone: its worker is that of the process that this one was forked from"
    )
    assert counter.add() == 1


def test_two_who_close_at_once_do_not_wait_for_each_other(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, closing = threading.Event(), threading.Event()

    def double(number: int) -> int:
        inside.set()
        closing.wait()
        each.session.close()
        return number

    monkeypatch.setattr(keeper, "PATIENCE_S", 0.05)
    each = bench(double=double)
    counter = each.counter()
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            counter.ask(1)
        except HandleClosed as error:
            ended.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    inside.wait()
    with each.session._busy:  # as whoever closes it has it, for a moment
        closing.set()
        keeper_of(counter).let_go()
    thread.join()
    assert [str(error) for error in ended] == ["the object behind this handle is gone: its session is over"]
    assert each.run("1", NUMBER).value == 1


# --- what a worker that lies comes to ---------------------------------------------------------------------------------

LIAR = """
import gc, msgpack, os, time
from agex_protocol import messages as m
from agex_protocol.codec import pack_message
from agex_protocol.framing import frame

def session():
    return next(each for each in gc.get_objects() if type(each).__name__ == "Session")

def say(message):
    os.write(session()._channel.descriptor, frame(pack_message(message)))

def value(wire):
    return m.Encoded(msgpack.packb(wire))

class Liar:
    def lie(self, code):
        action = session()._action
        exec(code, {**globals(), "action": action})
        time.sleep(60)
    def twin(self):
        return self
"""


def liar(bench: Bench) -> Any:
    return bench.kept(f"{LIAR}\nLiar()")


@pytest.mark.parametrize(
    ("lie", "detail"),
    [
        ("say(m.Succeeded(action, value(1)))", "Succeeded while using"),
        ("say(m.GaveUp(action, 'x'))", "GaveUp while using"),
        ("say(m.Asked(action, 'x'))", "Asked while using"),
        ("say(m.Kept(action, 'T', 'r', 'why'))", "Kept while using"),
        ("say(m.Begun(''))", "Begun while using"),
        ("say(m.Finished(action, m.Encoded(b'')))", "Finished does not answer what was asked"),
        ("say(m.Finished(b'a' * 16, value(1)))", "Finished for an action that is not under way"),
        ("say(m.Finished(action, value([1, [1, 'T', 'r']])))", "object 1 has been handed out before"),
        ("say(m.Call(action, 1, 'double', ()))", "a call of 'double', which is not registered"),
    ],
)
def test_a_lie_about_an_operation_is_a_violation(lie: str, detail: str, bench: Callable[..., Bench]) -> None:
    handle = liar(bench())
    with pytest.raises(HandleClosed) as caught:
        handle.lie(lie)
    assert caught.value.cause == "violation"
    assert str(caught.value) == f"the object behind this handle is gone: its worker ended (violation: {detail})"


@pytest.mark.parametrize("number", [0, -1, 100_001, 1 << 62, True, "1", None])
def test_a_number_that_no_object_can_have_is_a_violation(number: object, bench: Callable[..., Bench]) -> None:
    handle = liar(bench())
    with pytest.raises(HandleClosed) as caught:
        handle.lie(f"say(m.Finished(action, value([1, [{number!r}, 'T', 'r']])))")
    assert caught.value.cause == "violation"


def test_more_handles_than_a_worker_may_have_are_a_violation(bench: Callable[..., Bench]) -> None:
    each = bench()
    each.executor.start(keeps=True)
    code = f"{LIAR}\nimport msgpack\nhead = msgpack.packb([[n, 'T', 'r'] for n in range(1, 2000)])\n"
    executed = each.run(f"{code}\nsay(m.Finished(session()._action, m.Encoded(head)))\ntime.sleep(60)", HANDLES)
    assert (executed.kind, executed.value) == ("died", None)
    assert executed.death is not None
    assert (executed.death.cause, executed.death.detail) == ("violation", "more than 1000 objects behind handles")


def test_honest_code_hears_in_words_that_it_holds_too_much_and_goes_on(bench: Callable[..., Bench]) -> None:
    each = bench()
    executed = each.run("[object() for _ in range(1001)]", HANDLES)
    assert executed.kind == "raised" and executed.error is not None
    assert executed.error.message == (
        "result[1000]: there are 1000 objects of this worker behind handles; have some of them closed"
    )
    assert len(each.run("[object() for _ in range(1000)]", HANDLES).value) == 1000


@dataclass
class Refusing:
    """Refuses whatever it holds."""

    first: Handle[Any]

    def __post_init__(self) -> None:
        raise ValueError("never")


def test_a_value_that_misses_its_contract_leaves_no_handle_behind(bench: Callable[..., Bench]) -> None:
    each = bench()
    executed = each.run("{'first': object()}", Contract.of(Refusing, where="the value", result=True))
    assert (executed.kind, executed.value) == ("mismatch", None)
    assert each.session.keeper is not None and not each.session.keeper.is_needed
    assert each.run("1", NUMBER).value == 1


def test_a_number_that_was_never_handed_out_cannot_be_used_through_another_handle(bench: Callable[..., Bench]) -> None:
    each = bench()
    counter = each.counter()
    with pytest.raises(HandleClosed):
        keeper_of(counter).use(2, "get", "count", (), {}, None)


def test_an_operation_that_is_none_is_an_error_of_the_code(bench: Callable[..., Bench]) -> None:
    counter = bench().counter()
    with pytest.raises(CodeError) as caught:
        keeper_of(counter).use(held_by(counter).kept.number, "eval", "1", (), {}, None)
    assert caught.value.error.type == "KeyError"
