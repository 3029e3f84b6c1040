"""The table of values: what comes of a value of each declared type, in each isolation and each direction.

`docs/values.md` is written from this by `python -m tests.values.document`, and the tests run every cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Cells(NamedTuple):
    """ "same" is the object itself, "equal" another one of the same type and content, "Handle", "Opaque" and "host handle"
    are what stands for it; anything else is the text of an error."""

    given: str  # as an input
    returned: str  # as a result
    nested: str  # as a result, in a dict of lists
    argument: str  # as the argument of a host function


SAME = Cells("same", "same", "same", "same")
EQUAL = Cells("equal", "equal", "equal", "equal")
COPIED = Cells("same", "equal", "equal", "equal")


@dataclass(frozen=True, slots=True)
class Row:
    """A declared type, as Python writes it, and code that makes a value of it; `tests/values/names.py` has the names."""

    declared: str
    value: str
    none: Cells = SAME
    apart: Cells = EQUAL


@dataclass(frozen=True, slots=True)
class ObjectRow(Row):
    """Of an object that is not data. What goes in is what came out of a task with this result: for a Handle that Handle.

    trust: as the task is decorated.
    """

    trust: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What does not fit, or cannot cross, with the words that the agent gets. In `none` nothing has to cross."""

    declared: str
    value: str
    told: str
    accepted_in_none: bool = False


@dataclass(frozen=True, slots=True)
class Undeclarable:
    """A class that cannot be declared where values have to cross, and what may be declared instead of it."""

    declared: str
    instead: str


PLAIN = [
    Row("None", "None"),
    Row("bool", "True"),
    Row("int", "3"),
    Row("int", "-(2**4000)"),
    Row("float", "float('nan')"),
    Row("float", "-0.0"),
    Row("complex", "complex('inf-0j')"),
    Row("str", "'é\\0'"),
    Row("bytes", "b'\\xff' * 5000"),
    Row("list[int]", "[1, 2**70]", COPIED),
    Row("tuple[int, str]", "(1, 'a')", COPIED),
    Row("tuple[float, ...]", "(1.5, 2.5)", COPIED),
    Row("set[int]", "{1, 2}", COPIED),
    Row("frozenset[str]", "frozenset({'a'})", COPIED),
    Row("dict[tuple[int, str], list[float]]", "{(1, 'a'): [0.5]}", COPIED),
    Row("deque[int]", "deque([1, 2], maxlen=3)", COPIED),
    Row("range", "range(1, 10, 2)"),
    Row("slice", "slice(1, None, 2)"),
    Row("Sequence[int]", "[1, 2]", COPIED),
    Row("Mapping[str, int]", "{'a': 1}", COPIED),
]
SMALL = [
    Row("datetime", "datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo('Europe/Paris'), fold=1)"),
    Row("datetime", "datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-3), 'here'))"),
    Row("date", "date(2020, 2, 29)"),
    Row("time", "time(1, 2, 3, 4, tzinfo=timezone.utc, fold=1)"),
    Row("timedelta", "timedelta(-1, 2, 3)"),
    Row("Decimal", "Decimal('1.50')"),
    Row("Fraction", "Fraction(-1, 3)"),
    Row("UUID", "UUID(int=5)"),
    Row("Path", "Path('a/b')"),
    Row("re.Pattern[str]", "re.compile('a(?P<b>é)', re.I)"),
    Row("IPv4Address", "IPv4Address('1.2.3.4')"),
    Row("IPv6Network", "IPv6Network('fe80::/64')"),
    Row("Color", "Color.RED"),
    Row("Access", "Access.READ | Access.WRITE"),
    Row("Level", "Level.LOW"),
]
DECLARED = [
    Row("Point", "Point(1)"),
    Row("Cloud", "Cloud(np.arange(3.0), 'c')"),
    Row("Tree", "Tree('a', [Tree('b')])"),
    Row("Sum", "Sum(1, 2)"),
    Row("Box[int]", "Box(3)"),
    Row("Pair", "Pair(1, 'x')"),
    Row("Options", "{'size': 1}", COPIED),
    Row("Cat", "Cat(lives=3)"),
    Row("Home", "Home(pet=Dog())"),
    Row("Rectangle", "Rectangle(width=2.0, height=3.0)"),
    Row("Counter", "Counter(name='a')"),
    Row("Answer[Point]", "Answer[Point].model_validate({'data': Point(1)})"),
    Row("Numbers", "Numbers([1, 2])"),
    Row("Node", "Node(value=1, next=Node(value=2))"),
    Row("Json", "{'a': [1, None, {'b': 'c'}]}", COPIED),
    Row("Point | Cat", "Cat()"),
    Row("Point | None", "Point(1)"),
    Row("int | str | None", "'x'"),
    Row("list[int] | list[str]", "['a']", COPIED),
    Row("Literal['a', 1, None]", "1"),
    Row("Annotated[int, Field(gt=2)]", "3"),
    Row("UserId", "7"),
    Row("Whole", "7"),
    Row("Narrow", "'a'"),
    Row("Any", "{'a': [1, (2, {3}), 1 + 2j], 2: datetime(2020, 1, 1)}"),
    Row("Any", "[np.arange(3), pd.DataFrame({'a': [1]}), pa.table({'a': [1]}), Image.new('L', (2, 2))]"),
]
NUMPY = [
    Row("np.ndarray", "np.frombuffer(b'\\1\\0\\0\\0\\xad\\xde\\xf8\\x7f' * 2, 'f8').copy()"),
    Row("np.ndarray", "np.array(5)"),
    Row("np.ndarray", "np.asfortranarray(np.arange(6.0).reshape(2, 3))"),
    Row("np.ndarray", "np.zeros((0, 3))"),
    Row("np.ndarray", "np.array([1, 'NaT'], 'M8[D]')"),
    Row("np.ndarray", "np.array(['é', ''])"),
    Row("np.ndarray", "np.arange(3, dtype='>i2')"),
    Row("npt.NDArray[np.float32]", "np.ones(2, 'f4')"),
    Row("np.float32", "np.float32(1.5)"),
    Row("np.datetime64", "np.datetime64('2020-01-01T00', 'h')"),
    Row("np.str_", "np.str_('')"),
]
PANDAS = [
    Row("pd.DataFrame", "pd.DataFrame({'a': [1, 2], 'b': [1.5, None], 'c': ['x', None]})"),
    Row("pd.DataFrame", "pd.DataFrame(np.arange(6.0).reshape(2, 3)).iloc[:, ::-1]"),
    Row("pd.DataFrame", "pd.DataFrame([[1, 2.0, 'x']], columns=['a', 'a', None])"),
    Row("pd.DataFrame", "pd.DataFrame()"),
    Row("pd.DataFrame", "pd.DataFrame({'a': [1]}).head(0)"),
    Row("pd.DataFrame", "pd.DataFrame({'c': pd.Categorical(['a', None], ['b', 'a'], ordered=True)})"),
    Row("pd.DataFrame", "pd.DataFrame({'n': pd.array([1, None], 'Int64'), 'b': pd.array([None, True], 'boolean')})"),
    Row("pd.DataFrame", "pd.DataFrame({'o': pd.Series([1, 'a', None, [1, {'k': pd.NA}]], dtype=object)})"),
    Row(
        "pd.DataFrame",
        "pd.DataFrame(np.ones((2, 2)), pd.MultiIndex.from_tuples([('a', 1), ('b', None)], names=['x', None]), "
        "pd.MultiIndex.from_product([['p'], [1, 2]]))",
    ),
    Row("pd.DataFrame", "pd.DataFrame({'a': [1, 2]}, pd.date_range('2020', periods=2, freq='B', name='day'))"),
    Row("pd.DataFrame", "pd.DataFrame({'a': pd.array([1, None], 'int64[pyarrow]')})"),
    Row("pd.DataFrame", "pd.DataFrame({'a': [1]}).set_flags(allows_duplicate_labels=False)"),
    Row("pd.Series", "pd.Series(pd.date_range('2020', periods=2, tz='Europe/Paris', unit='s'), name=('a', 1))"),
    Row("pd.Series", "pd.Series(pd.period_range('2020Q1', periods=2))"),
    Row("pd.Series", "pd.Series(pd.interval_range(0, 2, closed='left'), name=3)"),
    Row("pd.Series", "pd.Series(['a', None], dtype='string[python]')"),
    Row("pd.Index", "pd.RangeIndex(10, 4, -2, name='q')"),
    Row("pd.DatetimeIndex", "pd.date_range('2020', periods=3, freq='6h', tz='UTC')"),
    Row("pd.Timestamp", "pd.Timestamp('2020-01-01 00:00:00.123456789', tz='Europe/Paris')"),
    Row("pd.Timedelta", "pd.Timedelta('1ns')"),
    Row("Any", "pd.NA"),
]
LIBRARIES = [
    Row("pa.Table", "pa.table({'a': [1, None], 's': ['x', 'é'], 'l': [[1], None]})"),
    Row(
        "pa.Table",
        "pa.table({'d': pa.array(['a', 'b', 'a']).dictionary_encode(), 't': [date(2020, 1, 1)] * 3}).slice(1)",
    ),
    Row("pa.RecordBatch", "pa.record_batch({'a': [{'x': 1, 'y': [b'z']}, None]})"),
    Row("pa.Array", "pa.array([Decimal('1.50'), None])"),
    Row("pa.Int64Array", "pa.array([1, None])"),
    Row("pa.ChunkedArray", "pa.chunked_array([[True], [None, False]])"),
    Row(
        "pl.DataFrame", "pl.DataFrame({'a': [1, None], 's': ['x', None], 'l': [[1], []], 'd': [date(2020, 1, 1)] * 2})"
    ),
    Row("pl.DataFrame", "pl.DataFrame({'e': pl.Series(['a', None], dtype=pl.Enum(['b', 'a']))})"),
    Row("pl.Series", "pl.Series('n', ['a', 'b', None], dtype=pl.Categorical)"),
    Row("pl.Series", "pl.Series('z', [datetime(2020, 1, 1)]).dt.replace_time_zone('Europe/Paris')"),
    Row("Image.Image", "Image.linear_gradient('L').resize((9, 5)).convert('RGB')"),
    Row("Image.Image", "Image.new('1', (3, 2), 1)"),
    Row("Image.Image", "Image.linear_gradient('L').resize((8, 8)).convert('P')"),
    Row("Image.Image", "Image.new('F', (2, 2), 0.1)"),
    Row(
        "go.Figure",
        "go.Figure(go.Scatter(x=np.arange(3), y=[1.5, None, 2], text=['a', 'b', 'c']), layout={'title': 't'})",
    ),
    Row("go.Figure", "go.Figure(go.Bar(x=pd.Series(['a', 'b']), y=[1, 2]), frames=[go.Frame(name='f')])"),
]

_NOT_OPENED = (
    "an Opaque is opened in workers only, since opening it runs code of whoever made it; isolation='none' has no worker: "
    "use 'process' or 'kernel'"
)
_UNDECLARED = "a Plain, which has no form on the wire unless it is declared"


def _no_form(where: str, name: str, ways: str) -> str:
    return (
        f"{where}: {name} has no form in which it can cross between a worker and your process. "
        f"Declare a type of plain data, a dataclass or a pydantic model. Or choose {ways}"
    )


def _no_argument(name: str) -> str:
    return _no_form(
        "take(value)",
        name,
        f"`agex.Handle[{name}]` (the object stays in its worker, where it can be used after the call),"
        f' `agex.Opaque[{name}]` (bytes that only workers open), or `isolation="none"`.',
    )


def _no_result(name: str) -> str:
    return _no_form(
        "the result of do",
        name,
        f"`-> agex.Handle[{name}]` (the object stays in its worker), `-> agex.Opaque[{name}]` (bytes that only workers open),"
        ' `trust="unpickle"` on the task (the agent can then run code in your process), or `isolation="none"`.',
    )


_WRAPPED = Cells("same", "Handle", "Handle", "Handle")
_KEPT = Cells("equal", "Handle", "Handle", "Handle")
_SEALED_HERE = Cells(_NOT_OPENED, "Opaque", "Opaque", "Opaque")
_SEALED = Cells("equal", "Opaque", "Opaque", "Opaque")
OBJECTS = [
    ObjectRow("agex.Handle[Plain]", "Plain(3)", _WRAPPED, _KEPT),
    ObjectRow("agex.Handle[Any]", "Plain(3)", _WRAPPED, _KEPT),
    ObjectRow("agex.Handle[list[int]]", "[1, 2]", _WRAPPED, _KEPT),
    ObjectRow("agex.Handle[Plain] | None", "Plain(3)", _WRAPPED, _KEPT),
    ObjectRow("agex.Opaque[Plain]", "Plain(3)", _SEALED_HERE, _SEALED),
    ObjectRow("agex.Opaque[Any]", "{'a': Plain(3)}", _SEALED_HERE, _SEALED),
    ObjectRow(
        "Callable[[int], int]", "lambda x: 2 * x", SAME, Cells("equal", "Handle", "Handle", _no_argument("Callable"))
    ),
    ObjectRow(
        "Any",
        "Plain(3)",
        SAME,
        Cells("equal", f"result: {_UNDECLARED}", f"result['k'][0]: {_UNDECLARED}", f"value: {_UNDECLARED}"),
    ),
    ObjectRow("Plain", "Plain(3)", SAME, Cells("equal", "equal", "equal", _no_argument("Plain")), trust="unpickle"),
    ObjectRow(
        "Plain", "Plain(3)", SAME, Cells("equal", _no_result("Plain"), _no_result("Plain"), _no_argument("Plain"))
    ),
    ObjectRow(
        "Desk",
        "Desk(3)",
        Cells("host handle", "same", "same", "same"),
        Cells("host handle", _no_result("Desk"), _no_result("Desk"), "same"),
    ),
]
SECTIONS: dict[str, list[Row]] = {
    "Plain data": PLAIN,
    "Small types of the standard library": SMALL,
    "Declared classes, unions and aliases": DECLARED,
    "numpy": NUMPY,
    "pandas": PANDAS,
    "pyarrow, polars, Pillow, plotly": LIBRARIES,
}

REFUSALS = [
    Refusal("int", "'3'", "result: a str ('3'), wanted int; use int(...)"),
    Refusal("int", "True", "result: a bool (True), wanted int"),
    Refusal("list[int]", "[1, 2, 'x']", "result[2]: a str ('x'), wanted int; use int(...)"),
    Refusal("tuple[int, ...]", "[1]", "result: a list, wanted tuple[int, ...]; use tuple(...)"),
    Refusal("dict[str, list[int]]", "{'a': [1, None]}", "result['a'][1]: None, wanted int"),
    Refusal("Annotated[int, Field(gt=2)]", "1", "the value: Input should be greater than 2 (got int 1)"),
    Refusal("list[Cat]", "[{'lives': 0}]", "value[0]['lives']: Input should be greater than 0 (got int 0)"),
    Refusal("Literal['a']", "'b'", "result: a str ('b'), wanted Literal['a']"),
    Refusal("Narrow", "1.5", "result: a float (1.5), wanted int | str"),
    Refusal("Point", "{'y': 1.0}", "result: a dict without 'x', wanted Point"),
    Refusal(
        "Home",
        "{'pet': {'kind': 'cat'}, 'note': 'a', 'homeNote': 'b'}",
        "result: 'note' of Home is given twice, by its name and by an alias",
    ),
    Refusal(
        "Counter",
        "counted('a', 3)",
        "result: a Counter would lose '_count', as only the fields of its constructor cross; give a dict of all that is wanted, or leave it as it was made",
        accepted_in_none=True,
    ),
    Refusal(
        "Sum",
        "altered(1, 7)",
        "result: a Sum would lose 'total', as only the fields of its constructor cross; give a dict of all that is wanted, or leave it as it was made",
        accepted_in_none=True,
    ),
    Refusal("Color", "1", "result: an int (1), wanted Color; give one of RED, BLUE as Color.NAME"),
    Refusal("pd.DataFrame", "{'a': [1]}", "result: a dict, wanted DataFrame; use pandas.DataFrame(...)"),
    Refusal(
        "list[dict[str, int]]",
        "pd.DataFrame({'a': [1]})",
        "result: a DataFrame, wanted list[dict[str, int]]; use .to_dict('records')",
    ),
    Refusal(
        "pd.DataFrame",
        "pd.DataFrame({'a': pd.arrays.SparseArray([0, 1])})",
        "result['a']: dtype Sparse[int64, 0] cannot cross; convert it with .astype(...) to a dtype of numpy's or pandas' own",
        accepted_in_none=True,
    ),
    Refusal(
        "pd.DataFrame",
        "pd.DataFrame({'b': [Plain()]})",
        "result['b'][0]: a Plain, which has no form on the wire unless it is declared",
        accepted_in_none=True,
    ),
    Refusal(
        "pd.DataFrame",
        "pd.DataFrame({'a': [1]}, pd.date_range('2020', periods=1, freq=pd.DateOffset(days=2)))",
        "result: the frequency <DateOffset: days=2> of an index cannot cross; drop it with .freq = None",
        accepted_in_none=True,
    ),
    Refusal(
        "np.ndarray",
        "np.array([1, 'a'], object)",
        "result: dtype object cannot cross: only numbers, bools, dates and fixed-size text do; convert it with .astype(...) or .tolist()",
        accepted_in_none=True,
    ),
    Refusal(
        "np.ndarray",
        "np.zeros(2, [('a', 'i4')])",
        "result: dtype [('a', '<i4')] cannot cross: only numbers, bools, dates and fixed-size text do; give a structured array as a DataFrame or as one array a field",
        accepted_in_none=True,
    ),
    Refusal(
        "np.ndarray",
        "np.ma.array([1, 2], mask=[0, 1])",
        "result: a subclass of ndarray (MaskedArray) would lose its type; use .filled(...)",
        accepted_in_none=True,
    ),
    Refusal(
        "pa.Table",
        "pa.table({'v': pa.array(['a'], pa.string_view())})",
        "result['v']: an array of string_view cannot cross; cast it to string",
        accepted_in_none=True,
    ),
    Refusal(
        "pa.Table",
        "pd.DataFrame({'a': [1]})",
        "result: a DataFrame, wanted pyarrow.Table; use pyarrow.Table.from_pandas(...)",
    ),
    Refusal(
        "pl.DataFrame",
        "pd.DataFrame({'a': [1]})",
        "result: a DataFrame, wanted polars.DataFrame; use polars.from_pandas(...)",
    ),
    Refusal(
        "Image.Image",
        "np.zeros((2, 2), 'u1')",
        "result: a ndarray, wanted PIL.Image.Image; use PIL.Image.fromarray(...)",
    ),
    Refusal("agex.Handle[Plain]", "3", "result: an int (3), wanted Plain"),
    Refusal("agex.Opaque[Plain]", "'a'", "result: a str ('a'), wanted Plain"),
    Refusal("int", "2**5000", "result: an int of 5001 bits, the limit is 4096", accepted_in_none=True),
    Refusal(
        "str",
        "'\\ud800'",
        "result: a text holds half of a surrogate pair, which has no UTF-8 form; replace it",
        accepted_in_none=True,
    ),
]

_PLAINER = "a type of plain data, a dataclass or a pydantic model"
UNDECLARABLE = [
    Undeclarable("Plain", _PLAINER),
    Undeclarable("list[Plain]", _PLAINER),
    Undeclarable("Iterator[int]", _PLAINER),
    Undeclarable("matplotlib.figure.Figure", "PIL.Image.Image or bytes (savefig makes PNG)"),
    Undeclarable("pl.LazyFrame", "polars.DataFrame or polars.Series"),
]
