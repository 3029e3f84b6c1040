"""What can be a task, and what its parameters may be called: methods, generics, forward references, sessions without source."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel

import agex
from agex.llm import Scripted
from tests.values.classes import Answer

T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    """A thing in a box."""

    inside: T


Words = Answer[list[str]]  # of this module, says pydantic, for it was asked for here first; a worker asks elsewhere


def agent_of(*script: str, isolation: str = "kernel", name: str = "tester") -> agex.Agent:
    return agex.Agent(name=name, isolation=isolation, llm=Scripted(script))


def shown(agent: agex.Agent) -> str:
    return str(agent.model.requests[0])  # type: ignore[attr-defined]


# --- names ---


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_no_name_of_a_parameter_is_taken(isolation: str) -> None:
    names = (
        "self session tenant on_event on_token timeout_s max_actions args kwargs inputs cache print instance owner"
        " function agent options outcomes concurrency items task_success name call"
    ).split()
    code = f"task_success(sum(getattr(inputs, name) for name in {names}))"
    agent = agent_of(code, code, isolation=isolation)
    namespace: dict[str, Any] = {}
    exec(f"def total({', '.join(f'{name}: int' for name in names)}) -> int:\n    'Add all.'\n", namespace)
    task: Any = agent.task(namespace["total"])

    values = dict(zip(names, range(len(names)), strict=True))

    assert task(**values) == sum(values.values())
    assert task.run(**values).value == sum(values.values())


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_names_that_code_reads_of_no_object_are_read_of_inputs(isolation: str) -> None:
    agent = agent_of("task_success(inputs._x + inputs.__y + vars(inputs)['co_name'])", isolation=isolation)
    namespace: dict[str, Any] = {}
    exec("def add(_x: int, __y: int, co_name: int) -> int:\n    'Add.'\n", namespace)

    assert agent.task(namespace["add"])(1, 20, 300) == 321
    assert "- inputs._x: int = 1\n- inputs.__y: int = 20\n- vars(inputs)['co_name']: int = 300" in shown(agent)


def test_a_name_that_cannot_be_given_to_code_is_refused_at_decoration() -> None:
    with pytest.raises(ValueError, match=r"task add: agent code cannot read inputs\.__array_interface__; rename"):

        @agent_of().task
        def add(__array_interface__: int) -> int:
            """Add."""
            raise NotImplementedError


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_of_two_classes_of_one_name_code_has_the_one_that_it_is_to_make(isolation: str) -> None:
    class Item(BaseModel):
        price: int

    given = Item

    class Item(BaseModel):  # type: ignore[no-redef]  # as two modules of an application have it
        cents: int

    for order in (1, -1):  # whichever was defined first
        got, made = (given, Item)[::order]
        first, second = ("price", "cents")[::order]

        def change(item):  # type: ignore[no-untyped-def]
            """Change."""
            raise NotImplementedError

        change.__annotations__ = {"item": got, "return": made}
        agent = agent_of(f"task_success(Item({second}=3 * inputs.item.{first}))", isolation=isolation)
        assert agent.task(change)(got(**{first: 4})) == made(**{second: 12})


def test_star_parameters_arrive_as_a_tuple_and_a_dict() -> None:
    agent = agent_of("task_success(f'{inputs.args} {inputs.kwargs}')")

    @agent.task
    def show(*args: int, **kwargs: int) -> str:
        """Show."""
        raise NotImplementedError

    assert show(1, 2, session=3) == "(1, 2) {'session': 3}"


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_a_task_without_parameters_has_empty_inputs_and_goes_on_after_a_question(isolation: str) -> None:
    agent = agent_of("task_clarify('?')", "task_success(len(vars(inputs)))", isolation=isolation)

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    with pytest.raises(agex.TaskNeedsInput) as caught:
        count()
    assert caught.value.answer("yes") in (0, 1)
    with pytest.raises(agex.ContractError, match=r"count\(\): too many positional arguments"):
        count(1)  # type: ignore[call-arg]


def test_a_task_keeps_what_tells_of_the_function() -> None:
    def count(n: int, *, by: int = 2) -> int:
        """Count."""
        raise NotImplementedError

    task = agent_of().task(count)

    assert inspect.signature(task) == inspect.signature(count)
    assert task.__wrapped__ is count and inspect.unwrap(task) is count
    assert (task.__name__, task.__doc__, task.__module__) == ("count", "Count.", __name__)
    assert task.with_options(session="a").__signature__ == inspect.signature(count)


# --- methods ---


class Service:
    """Has a task as a method."""

    agent = agent_of("task_success(inputs.n * 2)", "task_success(inputs.n * 3)", "task_success(4)")

    def __init__(self) -> None:
        self.secret = "not for the agent"

    @agent.task
    def double(self, n: int) -> int:
        """Double it."""
        raise NotImplementedError

    @staticmethod
    @agent.task
    def triple(n: int) -> int:
        """Triple it."""
        raise NotImplementedError


def test_a_method_is_called_on_an_object_that_stays_here() -> None:
    service = Service()

    assert service.double(4) == 8
    assert "def double(n: int) -> int" in shown(Service.agent) and "self" not in shown(Service.agent).split("Task ")[1]
    assert str(inspect.signature(service.double)) == "(n: 'int') -> 'int'"
    assert service.triple(4) == 12
    outcome = service.double.with_options(session="other").run(n=1)
    assert outcome.value == 4
    assert {event.session for event in outcome.events} == {"other"}
    assert Service.double is Service.__dict__["double"]


def test_a_method_of_an_object_can_be_a_sub_agent() -> None:
    specialist = agent_of("task_success(inputs.n * 2)", name="specialist")

    class Held:
        @specialist.task
        def double(self, n: int) -> int:
            """Double it."""
            raise NotImplementedError

    boss = agent_of("task_success(double(4))", name="boss")
    boss.fn(Held().double)

    @boss.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    assert work() == 8


def test_a_method_without_a_first_parameter_is_a_type_error_that_says_what_to_do() -> None:
    agent = agent_of()

    class Broken:
        @agent.task
        def count() -> int:  # type: ignore[misc]
            """Count."""
            raise NotImplementedError

    with pytest.raises(TypeError, match="no first parameter for what it is called on; see staticmethod"):
        Broken().count  # noqa: B018 -- the access is what is tried


# --- annotations ---


def test_generics_cross_with_their_arguments_checked() -> None:
    agent = agent_of("task_success(Box[int](inside=inputs.box.inside + 1))", "task_success({'inside': 'x'})")

    @agent.task
    def more(box: Box[int]) -> Box[int]:
        """One more."""
        raise NotImplementedError

    with pytest.raises(agex.ContractError):
        more(Box[str](inside="x"))  # type: ignore[arg-type]
    outcome = more.run({"inside": 1})
    assert outcome.status == "success", outcome.message
    assert outcome.value.inside == 2


def test_a_model_that_was_given_its_parameters_here_is_the_same_in_a_worker_without_this_module() -> None:
    with agex.Sandbox(modules=["tests.values.classes"]) as sandbox:
        outcome = sandbox.run("words", inputs={"words": Words(data=["a"])}, returns=Words)
    assert Words.__module__ == __name__ != Answer.__module__
    assert outcome.unwrap() == Words(data=["a"])


def later_defined(agent: agex.Agent) -> agex.Task[[], Any]:
    @agent.task
    def make() -> Later:
        """Make it."""
        raise NotImplementedError

    return make


EARLY = later_defined(agent_of("task_success({'text': 'x'})"))


class Later(BaseModel):
    """Defined after a task that names it."""

    text: str


def test_a_forward_reference_is_resolved_when_the_task_is_called() -> None:
    assert EARLY() == Later(text="x")


def test_a_name_that_never_resolves_is_a_contract_error_with_the_remedy() -> None:
    agent = agent_of()

    @agent.task
    def make() -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        """Make it."""
        raise NotImplementedError

    with pytest.raises(agex.ContractError, match="task make: an annotation does not resolve: name 'Nowhere'"):
        make()


# --- bodies ---


def without_source(text: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


@pytest.mark.parametrize("head", ["def f(a=1, *b)", "async def f(a=1, *b)"])
@pytest.mark.parametrize(
    ("body", "empty"),
    [
        ("'Doc.'", True),
        ("'Doc.'; pass", True),
        ("'Doc.'; ...", True),
        ("'Doc.'; raise NotImplementedError", True),
        ("'Doc.'; raise NotImplementedError()", True),
        ("'Doc.'; raise NotImplementedError('by the model')", True),
        ("'Doc.'; return None", True),
        ("'Doc.'; return 1", False),
        ("'Doc.'; return a", False),
        ("'Doc.'; b = a", False),
        ("'Doc.'; return [1]", False),
        ("'Doc.'; return len('abc')", False),
        ("'Doc.'; raise ValueError", False),
        ("'Doc.'; return 'text'", False),
    ],
)
def test_a_body_without_source_is_judged_by_its_bytecode(head: str, body: str, empty: bool) -> None:
    function = without_source(f"{head}: {body}")
    agent = agent_of()

    if empty:
        assert agent.task(function).__name__ == "f"
    else:
        with pytest.raises(ValueError, match="the body must be empty"):
            agent.task(function)


@pytest.mark.parametrize("given", [len, int, print, Box, 3, Service()])
def test_what_is_no_plain_function_is_no_task(given: Any) -> None:
    with pytest.raises(ValueError, match="@task takes a plain function"):
        agent_of().task(given)


def test_a_session_of_the_interpreter_needs_no_source() -> None:
    program = (
        "import agex, dataclasses\n"
        "agent = agex.Agent(isolation='kernel', llm=agex.llm.Scripted(['task_success(Point(x=inputs.x, y=2))']))\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\n    y: int\n\n"
        "@agent.task\ndef make(x: int) -> Point:\n    'Make it.'\n\n"
        "print(make(1))\n"
    )
    done = subprocess.run([sys.executable, "-i", "-q"], input=program, capture_output=True, text=True, timeout=120)

    assert "Point(x=1, y=2)" in done.stdout, done.stderr


# --- options ---


def test_tenants_have_sessions_of_their_own() -> None:
    agent = agent_of(*["with open('log', 'a+') as f:\n    f.write('x')\n    task_success(f.tell())"] * 5)

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    acme = count.with_options(tenant="acme")
    assert [acme(), acme(), count(), count.with_options(tenant="other")()] == [1, 2, 1, 1]
    assert acme.with_options(session="s")() == 1
    for session in ("acme@@default", "a@@"):
        with pytest.raises(ValueError, match="@@ is kept for tenants"):
            count.with_options(session=session)
    for tenant in ("", "a@b", "../x", "x" * 65):
        with pytest.raises(ValueError, match="tenant"):
            count.with_options(tenant=tenant)


def test_options_that_make_no_sense_are_refused_when_they_are_given() -> None:
    @agent_of().task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    with pytest.raises(ValueError, match="timeout_s must be above 0"):
        count.with_options(timeout_s=0)
    with pytest.raises(ValueError, match="max_actions must be above 0"):
        count.with_options(max_actions=-1)
    with pytest.raises(agex.ConfigurationError, match="on_event takes a function"):
        count.with_options(on_event=3)
    with pytest.raises(agex.ConfigurationError, match="no such option: sesion; there are session, tenant, "):
        count.with_options(sesion="a")
