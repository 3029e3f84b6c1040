"""A task in kernel isolation, from the caller's side: values of every declared kind, contracts, and what the model is shown."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

import agex
from agex.llm import PythonAction, Reply, Scripted


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    name: str
    price: float
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Order:
    number: int
    items: list[Item]
    total: Decimal | None = None


class Pair(NamedTuple):
    left: int
    right: str


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=4)
    yield pool
    pool.close()


def agent_of(pool: agex.Pool, *script: Any, **choices: Any) -> tuple[agex.Agent, Scripted]:
    model = Scripted(script)
    return agex.Agent(isolation="kernel", llm=model, pool=pool, **choices), model


# --- the main job ---


def test_the_first_example_gives_a_real_dict_of_floats_for_a_million_rows(pool: agex.Pool) -> None:
    agent, model = agent_of(
        pool,
        "print(inputs.df.shape)\nprint(inputs.df['prise'].mean())",
        "task_success({name: inputs.df[name] for name in inputs.columns})",
        "task_success({name: inputs.df[name].mean() for name in inputs.columns})",
    )
    agent.module(pd)

    @agent.fn
    def currency(code: str, when: dt.date | None = None) -> Decimal:
        """The rate of a currency on a day."""
        return Decimal(1)

    @agent.task
    def summarize(df: pd.DataFrame, columns: list[str]) -> dict[str, float]:
        """Compute summary statistics for the named columns."""
        raise NotImplementedError

    frame = pd.DataFrame({"price": np.arange(1_000_000, dtype="float64"), "revenue": 1.5, "name": "a"})
    with agent:
        stats = summarize(frame, ["price", "revenue"])

    assert stats == {"price": 499999.5, "revenue": 1.5}
    assert type(stats) is dict and [type(value) for value in stats.values()] == [float, float]

    first, second, third = (str(request) for request in model.requests)
    assert len(first.encode()) < 8_000
    for shown in (
        "Compute summary statistics for the named columns.",
        "def summarize(df: pd.DataFrame, columns: list[str]) -> dict[str, float]",
        "inputs.df: DataFrame",
        "1000000",
        "inputs.columns: list[str] = ['price', 'revenue']",
        "dict[str, float]",
        "currency(code: str, when: date | None = None) -> Decimal",
        "The rate of a currency on a day.",
        "pandas",
        "task_success(value)",
        "task_fail(message)",
        "task_clarify(question)",
        "Policy 'default', isolation 'kernel'",
        "Network: none",
    ):
        assert shown in first, shown
    assert "(1000000, 3)" in second
    assert 'File "<action 1>", line 2' in second and "inputs.df['prise']" in second and "KeyError: 'prise'" in second
    assert "ContractError" in third and "wanted float" in third


def test_the_picture_of_an_input_is_bounded_however_large_it_is(pool: agex.Pool) -> None:
    agent, model = agent_of(pool, "task_success(len(inputs.text) + len(inputs.numbers) + len(inputs.table))")

    @agent.task
    def measure(text: str, numbers: list[int], table: dict[str, list[str]]) -> int:
        """Add the lengths."""
        raise NotImplementedError

    table = {f"key {n}": ["value"] * 100 for n in range(1000)}
    assert measure("x" * 1_000_000, list(range(100_000)), table) == 1_101_000
    assert len(str(model.requests[0]).encode()) < 8_000


# --- values of every kind ---

VALUES: list[tuple[Any, str, object]] = [
    (None, "task_success()", None),
    (bool, "task_success(True)", True),
    (float, "task_success(3)", 3.0),
    (float, "import numpy as np\ntask_success(np.float64(2.5))", 2.5),
    (bytes, "task_success(b'raw')", b"raw"),
    (complex, "task_success(1 + 2j)", 1 + 2j),
    (set[int], "task_success({1, 2})", {1, 2}),
    (tuple[int, str], "task_success((1, 'a'))", (1, "a")),
    (list[int | None], "task_success([1, None])", [1, None]),
    (Literal["a", "b"], "task_success('b')", "b"),
    (Item, "task_success({'name': 'lamp', 'price': 2})", Item(name="lamp", price=2.0)),
    (
        Item,
        "task_success(Item(name='lamp', price=2, colour=Colour.BLUE))",
        Item(name="lamp", price=2.0, colour=Colour.BLUE),
    ),
    (
        Order,
        "task_success(Order(1, [Item(name='a', price=1.5)], Decimal('1.50')))",
        Order(1, [Item(name="a", price=1.5)], Decimal("1.50")),
    ),
    (Pair, "task_success(Pair(1, 'b'))", Pair(1, "b")),
    (Colour, "task_success(Colour.BLUE)", Colour.BLUE),
    (Decimal, "task_success(Decimal('0.10'))", Decimal("0.10")),
    (uuid.UUID, "task_success(UUID(int=7))", uuid.UUID(int=7)),
    (dt.datetime, "task_success(datetime(2026, 1, 2, 3))", dt.datetime(2026, 1, 2, 3)),
    (dt.timedelta, "task_success(timedelta(days=1))", dt.timedelta(days=1)),
    (list[dt.date], "task_success([date(2026, 1, 2)])", [dt.date(2026, 1, 2)]),
    (dict[str, Item], "task_success({'a': Item(name='x', price=1)})", {"a": Item(name="x", price=1.0)}),
]


@pytest.mark.parametrize(("kind", "code", "expected"), VALUES, ids=[code[:60] for _, code, _ in VALUES])
def test_the_value_is_a_real_object_of_the_declared_type(
    pool: agex.Pool, kind: Any, code: str, expected: object
) -> None:
    agent, model = agent_of(pool, code)
    agent.module("numpy")
    for cls in (Colour, Decimal):  # the others are known from the signature alone
        agent.cls(cls)

    def make() -> Any:
        """Make it."""
        raise NotImplementedError

    make.__annotations__["return"] = kind
    outcome = agent.task(make).run()

    assert outcome.status == "success", outcome.message
    assert outcome.value == expected and type(outcome.value) is type(expected)
    assert len(model.requests) == 1


def test_arrays_and_frames_are_the_callers_own_and_writeable(pool: agex.Pool) -> None:
    agent, _ = agent_of(
        pool, "task_success(inputs.frame.to_numpy() * 2)", "task_success(inputs.array_frame.assign(c=1))"
    )
    agent.module(pd)

    @agent.task
    def double(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Double it."""
        raise NotImplementedError

    @agent.task
    def widen(array_frame: pd.DataFrame) -> pd.DataFrame:
        """Add the column c."""
        raise NotImplementedError

    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    array = double(frame)
    wide = widen(frame)
    array[0, 0] = 99
    wide.loc[0, "a"] = 99

    np.testing.assert_array_equal(array, [[99, 6], [4, 8]])
    pd.testing.assert_frame_equal(wide, pd.DataFrame({"a": [99, 2], "b": [3, 4], "c": [1, 1]}))
    assert frame.loc[0, "a"] == 1


def test_a_large_frame_comes_back_whole(pool: agex.Pool) -> None:
    agent, _ = agent_of(pool, "task_success(inputs.df.assign(b=inputs.df['a'] + 1))")
    agent.module(pd)

    @agent.task
    def extend(df: pd.DataFrame) -> pd.DataFrame:
        """Add b = a + 1."""
        raise NotImplementedError

    frame = pd.DataFrame({"a": np.arange(500_000)})
    pd.testing.assert_frame_equal(extend(frame), frame.assign(b=frame["a"] + 1))


def test_a_class_of_the_signature_can_be_local_to_a_function(pool: agex.Pool) -> None:
    class Answer(BaseModel):
        text: str

    agent, _ = agent_of(pool, "task_success(Answer(text='yes'))")

    @agent.task
    def answer() -> Answer:
        """Answer."""
        raise NotImplementedError

    assert answer() == Answer(text="yes")


# --- the contract ---


@pytest.mark.parametrize(
    ("kind", "wrong", "right", "expected"),
    [
        (int, "task_success('3')", "task_success(3)", 3),
        (bool, "task_success(1)", "task_success(True)", True),
        (tuple[int, ...], "task_success([1])", "task_success((1,))", (1,)),
        (list[float], "task_success([1.0, None])", "task_success([1.0, 2])", [1.0, 2.0]),
        (Item, "task_success({'name': 'x'})", "task_success({'name': 'x', 'price': 1})", Item(name="x", price=1.0)),
        (str, "task_success()", "task_success('')", ""),
    ],
)
def test_a_wrong_value_is_fed_back_and_corrected(
    pool: agex.Pool, kind: Any, wrong: str, right: str, expected: object
) -> None:
    agent, model = agent_of(pool, wrong, right)

    def make() -> Any:
        """Make it."""
        raise NotImplementedError

    make.__annotations__["return"] = kind

    assert agent.task(make)() == expected
    fed_back = str(model.requests[1].messages[-1])
    assert "ContractError" in fed_back or "task_success was refused" in fed_back


def test_arguments_are_validated_before_the_model_is_asked(pool: agex.Pool) -> None:
    agent, model = agent_of(pool)

    @agent.task
    def total(prices: list[float], count: int = 1) -> float:
        """Add."""
        raise NotImplementedError

    wrong: list[tuple[Any, ...]] = [(["1"],), ([1.0], "2"), (), ([1.0], 1, 2)]
    for arguments in wrong:
        with pytest.raises(agex.ContractError, match=r"total\(\)") as caught:
            total(*arguments)
        assert isinstance(caught.value, TypeError)
    with pytest.raises(agex.ContractError, match="nosuch"):
        total([1.0], nosuch=1)  # type: ignore[call-arg]
    assert model.requests == []


def test_the_validated_argument_is_what_the_agent_gets(pool: agex.Pool) -> None:
    agent, _ = agent_of(pool, "task_success(f'{inputs.price!r} {type(inputs.item).__name__} {inputs.item.price!r}')")

    @agent.task
    def show(price: float, item: Item) -> str:
        """Show."""
        raise NotImplementedError

    assert show(3, {"name": "lamp", "price": 2}) == "3.0 Item 2.0"  # type: ignore[arg-type]


def test_a_declared_class_without_a_codec_is_refused_at_decoration(pool: agex.Pool) -> None:
    class Engine:
        pass

    agent, _ = agent_of(pool)

    with pytest.raises(agex.ContractError, match="Engine") as caught:

        @agent.task
        def build() -> Engine:
            """Build."""
            raise NotImplementedError

    assert 'isolation="none"' in str(caught.value) or "isolation='none'" in str(caught.value)


def test_an_input_that_cannot_be_sent_is_a_contract_error_naming_it(pool: agex.Pool) -> None:
    agent, model = agent_of(pool, "task_success(1)")

    @agent.task
    def read(source: object) -> int:
        """Read."""
        raise NotImplementedError

    with open(__file__) as file, pytest.raises(agex.ContractError, match="source"):
        read(file)
    assert len(model.requests) <= 1


@pytest.mark.parametrize(
    "body",
    [
        '"""Do it."""',
        '"""Do it."""\n    pass',
        '"""Do it."""\n    ...',
        '"""Do it."""\n    raise NotImplementedError',
        '"""Do it."""\n    raise NotImplementedError("by the model")',
    ],
)
def test_every_empty_body_makes_a_task(pool: agex.Pool, body: str, tmp_path: Path) -> None:
    agent, _ = agent_of(pool, "task_success(1)")
    code = compile(f"def do() -> int:\n    {body}\n", "<notebook cell>", "exec")
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(code, cell)

    do: Any = agent.task(cell["do"])
    assert do() == 1


def test_a_body_that_does_something_is_refused(pool: agex.Pool) -> None:
    agent, _ = agent_of(pool)

    with pytest.raises(ValueError, match="empty"):

        @agent.task
        def busy() -> int:
            """Do."""
            return 1

    with pytest.raises(ValueError, match="docstring"):

        @agent.task
        def silent() -> int:
            raise NotImplementedError

    @agent.task("Count to one.")
    def primed() -> int:
        raise NotImplementedError

    assert primed.primer == "Count to one."


# --- host functions and files ---


def test_host_functions_run_here_with_validated_arguments(pool: agex.Pool) -> None:
    agent, model = agent_of(pool, "print(rate('EUR', 2))", "rate(1)", "task_success(rate('EUR'))")
    seen: list[tuple[str, float]] = []

    @agent.fn
    def rate(code: str, factor: float = 1.0) -> Item:
        """The rate."""
        seen.append((code, factor))
        return Item(name=code, price=factor)

    @agent.task
    def ask() -> Item:
        """Ask."""
        raise NotImplementedError

    assert ask() == Item(name="EUR", price=1.0)
    assert seen == [("EUR", 2.0), ("EUR", 1.0)]
    assert "TypeError" in str(model.requests[2].messages[-1])


def test_files_of_a_session_stay_and_other_sessions_have_their_own(pool: agex.Pool) -> None:
    write = "with open('note.txt', 'w') as f:\n    f.write('kept')\ntask_success('')"
    read = "task_success(open('note.txt').read())"
    agent, model = agent_of(pool, write, read, read, "task_fail('no file')")

    @agent.task
    def do() -> str:
        """Do."""
        raise NotImplementedError

    do()
    assert do() == "kept"
    with pytest.raises(agex.TaskFailed, match="no file"):
        do.with_options(session="other")()
    assert "FileNotFoundError" in str(model.requests[3].messages[-1])


def test_a_state_that_is_none_is_refused(pool: agex.Pool) -> None:
    for wrong in ("redis://here", 3):
        with pytest.raises(agex.ConfigurationError, match=r"state|URL"):
            agex.Agent(state=wrong)  # type: ignore[arg-type]


def test_a_reply_with_several_actions_stops_at_the_first_that_fails(pool: agex.Pool) -> None:
    several = Reply(actions=[PythonAction("print('one')"), PythonAction("1 / 0"), PythonAction("task_success(3)")])
    agent, model = agent_of(pool, several, "task_success(4)")

    @agent.task
    def do() -> int:
        """Do."""
        raise NotImplementedError

    assert do() == 4
    told = str(model.requests[1])
    assert "one" in told and "ZeroDivisionError" in told


# --- scripts ---


def run_script(folder: Path, source: str) -> Any:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(source))
    finished = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_classes_functions_and_modules_of_a_script_work_unregistered_and_beside_it(tmp_path: Path) -> None:
    tmp_path.joinpath("helpers.py").write_text(
        "from tables import RATES\n\ndef half(n):\n    return n * RATES['half']\n"
    )
    tmp_path.joinpath("tables.py").write_text("RATES = {'half': 0.5}\n")
    tmp_path.joinpath(".env").write_text("KEY=secret")

    result = run_script(
        tmp_path,
        """
        import dataclasses, enum, json
        from pydantic import BaseModel
        import agex, helpers

        class Kind(enum.Enum):
            A = "a"

        class Line(BaseModel):
            text: str
            kind: Kind

        @dataclasses.dataclass
        class Page:
            lines: list[Line]

        def shout(text: str) -> str:
            return text.upper()

        model = agex.llm.Scripted([
            "open('../../../../../../..%s/.env')" % __file__.rpartition("/")[0],
            "import helpers\\n"
            "task_success(Page([Line(text=shout(f'{helpers.half(len(line.text))}'), kind=line.kind) for line in inputs.page.lines]))",
        ])
        agent = agex.Agent(isolation="kernel", llm=model)
        agent.module(helpers)
        agent.fn(shout, runs="worker")

        @agent.task
        def shorten(page: Page) -> Page:
            \"\"\"Shorten.\"\"\"
            raise NotImplementedError

        page = shorten(Page([Line(text="word", kind=Kind.A)]))
        assert type(page) is Page and type(page.lines[0]) is Line, page
        print(json.dumps([page.lines[0].text, page.lines[0].kind.name, str(model.requests[1].messages[-1])]))
        """,
    )

    assert result[:2] == ["2.0", "A"]
    assert "Error" in result[2] and "secret" not in result[2]
