"""Ordinary programs in the inner sandbox: they do what CPython does, at CPython's speed where nothing is in doubt."""

from __future__ import annotations

import dis
import json
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.compiler import compile
from agex_worker.sandbox.names import SandboxViolation
from tests.worker.sandbox_run import run

# Each ends in the expression that is compared between the sandbox and plain Python.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "generators and send": (
        """
        def g():
          x = yield 1
          yield x
        i=g()
        [next(i), i.send(5)]
        """,
    ),
    "inheritance, properties and mangled names": (
        """
        class A:
          def __init__(self,x): self._x=x
          @property
          def x(self): return self._x
          @x.setter
          def x(self,v): self._x=v
        class B(A):
          def __init__(self,x):
            super().__init__(x)
            self.__p=3
          def p(self): return self.__p
        b=B(4)
        b.x=9
        [b.x,b._x,b.p(),type(b).__name__,b.__class__.__name__, isinstance(b,A)]
        """,
    ),
    "dataclasses": (
        """
        from dataclasses import dataclass, field, asdict
        @dataclass(order=True)
        class P:
          x:int
          y:list[int]=field(default_factory=list)
        p=P(1,[2])
        p.x=5
        [asdict(p), repr(p), P(1)<P(2)]
        """,
        "dataclasses",
    ),
    "frozen slotted dataclasses": (
        """
        from dataclasses import dataclass
        @dataclass(frozen=True, slots=True)
        class P:
          x:int
          def dbl(self): return self.x*2
          def __post_init__(self): object.__setattr__(self,'x',self.x+1)
        P(1).dbl()
        """,
        "dataclasses",
    ),
    "match": (
        """
        class Pt:
          __match_args__=('x','y')
          def __init__(self,x,y): self.x=x; self.y=y
        match Pt(1,2):
          case Pt(0,y): r=y
          case Pt(x,y=2): r=[x]
        match {'a':1,'b':2}:
          case {'a':q,**rest}: r.append(rest)
        r
        """,
    ),
    "async functions and generators": (
        """
        import asyncio
        async def f(x):
          await asyncio.sleep(0)
          return x*2
        async def ag():
          for i in range(3): yield i
        async def main():
          return [await f(2), [i async for i in ag()], await asyncio.gather(f(1),f(2))]
        asyncio.run(main())
        """,
        "asyncio",
    ),
    "assignment expressions": (
        """
        [y := 5, (z := y+1), [w:=i for i in range(3)], w]
        """,
    ),
    "except*": (
        """
        try:
          raise ExceptionGroup('g',[ValueError('a'),KeyError('b')])
        except* ValueError as e: r=[str(e.exceptions[0])]
        except* KeyError: r.append('k')
        r
        """,
    ),
    "closures": (
        """
        def mk():
          n=0
          def inc():
            nonlocal n
            n+=1
            return n
          return inc
        f=mk(); f(); f()
        """,
    ),
    "decorators that keep names": (
        """
        import functools
        def d(f):
          @functools.wraps(f)
          def w(*a,**k): w.calls+=1; return f(*a,**k)
          w.calls=0
          return w
        @d
        def add(a,b):
          'doc'
          return a+b
        [add(1,2), add.calls, add.__name__, add.__doc__]
        """,
        "functools",
    ),
    "scopes of comprehensions": (
        """
        x=1
        def f():
          return [x for x in range(3)], x
        class C:
          x=5
          y=[i for i in range(x)]
        (f(),C.y)
        """,
    ),
    "context managers": (
        """
        from contextlib import contextmanager
        log=[]
        @contextmanager
        def c():
          log.append('in')
          try: yield 7
          finally: log.append('out')
        with c() as v: log.append(v)
        class M:
          def __enter__(self): return self
          def __exit__(self,*a): return True
        with M(): 1/0
        log
        """,
        "contextlib",
    ),
    "formatting": (
        """
        x=3.14159
        name='z'
        [f'{x:.2f} {name!r:>6} {x:{8}.{3}}', '%s-%05d'%('a',3), '{:.1f} {n:>4}'.format(x,n=2), '{0[0]}'.format([1]), format(x,'.1f')]
        """,
    ),
    "format fields with attributes": (
        """
        class A:
          def __init__(self): self.v=4
        '{a.v} {0.real}'.format(1,a=A())
        """,
    ),
    "enums": (
        """
        from enum import Enum, IntEnum, auto
        class C(Enum):
          R=1
          G=2
          @property
          def low(self): return self.name.lower()
        class I(IntEnum):
          A=auto()
        D=Enum('D','X Y')
        [C.R.low, C(2).name, [c.value for c in C], I.A+1, D.X.value, isinstance(C.R,Enum), C['R'].value, list(C.__members__)]
        """,
        "enum",
    ),
    "abstract classes": (
        """
        from abc import ABC, abstractmethod, ABCMeta
        class S(ABC):
          @abstractmethod
          def area(self): ...
        class Q(S):
          def area(self): return 4
        class T(metaclass=ABCMeta): pass
        try: S(); r=0
        except TypeError: r=1
        [r,Q().area()]
        """,
        "abc",
    ),
    "generic, named and typed classes": (
        """
        from typing import NamedTuple, Generic, TypeVar, Protocol, Optional, TypedDict, runtime_checkable
        T=TypeVar('T')
        class N(NamedTuple):
          a:int
          b:str='x'
        class St(Generic[T]):
          def __init__(self)->None: self._i:list[T]=[]
          def push(self,x:T)->None: self._i.append(x)
        @runtime_checkable
        class Pr(Protocol):
          def push(self,x)->None: ...
        class TD(TypedDict):
          q:int
        s=St[int]()
        s.push(3)
        n=N(1)
        [n._replace(a=2), n._asdict(), s._i, isinstance(s,Pr), TD(q=1)]
        """,
        "typing",
    ),
    "annotations as text": (
        """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class N:
          v:int
          nxt:N|None=None
        N(1,N(2)).nxt.v
        """,
        "dataclasses",
    ),
    "collections": (
        """
        from collections import namedtuple, Counter, defaultdict, deque, OrderedDict
        P=namedtuple('P','x y')
        p=P(1,2)
        [p._replace(x=3), P._fields, Counter('aab').most_common(1)]
        """,
        "collections",
    ),
    "type and isinstance": (
        """
        [isinstance(int,type), type(3) is int, type(int) is type, type(type) is type, type(3).__name__, [type(v).__name__ for v in (1,'a',None)], isinstance(3,(int,str)), issubclass(bool,int)]
        """,
    ),
    "exceptions": (
        """
        class E(Exception):
          def __init__(self,m,code):
            super().__init__(m)
            self.code=code
        try:
          try: raise E('m',3)
          except E as e: raise ValueError('v') from e
        except ValueError as v:
          r=[v.__cause__.code,str(v),v.args]
        try: 1/0
        except: r.append('bare')
        try: {}['a']
        except BaseException as b: r.append(type(b).__name__)
        r
        """,
    ),
    "operators": (
        """
        class V:
          def __init__(s,x): s.x=x
          def __add__(s,o): return V(s.x+o.x)
          __radd__=__add__
          __hash__=None
          def __eq__(s,o): return s.x==o.x
          def __getitem__(s,i): return i
          def __len__(s): return 3
          def __call__(s,a): return a
          def __iter__(s): return iter([1,2])
          def __contains__(s,v): return True
          def __repr__(s): return f'V({s.x})'
          def __getattr__(s,n): return n
          def __bool__(s): return False
        v=V(1)+V(2)
        [v.x,v[3],len(v),v(4),list(v),9 in v,repr(v),v.foo,bool(v), v==V(3)]
        """,
    ),
    "class methods and __init_subclass__": (
        """
        class C:
          _n=0
          registry=[]
          def __init_subclass__(cls,**k):
            cls._reg=1
            C.registry.append(cls.__name__)
          @classmethod
          def make(cls):
            cls._n+=1
            return cls()
          @staticmethod
          def s(x): return x
        class D(C): pass
        D.make(); C.make()
        [C._n,D._n,C.registry,D._reg,C.s(2)]
        """,
    ),
    "computed attributes": (
        """
        class C: pass
        c=C()
        setattr(c,'k',1)
        r=[getattr(c,'k'),getattr(c,'z',5),hasattr(c,'k'),hasattr(c,'q'),hasattr([],'__iter__'),dict(vars(c))]
        delattr(c,'k')
        r+[hasattr(c,'k')]
        """,
    ),
    "the main guard": (
        """
        def main(): return 5
        if __name__=='__main__': r=main()
        r
        """,
    ),
    "__new__": (
        """
        class S:
          _inst=None
          def __new__(cls,*a):
            if cls._inst is None: cls._inst=super().__new__(cls)
            return cls._inst
        S() is S()
        """,
    ),
    "descriptors": (
        """
        class D:
          def __set_name__(self,o,n): self.n='_'+n
          def __get__(self,i,o=None): return getattr(i,self.n,0)
          def __set__(self,i,v): setattr(i,self.n,v)
        class C:
          x=D()
        c=C()
        c.x=4
        c.x
        """,
    ),
    "functools": (
        """
        from functools import lru_cache, cached_property, partial, reduce, total_ordering, singledispatch
        @lru_cache(maxsize=None)
        def fib(n): return n if n<2 else fib(n-1)+fib(n-2)
        class C:
          @cached_property
          def v(self): return 3
        @singledispatch
        def sd(x): return 'o'
        @sd.register
        def _(x:int): return 'i'
        [fib(30),C().v,partial(pow,2)(3),reduce(lambda a,b:a+b,[1,2]),sd(1),sd('a'),fib.cache_info().hits]
        """,
        "functools",
    ),
    "operator": (
        """
        from operator import attrgetter,itemgetter,methodcaller
        class C:
          def __init__(s,x): s.x=x
        [c.x for c in sorted([C(2),C(1)],key=attrgetter('x'))]+[itemgetter(1)([5,6]),methodcaller('upper')('a')]
        """,
        "operator",
    ),
    "text in memory": (
        """
        import io
        b=io.StringIO()
        print('x',file=b)
        b.getvalue()
        """,
        "io",
    ),
    "json, math, re and datetime": (
        """
        import json, math, re, datetime as dt
        class E(json.JSONEncoder):
          def default(self,o): return str(o)
        [json.loads(json.dumps({'a':dt.date(2020,1,1)},cls=E)), math.sqrt(4), re.sub('a','b','aa'), dt.datetime(2020,1,2).isoformat(), dt.timedelta(days=1).days]
        """,
        "json",
        "math",
        "re",
        "datetime",
    ),
    "operators called as methods": (
        """
        [(1).__add__(2), [1].__len__(), 'a'.__contains__('a')]
        """,
    ),
    "global": (
        """
        n=0
        def f():
          global n
          n+=1
        f();f()
        n
        """,
    ),
    "slots": (
        """
        class C:
          __slots__=('a','_b')
          def __init__(self): self.a=1; self._b=2
          def t(self): return self.a+self._b
        C().t()
        """,
    ),
    "lambdas as keys": (
        """
        sorted(['b','A'],key=lambda s:s.lower())
        """,
    ),
    "numpy": (
        """
        import numpy as np
        a=np.arange(6).reshape(2,3)
        a[0,1]=7
        b=a[:,1:]
        rng=np.random.default_rng(0)
        [b.tolist(), float(a.mean()), a.shape, a.T.dot(a).shape, np.linalg.norm([3,4]), rng.integers(0,5,2).shape, np.pi>3, a.dtype.name]
        """,
        "numpy",
    ),
    "pandas": (
        """
        import pandas as pd
        df=pd.DataFrame({'k':['a','b','a'],'v':[1,2,3]})
        lim=1
        g=df.groupby('k')['v'].sum().to_dict()
        m=df.merge(pd.DataFrame({'k':['a'],'w':[9]}),on='k')
        df['z']=df.v.apply(lambda x:x*2)
        df.columns=['k','v','z']
        [g, len(m), df.z.tolist(), df.groupby('k').agg({'v':'mean'}).v.tolist(), df.groupby('k').agg(t=('v','sum')).t.tolist(), df.query('v > @lim').v.tolist(), df.eval('v+z').tolist(), df.to_csv(index=False)[:3], df.groupby('k').apply(lambda g:g.v.max()).tolist(), df.loc[df.v>1,'v'].tolist(), df.describe().shape, pd.to_datetime(['2020-01-01']).year[0], df.pivot_table(index='k',values='v',aggfunc='sum').shape, df.v.agg(['min','max']).tolist(), df.k.str.upper().tolist(), df.sort_values('v').v.iloc[-1], pd.api.types.is_numeric_dtype(df.v)]
        """,
        "pandas",
    ),
    "a decorator that names what it returns": (
        """
        def named(function):
            def inner(*args):
                return function(*args)
            inner.__name__ = function.__name__
            inner.__doc__ = function.__doc__
            return inner
        @named
        def double(x):
            "Twice."
            return 2 * x
        [double(2), double.__name__, double.__doc__]
        """,
    ),
    "initialisers by the name of the base": (
        """
        class Base(dict):
            def __init__(self, x):
                dict.__init__(self, x=x)
                self.x = x
        class Derived(Base):
            def __init__(self):
                Base.__init__(self, 2)
        class Text(str):
            def format(self, *args):
                return "own " + super().format(*args)
        [Derived()["x"], Derived().x, Text("{}-{}").format(1, 2)]
        """,
    ),
    "attributes named like modules": (
        """
        class Clock:
            def __init__(self):
                self.time = self.code = 1
            def tick(self):
                self.time += 1
                self.code *= 5
                self.code |= 2
        clock = Clock()
        clock.tick()
        clock.code -= 1
        [clock.time, clock.code]
        """,
    ),
    "dates from text": ("import datetime\ndatetime.datetime.strptime('2020-01-02', '%Y-%m-%d').isoformat()", "datetime"),
    "paths as text": ("import os.path\nos.path.join('a', os.path.splitext('b.c')[0])", "os"),
    "threads and queues": (
        """
        import queue, threading
        box = queue.Queue()
        threads = [threading.Thread(target=box.put, args=(n,)) for n in range(3)]
        [t.start() for t in threads], [t.join() for t in threads]
        sorted(box.get() for _ in threads)
        """,
        "queue",
        "threading",
    ),
    "classes of arrays": (
        """
        import numpy as np
        a = np.zeros(2)
        [isinstance(a, np.ndarray), type(a) is np.ndarray, type(a).__name__, np.ndarray.sum(a), np.ndarray((2,)).shape]
        """,
        "numpy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_it_gives_in_plain_python(name: str, tmp_path: Path) -> None:
    source, *modules = PROGRAMS[name]
    source = textwrap.dedent(source)
    assert run(source, *modules, files=tmp_path) == run(source, *modules, mode="full")


def test_a_loop_of_pure_python_has_no_gate_in_it() -> None:
    source = """
    def sieve(limit):
        marks = bytearray(limit)
        found = []
        for number in range(2, limit):
            if not marks[number]:
                found.append(number)
                marks[number * number :: number] = b"x" * len(range(number * number, limit, number))
        return {each: f"{each:>5}" for each in found if each % 3 == 1}
    sieve(50)
    """
    assert _gates(source) == []


def test_a_method_checks_what_it_was_called_on_once_and_is_then_native() -> None:
    source = """
    class Walk:
        def __init__(self, steps):
            self._steps = steps
            self.total = 0
        def run(self):
            for step in self._steps:
                self.total += step
                self._last = step
    """
    assert _gates(source) == ["<mark>", *["<Own>", "<self>", "<Exception>", "<self>"] * 2]


def test_errors_name_the_lines_of_the_source() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run("def f(x):\n    x.real\n\n    return 1 / 0\n\nf(\n    1)")
    lines = [entry.lineno + 1 for entry in caught.traceback if str(entry.path).endswith("<test>")]
    assert lines == [6, 4]


def test_a_refusal_names_the_line_the_thing_and_the_remedy() -> None:
    with pytest.raises(SandboxViolation) as caught:
        compile("x = 1\ny = x.__class__\nz = y.mro", SandboxPlan(), "<action 1>")
    error = caught.value
    assert (error.lineno, error.filename, error.text) == (3, "<action 1>", "z = y.mro")
    assert error.msg.startswith("line 3: the attribute mro is not allowed here: ")
    assert error.msg.endswith("use isinstance()")


@pytest.mark.parametrize("source", ["a\0b", "x = (", "-" * 100_000 + "1", "a" + ".b" * 20_000, "9" * 5_000, "x\n  y"])
def test_what_cannot_be_compiled_is_a_syntax_error(source: str) -> None:
    with pytest.raises(SyntaxError):
        compile(source, SandboxPlan())


def test_the_value_is_that_of_a_last_expression_only() -> None:
    assert run("x = 2\nx + 1") == 3
    assert run("x = 2") is None
    assert run("'only a text'") == "only a text"


def test_a_bare_except_does_not_catch_what_ends_the_action() -> None:
    class Ended(BaseException): ...

    def end() -> None:
        raise Ended

    for handler in ("except:", "except BaseException:", "except Exception:", "except (KeyError, BaseException):"):
        with pytest.raises(Ended):
            run(f"try:\n    end()\n{handler}\n    pass", names={"end": end})


def test_full_mode_is_ordinary_python() -> None:
    assert run("import os\n().__class__.__base__, os.sep", mode="full") == (object, "/")


def test_a_module_given_as_a_value_is_a_facade() -> None:
    assert run("tool.dumps([1])", names={"tool": json}) == "[1]"
    with pytest.raises(AttributeError, match="module 'json' gives no 'codecs' here"):
        run("tool.codecs", names={"tool": json})


def test_the_refusal_of_a_module_names_what_is_registered_and_the_remedy() -> None:
    with pytest.raises(ImportError) as caught:
        run("import socket", "json", "math")
    assert str(caught.value) == (
        "the module 'socket' is not registered (registered: json, math); whoever runs this code can register it:"
        " agent.module('socket'), Sandbox(modules=['socket']) or agex run --module socket"
    )


def test_tables_and_arrays_go_through_files_of_the_workspace(tmp_path: Path) -> None:
    source = """
    import numpy as np
    import pandas as pd
    frame = pd.DataFrame({"a": [1, 2]})
    frame.to_csv("plain.csv", index=False)
    frame.to_csv("plain.csv", mode="a", index=False, header=False)
    frame.to_csv("packed.csv.gz", index=False)
    frame.to_json("frame.json")
    np.save("array.npy", np.arange(3))
    [pd.read_csv(name).a.tolist() for name in ("plain.csv", "packed.csv.gz")] + [
        pd.read_json("frame.json").a.tolist(), np.load("array.npy").tolist(), frame.to_csv(index=False)
    ]
    """
    value = run(textwrap.dedent(source), "numpy", "pandas", files=tmp_path)
    assert value == [[1, 2, 1, 2], [1, 2], [1, 2], [0, 1, 2], "a\n1\n2\n"]
    assert (tmp_path / "packed.csv.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_a_future_import_of_annotations_keeps_its_meaning() -> None:
    scope = run("from __future__ import annotations\ndef f(x: list[int] | None): pass\nf")
    assert typing.cast("types.FunctionType", scope).__annotations__ == {"x": "list[int] | None"}


def _gates(source: str) -> list[str]:
    """The gates that the compiled code can call, in order."""
    return [name for code in _codes(compile(textwrap.dedent(source), SandboxPlan())) for name in _called(code)]


def _called(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and str(instruction.argval).startswith("<"):
            yield instruction.argval


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
