"""`cache` in agent code, in every isolation: what it keeps, what it refuses, and what opening it can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

import agex
from agex.llm import Scripted
from agex_supervisor.cache_entry import for_host, of_host
from tests.talker import Talker

MODES = ("none", "process", "kernel")


class Store:
    """A live object."""

    def size(self) -> int:
        return 3


def price(amount: int) -> int:
    """A function of the host."""
    return amount * 2


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=4, spares=0)
    yield pool
    pool.close()


@pytest.fixture(params=MODES)
def talk(request: pytest.FixtureRequest, pool: agex.Pool) -> Iterator[Talker]:
    talker = Talker(pool, request.param)
    talker.agent.module(np)
    talker.agent.module(pd)
    talker.agent.module(Store(), name="store")
    talker.agent.fn(price)
    yield talker
    talker.close()


def test_values_last_from_action_to_action_and_from_task_to_task(talk: Talker) -> None:
    told = talk(
        "import pandas as pd\ncache['rows'] = [1, (2, {'x'}), None]\ncache['frame'] = pd.DataFrame({'a': [1, 2]})",
        "print(cache['rows'], type(cache['frame']).__name__, cache['frame']['a'].sum())",
    )
    assert told[1] == "[1, (2, {'x'}), None] DataFrame 3"
    assert talk("print(list(cache), len(cache), 'rows' in cache, cache.get('none', 5))") == [
        "['rows', 'frame'] 2 True 5"
    ]


def test_sessions_do_not_see_each_others_entries(talk: Talker) -> None:
    talk("cache['mine'] = 1", session="one")
    assert talk("print(list(cache))", session="two") == ["[]"]


def test_it_is_a_mapping_like_any_other(talk: Talker) -> None:
    told = talk(
        "cache.update(a=1, b=2)\nprint(cache.pop('a'), cache.setdefault('c', 3), sorted(cache.items()))\n"
        "del cache['b']\nprint(dict(cache))\ncache.clear()\nprint(len(cache))\n"
        "try:\n    cache['b']\nexcept KeyError as error:\n    print('KeyError', error)\n"
        "try:\n    del cache['b']\nexcept KeyError as error:\n    print('KeyError', error)"
    )
    assert told == ["1 3 [('b', 2), ('c', 3)]\n{'c': 3}\n0\nKeyError 'b'\nKeyError 'b'"]


def test_a_read_is_a_new_object_and_what_was_changed_is_stored_by_assigning_it(talk: Talker) -> None:
    told = talk(
        "import numpy as np\ncache['rows'] = [1]\ncache['rows'].append(2)\nprint(cache['rows'])\n"
        "rows = cache['rows']\nrows.append(3)\ncache['rows'] = rows\nprint(cache['rows'])\n"
        "cache['array'] = np.arange(3)\narray = cache['array']\narray[0] = 9\nprint(array, cache['array'])"
    )
    assert told == ["[1]\n[1, 3]\n[9 1 2] [0 1 2]"]


def test_functions_and_classes_of_the_agents_own_are_kept_with_what_they_use(talk: Talker) -> None:
    talk(
        "import pandas as pd\n"
        "def total(rows, *, factor=2):\n    return int(pd.Series(rows).sum()) * factor + price(1)\n"
        "class Point:\n"
        "    def __init__(self, x):\n        self._x = x\n"
        "    @property\n    def x(self):\n        return self._x\n"
        "    @classmethod\n    def zero(cls):\n        return cls(0)\n"
        "    def __eq__(self, other):\n        return isinstance(other, Point) and other._x == self._x\n"
        "def counter():\n    n = 0\n    def count():\n        nonlocal n\n        n += 1\n        return n\n    return count\n"
        "cache.update(total=total, points=[Point(3), Point(3)], count=counter())"
    )
    told = talk(
        "first, second = cache['points']\ncount = cache['count']\n"
        "print(cache['total']([1, 2]), first.x, first == second, first.zero().x, count(), count())"
    )
    assert told == ["8 3 True 0 1 2"]


def test_a_function_that_works_on_files_works_on_those_of_the_session_that_reads_it(talk: Talker) -> None:
    talk(
        "import os\nfrom glob import glob\nfrom os import listdir\nfrom pathlib import Path\n"
        "def look():\n    return os.path.exists('a.txt'), glob('*'), listdir('.'), Path('a.txt').read_text()\n"
        "Path('a.txt').write_text('x')\ncache.update(look=look, path=Path('a.txt'))"
    )
    told = talk("print(cache['look']())\nfrom pathlib import Path\nprint(Path(cache['path']).read_text())")
    assert told == ["(True, ['a.txt'], ['a.txt'], 'x')\nx"]


def test_a_function_comes_back_with_nothing_more_in_reach_than_it_had(talk: Talker) -> None:
    talk(
        "def read():\n    return open('/etc/hostname').read()\n"
        "def reach(value):\n    return getattr(value, '__class__')\n"
        "def load():\n    import sys\n    return sys\n"
        "def evaluate():\n    return eval('1')\n"
        "cache.update(read=read, reach=lambda: reach(1), load=load, evaluate=evaluate)"
    )
    told = talk(
        "for name in ('read', 'reach', 'load', 'evaluate'):\n    try:\n        print(cache[name]())\n"
        "    except Exception as error:\n        print(type(error).__name__)"
    )
    assert told == ["PermissionError\nRefused\nModuleNotFoundError\nRefused"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("(x for x in [])", "a generator cannot be sealed"),
        ("store", "stays in the process that called this code"),
        ("price", "price() belongs to where it is"),
        ("print", "print() belongs to where it is"),
        ("open", "open() belongs to where it is"),
        ("lambda: read('x')", "open() belongs to where it is"),
        ("cache", "the cache itself is no value"),
    ],
)
def test_what_cannot_be_kept_is_an_error_where_it_is_assigned(value: str, why: str, talk: Talker) -> None:
    told = talk(
        f"read = open\ntry:\n    cache['it'] = {value}\nexcept TypeError as error:\n    print(error)\nprint(list(cache))"
    )
    assert told[0].startswith("the cache cannot keep this: ") and why in told[0]
    assert told[0].endswith("\n[]")


@pytest.mark.parametrize("key", ["''", "'__x'", "'x' * 201", "'a\\nb'", "'\\ud800'"])
def test_a_key_that_cannot_be_one_is_an_error_of_the_code(key: str, talk: Talker) -> None:
    told = talk(f"try:\n    cache[{key}] = 1\nexcept ValueError as error:\n    print('cannot be a key' in str(error))")
    assert told == ["True"]


def test_only_a_text_is_a_key(talk: Talker) -> None:
    told = talk("try:\n    cache[1] = 1\nexcept TypeError as error:\n    print(error)")
    assert told == ["a key of the cache is a str, not int"]


def test_to_print_it_shows_keys_and_types_and_opens_nothing(talk: Talker) -> None:
    told = talk(
        "class Loud:\n    def __repr__(self):\n        return 'secret'\n"
        "cache['loud'] = Loud()\ncache['long'] = 'x' * 100_000\nprint(cache)\nprint(repr(cache) == str(cache))"
    )
    assert told == ["<cache {'loud': Loud, 'long': str}>\nTrue"]


def test_a_repr_that_fails_costs_nothing_but_the_repr(talk: Talker) -> None:
    told = talk(
        "class Bad:\n    def __repr__(self):\n        raise ValueError('no')\ncache['bad'] = Bad()\nprint(cache)"
    )
    assert told == ["<cache {'bad': Bad}>"]
    assert talk.cache.entry("bad").repr == "<its repr cannot be made: ValueError>"


def test_nothing_stands_behind_it_that_code_could_name(talk: Talker) -> None:
    told = talk("print(cache._backend)", "print(cache.__backend__)", "cache.x = 1", "print(dir(cache)[0])")
    assert all("Error" in text or "Refused" in text or "Violation" in text for text in told[:3]), told


def test_an_action_that_dies_loses_nothing_that_was_assigned(pool: agex.Pool) -> None:
    talker = Talker(pool, "kernel", "full-python")
    told = talker("cache['kept'] = 7\nimport os\nos._exit(3)", "print(cache['kept'])")
    assert told[0].startswith("The process that ran this action was ended")
    assert told[1] == "7"
    talker.close()


def test_an_assignment_in_a_loop_ends_at_the_cap_and_what_was_there_stays(pool: agex.Pool) -> None:
    policy = agex.Policy.load("default").extend({"results": {"max_size": "1MiB"}})
    for isolation in MODES:
        talker = Talker(pool, isolation, agex.Policy.load("default") if isolation == "none" else policy)
        limit = 1 << 20
        talker.cache.max_bytes = limit
        told = talker(
            "n = 0\ntry:\n    while True:\n        cache[f'k{n}'] = b'x' * 100_000\n        n += 1\n"
            "except ValueError as error:\n    print(n, 'results.max_size' in str(error))\nprint(len(cache))"
        )
        assert told == ["10 True\n10"]
        talker.close()


@pytest.mark.parametrize("isolation", MODES)
@pytest.mark.parametrize("again", ["cache['k'] = b'x' * 300_000", "cache['k']", "len(cache)"])
def test_a_loop_over_the_cache_ends_with_its_action(again: str, isolation: str, pool: agex.Pool) -> None:
    talker = Talker(pool, isolation)
    talker.agent.action_timeout_s = 1.0
    told = talker(f"cache['k'] = b'x' * 300_000\nwhile True:\n    {again}", "print(len(cache['k']))")
    assert "(timeout: the deadline of the action passed)" in told[0]
    assert told[1] == "300000"
    talker.close()


def test_a_large_array_goes_both_ways_through_shared_memory(pool: agex.Pool) -> None:
    talker = Talker(pool, "kernel")
    talker.agent.module(np)
    told = talker(
        "import numpy as np\ncache['big'] = np.arange(4_000_000)",
        "big = cache['big']\nbig[0] = 5\nprint(big.sum(), big.flags.writeable)",
    )
    assert told[1] == f"{sum(range(4_000_000)) + 5} True"
    talker.close()


def test_what_a_worker_sealed_is_not_opened_in_this_process(pool: agex.Pool) -> None:
    worker, local = Talker(pool, "process"), Talker(pool, "none")
    worker("class Own:\n    pass\ncache['own'] = Own()\ncache['plain'] = {'a': [1]}")
    for key in worker.cache:
        local.cache.keep(key, worker.cache.entry(key))
    told = local("print(cache['plain'])\ntry:\n    cache['own']\nexcept ValueError as error:\n    print(error)")
    assert told == [
        "{'a': [1]}\ncache['own'] (Own) was not stored by code of isolation 'none', and is opened in workers only;"
        " use isolation 'process' or 'kernel'"
    ]
    for talker in (worker, local):
        talker.close()


@pytest.mark.parametrize(("writer", "reader", "opened"), [("kernel", "process", False), ("process", "kernel", True)])
def test_what_code_in_a_stronger_isolation_sealed_is_not_opened_in_a_weaker_one(
    writer: str, reader: str, opened: bool, pool: agex.Pool
) -> None:
    first, second = Talker(pool, writer), Talker(pool, reader)
    first("class Own:\n    pass\ncache['own'] = Own()\ncache['plain'] = {'a': [1]}")
    for key in first.cache:
        second.cache.keep(key, first.cache.entry(key))
    told = second(
        "print(cache['plain'])\ntry:\n    print(type(cache['own']).__name__)\nexcept ValueError as error:\n    print(error)"
    )
    refused = (
        "cache['own'] (Own) was stored by code of isolation 'kernel', and is not opened where code is held by less;"
        " use isolation 'kernel'"
    )
    assert told == [f"{{'a': [1]}}\n{'Own' if opened else refused}"]
    for talker in (first, second):
        talker.close()


def test_the_application_reads_plain_data_and_writes_what_code_then_reads(talk: Talker) -> None:
    talk("class Own:\n    pass\ncache['plain'] = {'a': (1, 2)}\ncache['own'] = Own()")
    assert for_host(talk.cache.entry("plain")) == {"a": (1, 2)}
    sealed = for_host(talk.cache.entry("own"))
    assert isinstance(sealed, agex.Opaque) and sealed.type == "Own"
    talk.cache.keep("given", of_host(pd.DataFrame({"a": [1, 2]})))
    talk.cache.keep("again", of_host(sealed))
    assert talk("print(cache['given']['a'].sum())") == ["3"]
    if talk.agent.isolation != "none":
        assert talk("print(type(cache['again']).__name__)") == ["Own"]


def test_ordinary_python_has_the_cache_too(pool: agex.Pool) -> None:
    talker = Talker(pool, "kernel", "full-python")
    talker("import math\ndef area(r):\n    return round(math.pi * r * r, 2)\ncache['area'] = area")
    assert talker("print(cache['area'](2), cache)") == ["12.57 <cache {'area': function}>"]
    talker.close()


def test_the_cache_is_closed_when_its_action_is_over(pool: agex.Pool) -> None:
    talker = Talker(pool, "kernel")
    agent = talker.agent
    agent._llm = Scripted(
        [
            "mine = cache\ndef look():\n    try:\n        return len(mine)\n    except RuntimeError as error:\n"
            "        return str(error)\ntask_success(look)"
        ]
    )

    @agent.task
    def make() -> Callable[[], object]:
        """Make a function."""
        raise NotImplementedError

    with make() as look:  # type: ignore[attr-defined]
        assert look() == "the cache is open while a script runs, and this one is over"
    agent.close()
