"""Live objects, host classes and runs=: the same from agent code in a locked worker and in this process."""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Sized
from types import ModuleType
from typing import Any

import pytest

import agex
from agex.llm import Scripted


class Row:
    """One row, kept here."""

    def __init__(self, shop: Shop, sku: str) -> None:
        self.shop, self.sku = shop, sku

    def price(self) -> float:
        """What it costs."""
        return self.shop.prices[self.sku]

    @classmethod
    def cheapest(cls) -> Row:
        return Row(SHOP, min(SHOP.prices, key=SHOP.prices.__getitem__))

    @staticmethod
    def currency(code: str = "EUR") -> str:
        return code

    def secret(self) -> str:
        return "secret"


class Shop:
    """Prices by article."""

    def __init__(self) -> None:
        self.prices = {"tea": 4.5, "tin": 1.5}
        self.city = "Kiel"
        self._key = "sk-123"
        self.threads: list[int] = []

    def price(self, sku: str, pieces: int = 1) -> float:
        """Price of so many."""
        return self.prices[sku] * pieces

    def set(self, sku: str, price: float) -> None:
        self.prices[sku] = price

    @property
    def size(self) -> int:
        """How many articles."""
        return len(self.prices)

    def row(self, sku: str) -> Row:
        return Row(self, sku)

    def rows(self) -> dict[str, list[Row]]:
        return {"all": [Row(self, sku) for sku in self.prices]}

    def total(self, rows: list[Row], more: Row | None = None) -> float:
        assert all(type(row) is Row and row.shop is self for row in rows)
        return sum(row.price() for row in [*rows, *([more] if more else [])])

    def itself(self) -> Shop:
        return self

    def _hidden(self) -> str:
        return self._key

    def handler(self, callback: Callable[[], None]) -> None: ...

    def __getitem__(self, sku: str) -> float:
        return self.prices[sku]

    def __setitem__(self, sku: str, price: float) -> None:
        self.prices[sku] = price

    def __contains__(self, sku: str) -> bool:
        return sku in self.prices

    def __len__(self) -> int:
        return len(self.prices)

    def __iter__(self) -> Iterator[str]:
        return iter(self.prices)


SHOP = Shop()
OPERATORS = ["__getitem__", "__setitem__", "__contains__", "__len__", "__iter__"]


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=16, spares=0)
    yield pool
    pool.close()


@pytest.fixture(params=["none", "kernel"])
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Run = Callable[..., agex.SandboxOutcome]


@pytest.fixture
def run(isolation: str, pool: agex.Pool) -> Iterator[Run]:
    """Run code in one sandbox that knows these modules and live objects and functions."""
    open_: list[agex.Sandbox] = []

    def run(code: str, *modules: agex.Module, **functions: Callable[..., Any]) -> agex.SandboxOutcome:
        open_.append(agex.Sandbox(isolation=isolation, modules=modules, functions=functions, pool=pool))
        return open_[-1].run(code)

    yield run
    for each in open_:
        each.close()


def agent_of(isolation: str, pool: agex.Pool, *script: str) -> agex.Agent:
    return agex.Agent(name="a", llm=Scripted(script), isolation=isolation, pool=pool)


def value_of(agent: agex.Agent) -> Any:
    @agent.task
    def do() -> Any:
        """Do."""
        raise NotImplementedError

    return do()


def failure(outcome: agex.SandboxOutcome) -> tuple[str, str]:
    assert outcome.error is not None
    return outcome.error.type, outcome.error.message


# --- a live object ---


def test_methods_and_properties_run_here_on_the_very_object(run: Run) -> None:
    shop = Shop()
    code = "shop.set('tea', 2)\n[shop.price('tea'), shop.price('tea', pieces=3), shop.size, shop.city, repr(shop)]"
    outcome = run(code, agex.Module(shop, name="shop", exclude=["handler", "total"]))

    assert outcome.unwrap() == [2.0, 6.0, 2, "Kiel", "<Shop in the calling process>"]
    assert shop.prices["tea"] == 2.0 and type(shop.prices["tea"]) is float


def test_operators_work_where_the_registration_names_them(run: Run) -> None:
    shop = Shop()
    code = "shop['cup'] = 3\n[shop['cup'], 'cup' in shop, 'x' in shop, len(shop), list(shop), [s for s in shop]]"
    outcome = run(code, agex.Module(shop, name="shop", include=["price", *OPERATORS]))

    skus = ["tea", "tin", "cup"]
    assert outcome.unwrap() == [3.0, True, False, 3, skus, skus]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("shop['tea']", "TypeError"),
        ("len(shop)", "TypeError"),
        ("list(shop)", "TypeError"),
        ("shop.nothing", "AttributeError"),
        ("shop.prices", "AttributeError"),
        ("shop.price.shop", "AttributeError"),
        ("shop.city = 'Bonn'", "AttributeError"),
        ("shop.new = 1", "AttributeError"),
        ("class Mine(type(shop)): pass", "TypeError"),
        ("type(shop)()", "TypeError"),
        ("shop.price(3)", "TypeError"),
        ("shop.price('tea', 1, 2)", "TypeError"),
        ("shop.price('none')", "KeyError"),
    ],
)
def test_nothing_is_given_beyond_the_registration_and_arguments_are_checked(run: Run, code: str, kind: str) -> None:
    outcome = run(code, agex.Module(SHOP, name="shop", include=["price", "city"]))

    assert failure(outcome)[0] == kind, outcome.error
    assert SHOP.city == "Kiel"


@pytest.mark.parametrize("code", ["shop._key", "shop._hidden()", "getattr(shop, '_' + 'key')", "shop.__dict__"])
def test_names_with_an_underscore_are_never_given(run: Run, code: str) -> None:
    outcome = run(code, agex.Module(SHOP, name="shop", exclude=["handler", "total"]))

    assert outcome.status == "error" and "sk-123" not in str(outcome)


def test_a_loop_over_an_object_without_an_end_is_refused(run: Run) -> None:
    class Endless:
        def __iter__(self) -> Iterator[int]:
            number = 0
            while True:
                yield (number := number + 1)

    outcome = run("list(numbers)", agex.Module(Endless(), name="numbers", include="__iter__"))

    text = "it has more than 10000 items, which do not cross at once; ask for fewer of them"
    assert failure(outcome) == ("ValueError", text)


def test_a_compiled_object_takes_plain_data(isolation: str, pool: agex.Pool) -> None:
    code = """
db.execute("create table t (a int, b text)")
db.executemany("insert into t values (?, ?)", [(1, "x"), (2, "y")])
cursor = db.execute("select * from t where a > ?", (0,))
task_success([cursor.fetchone(), list(cursor), db.total_changes])"""
    agent = agent_of(isolation, pool, code)
    db = sqlite3.connect(":memory:", check_same_thread=False)
    agent.module(db, name="db", include=["execute*", "total_changes"])
    agent.cls(sqlite3.Cursor, include=["fetchone", "__iter__"], runs="host")

    assert value_of(agent) == [(1, "x"), [(2, "y")], 2]
    assert db.execute("select count(*) from t").fetchall() == [(2,)]
    db.close()


def test_a_dictionary_is_a_live_object_too(run: Run) -> None:
    table = {"a": 1}
    code = "table['b'] = 2\n[table.get('a'), table.get('c', 0), sorted(table.keys() if False else list(table))]"
    outcome = run(code, agex.Module(table, name="table", include=["get", "__setitem__", "__iter__"]))

    assert outcome.unwrap() == [1, 0, ["a", "b"]] and table == {"a": 1, "b": 2}


def test_a_method_whose_parameter_cannot_cross_is_named_with_the_remedy(pool: agex.Pool) -> None:
    with agex.Sandbox(modules=[agex.Module(SHOP, name="shop")], pool=pool) as sandbox:
        with pytest.raises(agex.ContractError, match=r"shop.handler\(callback\).*exclude='handler'"):
            sandbox.run("1")


# --- host handles ---


def test_objects_of_a_registered_class_stay_here_and_come_back_as_themselves(isolation: str, pool: agex.Pool) -> None:
    code = """
row = shop.row("tea")
rows = shop.rows()["all"]
total = shop.total(rows, more=row)
task_success([row.price(), row.sku, [each.price() for each in rows], total, type(row).__name__, repr(row)])"""
    agent = agent_of(isolation, pool, code)
    agent.module(SHOP, name="shop", include=["row", "rows", "total"])
    agent.cls(Row, runs="host", include=["price", "sku"])

    assert value_of(agent) == [4.5, "tea", [4.5, 1.5], 10.5, "Row", "<Row in the calling process>"]


def test_a_live_object_that_is_given_back_is_the_one_that_code_has(isolation: str, pool: agex.Pool) -> None:
    agent = agent_of(isolation, pool, "task_success([shop.itself() is shop, shop.itself().city])")
    agent.module(SHOP, name="shop", include=["itself", "city"])

    assert value_of(agent) == [True, "Kiel"]


def test_a_host_class_is_made_here_and_its_class_methods_are_asked_of_it(isolation: str, pool: agex.Pool) -> None:
    code = """
made = Shop()
row = Row.cheapest()
task_success([made.size, made is Shop(), isinstance(made, Shop), row.sku, Row.currency("USD"), row.currency()])"""
    agent = agent_of(isolation, pool, code)
    agent.cls(Shop, runs="host", include=["size"])
    agent.cls(Row, runs="host", constructable=False, include=["cheapest", "currency", "sku"])

    assert value_of(agent) == [2, False, True, "tin", "USD", "EUR"]


def test_a_class_that_is_not_constructable_gives_no_instances(isolation: str, pool: agex.Pool) -> None:
    agent = agent_of(isolation, pool, "Row(1, 2)", "task_success('gave up')")
    agent.cls(Row, runs="host", constructable=False)

    assert value_of(agent) == "gave up"
    requests = agent.model.requests  # type: ignore[attr-defined]
    assert "TypeError: Row is not made here; functions and methods give instances of it" in str(requests[1])


def test_an_input_of_a_registered_class_is_a_handle_and_its_private_side_stays(isolation: str, pool: agex.Pool) -> None:
    agent = agent_of(isolation, pool, "task_success([inputs.row.price(), hasattr(inputs.row, 'secret')])")
    agent.cls(Row, runs="host", include="price", constructable=False)

    @agent.task
    def do(row: Row) -> list[object]:
        """Do."""
        raise NotImplementedError

    assert do(Row(SHOP, "tin")) == [1.5, False]


def test_an_object_that_stays_here_is_no_result_of_a_worker(pool: agex.Pool) -> None:
    agent = agent_of(
        "kernel", pool, "task_success(inputs.row)", "task_success([inputs.row])", "task_success('gave up')"
    )
    agent.cls(Row, runs="host", include="price", constructable=False)

    @agent.task
    def plain(row: Row) -> Any:
        """Do."""
        raise NotImplementedError

    assert plain(Row(SHOP, "tin")) == "gave up"
    shown = [str(request.messages[-1]) for request in agent.model.requests]  # type: ignore[attr-defined]
    text = "a Row of the calling process, which has no form on the wire unless it is declared; only functions of that process"
    assert f"result: {text}" in shown[1] and f"result[0]: {text}" in shown[2]


@pytest.mark.parametrize("kind", [agex.Handle, agex.Opaque])
def test_what_stands_for_an_object_of_this_process_is_not_kept_nor_sealed(pool: agex.Pool, kind: Any) -> None:
    agent = agent_of("kernel", pool, "task_success(inputs.row)", "task_fail('no')")
    agent.cls(Row, runs="host", include="price", constructable=False)

    def keep(row):  # type: ignore[no-untyped-def]
        """Do."""
        raise NotImplementedError

    keep.__annotations__ = {"row": Row, "return": kind[Any]}
    outcome = agent.task(keep).run(Row(SHOP, "tin"))
    assert outcome.status == "failed"
    shown = str(agent.model.requests[1].messages[-1])  # type: ignore[attr-defined]
    assert "a Row of the calling process, wanted " in shown


def test_a_class_that_stays_here_is_not_sent_although_a_signature_names_it(pool: agex.Pool) -> None:
    key = "sk-123"

    class Client:
        def ask(self) -> int:
            return len(key)

    agent = agent_of("kernel", pool, "task_success(inputs.client.ask())")
    agent.cls(Client, runs="host")

    @agent.task
    def do(client: Client) -> int:
        """Do."""
        raise NotImplementedError

    assert do(Client()) == 6


def test_a_base_class_takes_handles_and_a_protocol_that_happens_to_fit_does_not(pool: agex.Pool) -> None:
    class Special(Row):
        pass

    def base(row: Row) -> str:
        return type(row).__name__

    def sized(thing: Sized) -> int:
        return len(thing)

    modules = [agex.Module(Special, runs="host", include="sku", constructable=False)]
    functions = {"base": base, "special": lambda: Special(SHOP, "tea")}
    with agex.Sandbox(modules=modules, functions=functions, pool=pool) as sandbox:
        assert sandbox.run("[base(special()), special().sku]").unwrap() == ["Special", "tea"]
    with agex.Sandbox(modules=[agex.Module(Shop, runs="host")], functions={"sized": sized}, pool=pool) as sandbox:
        with pytest.raises(agex.ContractError, match=r"sized\(thing\): Sized has no form"):
            sandbox.run("1")


def test_a_handle_goes_only_where_its_class_is_declared(isolation: str, pool: agex.Pool) -> None:
    def untyped(value) -> str:  # type: ignore[no-untyped-def]
        return type(value).__name__

    def wrong(shop: Shop) -> str:
        return "ran"

    agent = agent_of(isolation, pool, "untyped(Row.cheapest())", "wrong(Row.cheapest())", "task_success(wrong(Shop()))")
    agent.fn(untyped)
    agent.fn(wrong)
    agent.cls(Row, runs="host", include="cheapest", constructable=False)
    agent.cls(Shop, runs="host", include="size")

    assert value_of(agent) == "ran"
    shown = [str(request.messages[-1]) for request in agent.model.requests]  # type: ignore[attr-defined]
    assert "TypeError" in shown[1] and "declared" in shown[1]
    assert "TypeError" in shown[2] and "Input should be an instance of Shop (got Row)" in shown[2]


def test_what_code_lets_go_of_is_let_go_of_here(isolation: str, pool: agex.Pool) -> None:
    alive = 0

    class Counted:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

        def number(self) -> int:
            return alive

    agent = agent_of(
        isolation, pool, "for _ in range(3000):\n    last = Counted()\ntask_success(last.number())", "task_success(1)"
    )
    agent.cls(Counted, runs="host")

    assert value_of(agent) <= 2
    gc.collect()
    assert alive == 0


def test_more_handles_than_are_allowed_are_refused_and_none_of_them_is_kept(isolation: str, pool: agex.Pool) -> None:
    made: list[Row] = []

    def many(count: int) -> list[Row]:
        made[:] = [Row(SHOP, "tea") for _ in range(count)]
        return list(made)

    agent = agent_of(isolation, pool, "many(1001)", "task_success(len(many(1000)))")
    agent.fn(many)
    agent.cls(Row, runs="host", constructable=False)

    assert value_of(agent) == 1000
    text = str(agent.model.requests[1].messages[-1])  # type: ignore[attr-defined]
    assert "TypeError: the result of many() cannot cross to here: the code holds 1000 objects of this kind" in text


# --- modules ---


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module whose functions would give themselves away if they ran in a worker."""
    source = '''
from __future__ import annotations
import json
BALANCE = {"cash": 10}
LIMIT = 5
class Account:
    """An account."""
    def __init__(self, name: str) -> None: self.name = name
    def balance(self) -> int: return BALANCE[self.name]
def book(name: str, amount: int) -> int:
    """Book an amount."""
    BALANCE[name] += amount
    return BALANCE[name]
def close() -> None: BALANCE.clear()
'''
    module = ModuleType("agex_test_ledger")
    monkeypatch.setitem(sys.modules, "agex_test_ledger", module)
    exec(source, vars(module))
    return module


def test_functions_of_a_host_module_run_here_under_its_name(run: Run, ledger: ModuleType) -> None:
    code = """
import agex_test_ledger as ledger
from agex_test_ledger import book
[book("cash", 5), ledger.book("cash", amount=1), hasattr(ledger, "LIMIT"), hasattr(ledger, "close"), book.__doc__]"""
    outcome = run(code, agex.Module(ledger, runs="host", exclude="close"))

    assert outcome.unwrap() == [15, 16, False, False, "Book an amount."]
    assert ledger.BALANCE == {"cash": 16}


def test_members_of_a_host_module_that_are_not_given_cannot_be_imported(run: Run, ledger: ModuleType) -> None:
    outcome = run("from agex_test_ledger import close", agex.Module(ledger, runs="host", exclude="close"))

    assert failure(outcome)[0] == "ImportError"


def test_one_function_and_one_class_of_a_module_run_here_and_the_rest_in_the_worker(run: Run) -> None:
    here = threading.get_ident()
    chosen = {"dumps": agex.MemberSpec(runs="host"), "JSONDecoder": agex.MemberSpec(runs="host")}
    code = (
        "import json\n[json.dumps([1]), json.loads('[2]'), json.JSONDecoder().decode('[3]'), repr(json.JSONDecoder())]"
    )
    outcome = run(code, agex.Module(json, configure=chosen))

    assert outcome.unwrap() == ["[1]", [2], [3], "<JSONDecoder in the calling process>"]
    assert here == threading.get_ident()


def test_ordinary_python_imports_a_host_module_too(pool: agex.Pool, ledger: ModuleType) -> None:
    modules = [agex.Module(ledger, runs="host")]
    with agex.Sandbox(policy="full-python", modules=modules, pool=pool) as sandbox:
        outcome = sandbox.run("import agex_test_ledger\nfrom agex_test_ledger import book\n[book('cash', 2)]")

    assert outcome.unwrap() == [12] and ledger.BALANCE == {"cash": 12}


# --- what a function takes along ---


def test_a_function_that_is_sent_takes_along_what_it_names_and_the_event_tells(pool: agex.Pool) -> None:
    rates, factor = {"EUR": 2.0}, 3

    def converted(amount: float) -> float:
        return amount * rates["EUR"] * factor

    agent = agent_of("kernel", pool, "task_success(converted(2))")
    with pytest.raises(agex.ConfigurationError, match=r"captures=\['rates'\]"):
        agent.fn(converted, runs="worker")
    with pytest.raises(agex.ConfigurationError, match="captures= names nothing, which it does not use"):
        agent.fn(converted, runs="worker", captures=["rates", "nothing"])
    agent.fn(converted, runs="worker", captures=["rates"])

    @agent.task
    def do() -> float:
        """Do."""
        raise NotImplementedError

    outcome = do.run()
    assert outcome.value == 12.0
    started = outcome.events[0]
    assert isinstance(started, agex.TaskStartEvent)
    assert started.captured == (
        "function 'converted' takes along the variable `factor` of an outer function (a int)",
        "function 'converted' takes along the variable `rates` of an outer function (a dict)",
    )


def test_a_function_that_is_an_input_tells_what_it_takes_along_before_the_model_is_asked(pool: agex.Pool) -> None:
    key, factor = "sk-123", 3
    agent = agent_of("kernel", pool, "task_success(inputs.fs[0](2))")

    @agent.task
    def do(fs: list[Callable[[int], int]]) -> int:
        """Do."""
        raise NotImplementedError

    with pytest.raises(agex.ContractError) as caught:
        do.run([lambda x: x + len(key)])
    assert str(caught.value) == (
        "the function '<lambda>' in input 'fs' would carry the variable `key` of an outer function (a str) of this process "
        "into the worker. Make it a parameter, move the code to an importable module, or register it with runs='host'."
    )
    assert agent.model.requests == []  # type: ignore[attr-defined]
    outcome = do.run([lambda x: x * factor])
    assert outcome.value == 6 and isinstance(outcome.events[0], agex.TaskStartEvent)
    assert outcome.events[0].captured == (
        "the function '<lambda>' in input 'fs' takes along the variable `factor` of an outer function (a int)",
    )


# --- async functions, cancellation, threads ---


def test_an_async_function_is_awaited_in_a_loop_of_the_session_where_nobody_awaits(run: Run) -> None:
    loops: list[object] = []

    async def later(number: int) -> int:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return number + 1

    async def failing() -> int:
        raise LookupError("not there")

    code = (
        "out = [later(1), later(2)]\ntry:\n    failing()\nexcept LookupError as error:\n    out.append(str(error))\nout"
    )
    assert run(code, later=later, failing=failing).unwrap() == [2, 3, "not there"]
    assert len(set(map(id, loops))) == 1


def test_an_async_function_is_awaited_in_the_loop_that_awaits_the_run(isolation: str, pool: agex.Pool) -> None:
    loops: list[object] = []

    async def later(number: int) -> int:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return number + 1

    async def main() -> tuple[object, object]:
        with agex.Sandbox(isolation=isolation, functions={"later": later}, pool=pool) as sandbox:
            awaited = await sandbox.arun("later(1)")
            waited = sandbox.run("later(2)")  # in the loop's own thread, which can run nothing meanwhile
        return awaited.unwrap(), waited.unwrap(), asyncio.get_running_loop()

    *values, loop = asyncio.run(main())
    assert values == [2, 3]
    assert loops[0] is loop and loops[1] is not loop


def test_cancelling_a_run_ends_the_async_function_that_it_waits_for(isolation: str, pool: agex.Pool) -> None:
    ended: list[str] = []
    begun = threading.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    with agex.Sandbox(isolation=isolation, functions={"forever": forever}, pool=pool) as sandbox:

        def cancel() -> None:
            begun.wait()
            sandbox.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        outcome = sandbox.run("forever()")
        thread.join()
        assert outcome.status == "cancelled" and ended == ["ended"]
        assert sandbox.run("1 + 1").unwrap() == 2


def test_cancelling_a_run_lets_a_function_that_blocks_end_first(isolation: str, pool: agex.Pool) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def block() -> str:
        begun.set()
        go_on.wait()
        return "done"

    with agex.Sandbox(isolation=isolation, functions={"block": block}, pool=pool) as sandbox:

        def cancel() -> None:
            begun.wait()
            sandbox.cancel()
            go_on.set()

        thread = threading.Thread(target=cancel)
        thread.start()
        outcome = sandbox.run("block()\nprint('went on')")
        thread.join()
        assert (outcome.status, outcome.stdout) == ("cancelled", "")


def test_time_in_a_host_function_is_not_the_codes_own(isolation: str, pool: agex.Pool) -> None:
    waiting = threading.Event()
    with agex.Sandbox(isolation=isolation, functions={"wait": lambda: waiting.wait(1.2)}, pool=pool) as sandbox:
        sandbox.run("1")
        assert sandbox.run("wait()\n'done'", timeout_s=1.0).unwrap() == "done"
        assert sandbox.run("wait()\nwhile True:\n    pass", timeout_s=1.0).status == "timeout"


def test_a_call_keeps_no_other_worker_waiting(pool: agex.Pool) -> None:
    """The first waits in a host function for what the second does."""
    done = threading.Event()
    with (
        agex.Sandbox(functions={"wait": done.wait}, pool=pool) as first,
        agex.Sandbox(functions={"say": done.set}, pool=pool) as second,
    ):
        outcomes: list[agex.SandboxOutcome] = []
        thread = threading.Thread(target=lambda: outcomes.append(first.run("wait()")))
        thread.start()
        assert second.run("say()").status == "ok"
        thread.join()
    assert outcomes[0].unwrap() is True


def test_calls_from_many_threads_of_one_worker_each_get_their_own_answer(pool: agex.Pool) -> None:
    code = """
import threading
found = {}
def work(name):
    found[name] = [shop.price("tin", pieces=name * 100 + each) for each in range(50)]
threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
for each in threads: each.start()
for each in threads: each.join()
found"""
    with agex.Sandbox(
        policy="full-python", modules=[agex.Module(Shop(), name="shop", include="price")], pool=pool
    ) as s:
        found = s.run(code).unwrap()

    assert found == {name: [1.5 * (name * 100 + each) for each in range(50)] for name in range(8)}


def test_a_host_function_may_run_another_sandbox_but_not_its_own(isolation: str, pool: agex.Pool) -> None:
    sandboxes: list[agex.Sandbox] = []

    def inner(code: str, own: bool) -> int:
        return int(sandboxes[0 if own else 1].run(code).unwrap())

    for functions in ({"inner": inner}, {}):
        sandboxes.append(agex.Sandbox(isolation=isolation, functions=functions, pool=pool))
    assert sandboxes[0].run("inner('20 + 1', False) * 2").unwrap() == 42
    kind, text = failure(sandboxes[0].run("inner('1', True)"))
    assert kind == "RuntimeError" and "use another Sandbox" in text
    for each in sandboxes:
        each.close()


# --- errors ---


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Stop(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (Mute(), "HostError", "Mute: <its text cannot be made: ValueError>"),
        (ExceptionGroup("many", [ValueError(1)]), "HostError", "ExceptionGroup: many (1 sub-exception)"),
        (StopIteration(3), "StopIteration", "3"),
        (KeyError("k"), "KeyError", "'k'"),
        (KeyError(3), "KeyError", "'3'"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "HostError", None),
        (type("T" * 5000, (Exception,), {})("x"), "HostError", f"{'T' * 200}: x"),
    ],
)
def test_an_error_of_any_kind_crosses_as_its_name_and_text(
    pool: agex.Pool, error: Exception, kind: str, text: str | None
) -> None:
    def fail() -> None:
        raise error

    with agex.Sandbox(functions={"fail": fail}, pool=pool) as sandbox:
        found, message = failure(sandbox.run("fail()"))
        assert sandbox.run("1").unwrap() == 1
    assert found.rpartition(".")[2] == kind
    assert text is None or message == text
    assert __file__ not in message


def test_an_error_shows_no_line_of_the_application(run: Run) -> None:
    def fail() -> None:
        try:
            raise KeyError("inner secret")
        except KeyError as inner:
            raise ValueError("outer") from inner

    outcome = run("fail()", fail=fail)

    assert outcome.error is not None and outcome.error.message == "outer"
    assert __file__ not in outcome.error.traceback and "secret" not in outcome.error.traceback


@pytest.mark.parametrize("isolation", ["none", "kernel"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, Stop, asyncio.CancelledError])
def test_what_is_no_exception_reaches_the_caller_and_not_the_code(
    pool: agex.Pool, error: type[BaseException], isolation: str
) -> None:
    def fail() -> None:
        raise error

    code = "try:\n    fail()\nexcept BaseException:\n    pass"
    with agex.Sandbox(isolation=isolation, functions={"fail": fail}, pool=pool) as sandbox:
        with pytest.raises(error):
            sandbox.run(code)
        assert sandbox.run("1").unwrap() == 1


# --- what the model and the developer are shown ---


def test_the_model_is_shown_objects_and_classes_that_stay_here_with_their_members(pool: agex.Pool) -> None:
    agent = agent_of("kernel", pool)
    agent.module(
        SHOP,
        name="shop",
        visibility="high",
        include=["price", "size", "city", "__getitem__"],
        configure={"city": agex.MemberSpec(docstring="Where it is.")},
    )
    agent.cls(Row, runs="host", include=["price", "sku"], constructable=False)
    prompt = agent.system_prompt(())

    assert (
        "Objects, known by their bare names:\n"
        "shop: Shop\n"
        "    Prices by article.\n"
        "    [sku: str] -> float\n"
        "    .city\n"
        "        Where it is.\n"
        "    .price(sku: str, pieces: int = 1) -> float\n"
        "        Price of so many.\n"
        "    .size\n"
        "        How many articles.\n"
    ) in prompt + "\n"
    assert "Row: given by functions and methods\n    One row, kept here.\n    .price() -> float" in prompt
    assert "sku" in prompt and "cheapest" not in prompt


def test_the_repr_of_an_agent_says_what_runs_where(ledger: ModuleType) -> None:
    def price(sku: str) -> float:
        return 1.0

    agent = agex.Agent(name="a")
    agent.module("json", configure={"dumps": agex.MemberSpec(runs="host")})
    agent.module(ledger, runs="host", include="book")
    agent.module(SHOP, name="shop", include="price")
    agent.cls(Row, runs="host")
    agent.fn(price)
    agent.fn(json.loads, runs="worker")

    assert repr(agent) == (
        "<Agent a isolation='none' policy='default'; in the worker: json, loads;"
        " in this process: price, json.dumps, agex_test_ledger.book, shop, Row>"
    )
