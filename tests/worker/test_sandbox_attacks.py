"""Ways out of a sandbox of names. Each calls `won` with what it got: in full mode it must, in the inner sandbox it must not."""

from __future__ import annotations

import json
import textwrap
import types
from pathlib import Path

import pytest

from agex_protocol.plan import ModuleGrant
from tests.worker.sandbox_run import run

ATTACKS: dict[str, tuple[str, ...]] = {
    # --- builtins
    "the import function itself": ("won(__import__('os').getpid)",),
    "eval of text": ("won(eval('().__class__.__base__'))",),
    "exec as a decorator": ("@exec\n@(lambda cls: 'won(1)')\nclass anything: pass",),
    "compile and a function's type": ("f = lambda: 0\ng = type(f)(compile('1', 'x', 'eval'), {})\nwon(g)",),
    "globals": ("won(globals()['__builtins__'])",),
    "builtins by their module's own name": ("import builtins\nwon(builtins.eval)", "builtins"),
    "a class made by type()": ("won(type('Made', (), {'__del__': print})())",),
    "a class made by a metaclass found on the way": ("won(type(int)('Made', (), {}))",),
    "a class made by the parameter of a generic": (
        "import typing\nwon(typing.get_origin(type[int])('Made', (), {}))",
        "typing",
    ),
    "vars of a class that is not ours": ("won(vars(int)['__add__'])",),
    # --- attributes
    "the class of a value": ("won(().__class__)",),
    "every class there is": ("won(object.__subclasses__())",),
    "the list of base classes without a dunder": ("won(bool.mro()[-1])",),
    "a builtin's self": ("won(print.__self__)",),
    "globals of a library function": ("import json\nwon(json.dumps.__globals__)", "json"),
    "the function behind a method": ("class A:\n    def m(self): pass\nwon(A().m.__func__.__globals__)",),
    "a wide letter in a dunder": ("won([].__ｃlass__)",),
    "a wide letter in an interpreter's name": ("won((i for i in ()).gi_ｆrame)",),
    "code objects": ("def f(): pass\nwon(f.__code__.co_consts)",),
    "a closure's cell": ("def f(x):\n    return lambda: x\nwon(f(1).__closure__[0].cell_contents)",),
    "a generator's frame": ("g = (i for i in [1])\nwon(g.gi_frame.f_globals)",),
    "a coroutine's frame": ("async def c(): pass\nk = c()\nframe = k.cr_frame\nk.close()\nwon(frame)",),
    "a traceback's frame": ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    won(e.__traceback__.tb_frame)",),
    "a traceback given to __exit__": (
        """
        class Catch:
            def __enter__(self): return self
            def __exit__(self, kind, error, trace):
                self.trace = trace
                return True
        with Catch() as c:
            1 / 0
        won(c.trace.tb_frame.f_globals)
        """,
    ),
    "the object an AttributeError speaks of": (
        "import json\ntry:\n    json.nothing\nexcept AttributeError as e:\n    won(e.obj.codecs)",
        "json",
    ),
    "the same read by an augmented assignment": (
        """
        class Seen:
            def __radd__(self, other): won(other)
        try:
            ().nothing
        except AttributeError as e:
            e.obj += Seen()
        """,
    ),
    "a private attribute of a library object": ("import json\nwon(json._default_encoder)", "json"),
    "a private attribute by a method of ours called on a library's object": (
        """
        import random
        class Peek:
            def look(self): return self._randbelow
        won(Peek.look(random.Random()))
        """,
        "random",
    ),
    "a private attribute on a receiver that was rebound": (
        """
        import random
        class Peek:
            def look(self):
                self.seen = 1
                for self in [random.Random()]:
                    return self._randbelow
        won(Peek().look())
        """,
        "random",
    ),
    "a private attribute named as a class mangles it": (
        """
        import random
        class Random_:
            pass
        class _(Random_):
            def look(self, other): return other.__class__
        won(_().look(()))
        """,
        "random",
    ),
    # --- computed names
    "getattr with a name in pieces": ("won(getattr((), '__' + 'class' + '__'))",),
    "getattr handed to map": ("won(list(map(getattr, [()], ['__class__']))[0])",),
    "getattr handed to reduce": (
        "import functools\nwon(functools.reduce(getattr, ['__class__', '__base__'], 1))",
        "functools",
    ),
    "a str that lies about itself": (
        """
        class Liar(str):
            def startswith(self, *a): return False
            def __getitem__(self, i): return 'x'
        won(getattr((), Liar('__class__')))
        """,
    ),
    "operator.attrgetter": ("import operator\nwon(operator.attrgetter('__class__.__base__')(()))", "operator"),
    "operator.methodcaller": (
        "import operator\nwon(operator.methodcaller('__getattribute__', '__class__')(()))",
        "operator",
    ),
    "attrgetter as another module has it": ("import inspect\nwon(inspect.attrgetter('__class__')(()))", "inspect"),
    "hasattr that asks a hook for an internal name": (
        """
        class Hook:
            def __getattr__(self, name):
                if name == '__array_interface__': won(name)
                raise AttributeError
        import numpy
        numpy.array(Hook())
        """,
        "numpy",
    ),
    # --- format strings
    "a format string": ("won('{0.__class__.__base__}'.format(()))",),
    "a format string in a format specification": (
        "class S:\n    def __format__(self, spec): won(spec)\n'{0:{1.__class__}}'.format(S(), '')",
    ),
    "format of the class": ("won(str.format('{0.__class__}', ()))",),
    "format kept for later": ("f = '{0.__class__}'.format\nwon(f(()))",),
    "format found by name": ("won(getattr('{0.__class__}', 'format')(()))",),
    "format of a str subclass": (
        "class S(str):\n    def __contains__(self, x): return False\nwon(S('{0.__class__}').format(()))",
    ),
    "format by an alias that passes reads on": (
        "import typing\nwon(typing.Annotated[str, 1].format('{0.__class__}', ()))",
        "typing",
    ),
    "format by an alias that we make": ("won(type(list[int])(str, ()).format('{0.__class__}', ()))",),
    "format by a library's own text class": (
        "import collections\nwon(collections.UserString('{0.__class__}').format(()))",
        "collections",
    ),
    "format_map": ("won('{a.__class__}'.format_map({'a': ()}))",),
    "the Formatter class": ("import string\nwon(string.Formatter().get_field('0.__class__', [()], {})[0])", "string"),
    # --- syntax that reads or binds without looking like it
    "a match pattern with an attribute": ("match ():\n    case object(__class__=c): won(c)",),
    "a match pattern nested in another": (
        "match ():\n    case tuple() as t:\n        match [t]:\n            case [object(__class__=c)]: won(c)",
    ),
    "a match pattern by position": (
        """
        class Ask:
            __match_args__ = ('gi_frame',)
        class Meta(type):
            def __instancecheck__(cls, x): return True
        class P(Ask, metaclass=Meta): pass
        match (i for i in ()):
            case P(frame): won(frame)
        """,
    ),
    "a match pattern by the fields of a named tuple": (
        """
        import abc, collections
        class P(collections.namedtuple('N', 'gi_frame'), abc.ABC): pass
        generator = (i for i in ())
        P.register(type(generator))
        match generator:
            case P(frame): won(frame)
        """,
        "abc",
        "collections",
    ),
    "a match pattern by the fields of a dataclass": (
        """
        import abc, dataclasses
        @dataclasses.dataclass
        class P(abc.ABC):
            gi_frame: object
        generator = (i for i in ())
        P.register(type(generator))
        match generator:
            case P(frame): won(frame)
        """,
        "abc",
        "dataclasses",
    ),
    "an import under the name of the builtins": ("import json as __builtins__\nwon(__builtins__)", "json"),
    "an exception bound to a dunder": ("try:\n    1 / 0\nexcept Exception as __loader__:\n    won(__loader__)",),
    "a name by global": ("def f():\n    global __builtins__\n    __builtins__ = {}\nf()\nwon(1)",),
    "the class cell": ("class A:\n    def f(self): return __class__\nwon(A().f())",),
    # --- annotations
    "an annotation that is text, read by typing": (
        "import typing\nclass A:\n    x: '().__class__'\nwon(typing.get_type_hints(A))",
        "typing",
    ),
    "an annotation made of text": (
        """
        import functools
        text = 'won(' + '().__cl' + 'ass__)'
        @functools.singledispatch
        def f(x): pass
        @f.register
        def _(x: text): pass
        """,
        "functools",
    ),
    "text hidden in a generic": (
        """
        import functools, typing
        @functools.singledispatch
        def f(x): pass
        try:
            @f.register
            def _(x: typing.Optional['won(().__class__)']): pass
        except TypeError:
            pass
        """,
        "functools",
        "typing",
    ),
    "annotations left as text by a future import": (
        """
        from __future__ import annotations
        import functools
        @functools.singledispatch
        def f(x): pass
        @f.register
        def _(x: won(().__class__)): pass
        """,
        "functools",
    ),
    "a forward reference": ("import typing\nwon(typing.ForwardRef('1')._evaluate)", "typing"),
    # --- classes
    "a metaclass": ("class M(type): pass\nclass A(metaclass=M): pass\nwon(A)",),
    "a metaclass from a dict": ("k = {'metaclass': type(int)}\nclass A(**k): pass\nwon(A)",),
    "a metaclass that abc gives": ("import abc\nwon(abc.ABCMeta('Made', (), {'__del__': print}))", "abc"),
    "an enum made by a call": (
        "import enum\nE = enum.Enum('E', {'__reduce_ex__': print, 'A': 1})\nwon(E.A.__reduce_ex__)",
        "enum",
    ),
    "an enum of ours made by a call": (
        """
        import enum
        class Base(enum.Enum): pass
        E = Base('E', {'__del__': print, 'A': 1})
        won(E)
        """,
        "enum",
    ),
    "how a value is copied": (
        """
        import copy, json
        class Any:
            def __reduce_ex__(self, protocol): return (lambda: json.JSONEncoder, (), (None, {'marker': 1}))
        try:
            copy.copy(Any())
            won(json.JSONEncoder.marker)
        finally:
            if hasattr(json.JSONEncoder, 'marker'):
                del json.JSONEncoder.marker
        """,
        "copy",
        "json",
    ),
    "code after the end": ("class A:\n    def __del__(self): won(self)\nA()\nNone",),
    "a base that names other bases": (
        "class B:\n    def __mro_entries__(self, bases): return (int,)\nclass C(B()): pass\nwon(C)",
    ),
    "a base of except*": (
        "class G(ExceptionGroup):\n    def split(self, kind): return 1\nwon(G)",
    ),
    "members that become globals of the program": (
        "import enum\n@enum.global_enum\nclass E(enum.Enum):\n    A = 1\nwon(E)",
        "enum",
    ),
    "a description of memory": ("class A:\n    __array_interface__ = {}\nwon(A)",),
    "a description of memory in a namespace": (
        "import types\nwon(types.SimpleNamespace(**{'__array_interface__': {}}))",
        "types",
    ),
    "a description of memory in the class of the inputs": ("won(type(inputs)(**{'__array_interface__': {}}))",),
    # --- stores
    "a function's code": ("def f(): pass\ndef g(): return 1\nf.__code__ = g.__code__\nwon(f())",),
    "a member of a shared class": (
        """
        import json
        try:
            json.JSONEncoder.poison = 1
            won(json.JSONEncoder)
        finally:
            del json.JSONEncoder.poison
        """,
        "json",
    ),
    "setattr on a shared class": (
        """
        import json
        try:
            setattr(json.JSONEncoder, 'poison', 1)
            won(json.JSONEncoder)
        finally:
            del json.JSONEncoder.poison
        """,
        "json",
    ),
    "total_ordering on a shared class": (
        "import functools, json\ntry:\n    won(functools.total_ordering(json.JSONEncoder))\nexcept ValueError:\n    won(1)",
        "functools",
        "json",
    ),
    "object.__setattr__": ("import json\nf = json.dumps\nobject.__setattr__(f, 'x', 1)\nwon(f)", "json"),
    "a field's name, which becomes source code": (
        """
        import dataclasses
        @dataclasses.dataclass
        class A:
            x: int = 0
        dataclasses.fields(A)[0].name = 'x, ().__class__, self.x'
        @dataclasses.dataclass(init=False, repr=False)
        class B(A):
            z: int = 0
        won(B() == B())
        """,
        "dataclasses",
    ),
    "a generic that passes stores on": (
        """
        import typing, collections.abc
        alias = typing.Mapping[str, int]
        try:
            alias.poison = 1
            won(alias)
        finally:
            if 'poison' in vars(collections.abc.Mapping): del collections.abc.Mapping.poison
        """,
        "typing",
        "collections",
    ),
    "update_wrapper with names of our choice": (
        """
        import functools, json
        class Catch:
            def __setattr__(self, name, value): won(value)
        functools.update_wrapper(Catch(), json.dumps, assigned=('__globals__',), updated=())
        """,
        "functools",
        "json",
    ),
    # --- modules
    "a module inside a module": ("import json\nwon(json.decoder)", "json"),
    "a module imported from a module": ("from re import enum\nwon(enum.sys)", "re"),
    "a submodule that is not registered": ("from json import scanner\nwon(scanner)", "json"),
    "a submodule by its dotted name": ("import json.tool as t\nwon(t)", "json"),
    "a module that is not registered": ("import os\nwon(os)",),
    "a function that a module merely imported": ("import statistics\nwon(statistics.namedtuple)", "statistics"),
    "frames by the traceback module": (
        "import traceback\nwon(list(traceback.walk_stack(None)))",
        "traceback",
    ),
    "frames by the inspect module": ("import inspect\nwon(inspect.currentframe())", "inspect"),
    "loaded modules by sys": ("import sys\nwon(sys.modules)", "sys"),
    "commands by os": ("import os\nwon(os.system)", "os"),
    "objects by gc": ("import gc\nwon(gc.get_objects)", "gc"),
    "logging configured by text": ("import logging.config\nwon(logging.config.dictConfig)", "logging.config"),
    "output redirected for good": (
        "import contextlib, io\nr = contextlib.redirect_stdout(io.StringIO())\nwon(r)",
        "contextlib",
        "io",
    ),
    "the namespace of a class made by a library": ("import types\nwon(types.new_class('Made'))", "types"),
    "a class whose fields are text": ("import dataclasses\nwon(dataclasses.make_dataclass('A', ['x']))", "dataclasses"),
    "a weak reference that stands for a class": (
        "import weakref, json\nwon(weakref.proxy(json.JSONEncoder))",
        "weakref",
        "json",
    ),
    # --- files and native libraries
    "a file outside": ("with open(outside) as f: won(f.read())",),
    "a file by the class of an open file": ("f = open('inside', 'wb', 0)\nk = type(f)\nf.close()\nwith k(outside) as f: won(f.read())",),
    "a file by initialising an open one again": (
        "with open('inside', 'wb', 0) as f:\n    f.__init__(outside)\n    won(f.read())",
    ),
    "the same by its class and a super of our own": (
        """
        def super(): return f
        with open('inside', 'wb', 0) as f:
            super().__init__(outside)
            won(f.read())
        """,
    ),
    "a shared property by its initialiser": (
        """
        import fractions
        shared = fractions.Fraction.numerator
        old = shared.fget
        try:
            property.__init__(shared, lambda self: 1)
            won(shared)
        finally:
            if shared.fget is not old: property.__init__(shared, old)
        """,
        "fractions",
    ),
    "a file by io": ("import io\nwith io.FileIO(outside) as f: won(f.read())", "io"),
    "a file by pathlib": ("import pathlib\nwon(pathlib.Path(outside).read_text())", "pathlib"),
    "a file by a path within": (
        "import pathlib\nwon((pathlib.Path('inside') / outside).read_bytes())",
        "pathlib",
    ),
    "the private side of a path": (
        """
        import pathlib
        class P(type(pathlib.Path())): pass
        won(list(P(outside).parent._scandir() if hasattr(P, '_scandir') else P(outside).parent.iterdir()))
        """,
        "pathlib",
    ),
    "a look at what is there": ("import os\nif os.path.exists(outside): won(1)", "os"),
    "the size of a file": ("import os\nwon(os.stat(outside).st_size)", "os"),
    "a listing by os": ("import os\nwon(os.listdir(os.path.dirname(outside)))", "os"),
    "a listing by a pattern": ("import glob\nfor each in glob.glob(outside + '*'): won(each)", "glob"),
    "a walk": ("import os\nfor each in os.walk(os.path.dirname(outside) + '/..'): won(each)", "os"),
    "a copy": ("import shutil\nwon(shutil.copy(outside, 'copied'))", "shutil"),
    "a file that is moved away": ("import os\nwon(os.rename(outside, outside + '2') or 1)", "os"),
    "a file by numpy": ("import numpy as np\nwon(np.fromfile(outside, dtype=np.uint8))", "numpy"),
    "a file by a numpy reader": ("import numpy as np\nwon(np.genfromtxt(outside, dtype=str))", "numpy"),
    "a file written by an array": ("import numpy as np\nwon(np.arange(2).tofile(outside) or 1)", "numpy"),
    "memory by numpy": ("import numpy as np\nwon(np.arange(2).ctypes.data)", "numpy"),
    "pointers made of bytes": (
        "import numpy as np\nwon(np.ndarray((1,), dtype=object, buffer=bytearray(8)))",
        "numpy",
    ),
    "pointers made of bytes by the class of an array": (
        "import numpy as np\nwon(type(np.arange(1))((1,), object, bytearray(8)))",
        "numpy",
    ),
    "pointers made of bytes by a subclass": (
        "import numpy as np\nclass A(np.ndarray): pass\nwon(A((1,), object, bytearray(8)))",
        "numpy",
    ),
    "pointers made of bytes by __new__": (
        "import numpy as np\nwon(np.arange(1).__new__(np.matrix, (1,), object, bytearray(8)))",
        "numpy",
    ),
    "memory that was freed": (
        "import numpy as np\na = np.zeros(4)\nb = a[:]\na.resize(4, refcheck=False)\nwon(b)",
        "numpy",
    ),
    "frames of a task": (
        """
        import asyncio
        async def main(): won(asyncio.current_task().get_stack())
        asyncio.run(main())
        """,
        "asyncio",
    ),
    "C by numpy": ("import numpy as np\nwon(np.ctypeslib.load_library)", "numpy"),
    "a file by pandas": ("import pandas as pd\nwon(pd.read_csv(outside))", "pandas"),
    "a file written by pandas": ("import pandas as pd\npd.DataFrame({'a': [1]}).to_csv(outside)\nwon(1)", "pandas"),
    "a file written by the class's method": (
        "import pandas as pd\npd.DataFrame.to_csv(pd.DataFrame({'a': [1]}), outside)\nwon(1)",
        "pandas",
    ),
    "a method of pandas by its name": (
        "import pandas as pd\npd.Series([1]).apply('to_csv', args=(outside,))\nwon(1)",
        "pandas",
    ),
    "a private method of pandas by its name": (
        "import pandas as pd\nwon(pd.Series([1]).apply('__getattribute__', args=('_mgr',)))",
        "pandas",
    ),
    "a pickle by pandas": ("import pandas as pd\nwon(pd.read_pickle)", "pandas"),
    "an expression of pandas": (
        "import pandas as pd\ndf = pd.DataFrame({'a': [1]})\nx = ()\nwon(df.eval('b = @x.__class__', target={}))",
        "pandas",
    ),
    "an image by Pillow": (
        "import PIL.Image\nPIL.Image.new('L', (2, 2)).save(outside, format='PNG')\nwon(1)",
        "PIL.Image",
    ),
    "an image by the method of Pillow's class": (
        "import PIL.Image\nPIL.Image.Image.save(PIL.Image.new('L', (2, 2)), outside, 'PNG')\nwon(1)",
        "PIL.Image",
    ),
    "an image into a file by its number": (
        """
        import PIL.Image
        with open('inside', 'w+b') as f:
            class File:
                name = 'x.bmp'
                def fileno(self): return f.fileno()
                def write(self, data): return len(data)
                def flush(self): pass
            PIL.Image.new('L', (2, 2)).save(File(), 'BMP')
            f.seek(0)
            won(f.read()) if f.read(1) else None
        """,
        "PIL.Image",
    ),
    "any file as an image": (
        """
        import PIL.Image
        PIL.Image.new('L', (2, 2)).save('inside.bmp', 'BMP')
        image = PIL.Image.open('inside.bmp')
        image.filename, image.tile, image.readonly = outside, [('raw', (0, 0, 2, 2), 0, ('L', 2, 1))], 1
        image.load()
        if image.tobytes() == b'a\\n1\\n': won(image)
        """,
        "PIL.Image",
    ),
    "a format of our own for everybody's images": (
        "import PIL.Image\nPIL.Image.register_save('OURS', lambda *a: None)\nwon(1)",
        "PIL.Image",
    ),
    "the dict behind an enum's members": (
        """
        import re
        class Same:
            def __eq__(self, other):
                self.got = other
                return True
        same = Same()
        re.RegexFlag.__members__ == same
        same.got['OURS'] = 1
        if 'OURS' in re.RegexFlag.__members__: won(same.got.pop('OURS'))
        """,
        "re",
    ),
    "pointers made of bytes by the fields of a dtype": (
        """
        import numpy as np
        class Same:
            def __eq__(self, other):
                self.got = other
                return True
        same = Same()
        numbers = np.zeros(1, [('a', 'i8')])
        numbers.dtype.fields == same
        same.got['a'] = (np.dtype('f8'), 0)
        if type(numbers['a'][0]) is np.float64: won(1)
        """,
        "numpy",
    ),
    "what every field of a dataclass has": (
        """
        import dataclasses
        class Same:
            def __eq__(self, other):
                self.got = other
                return True
        @dataclasses.dataclass
        class Own:
            a: int
        same = Same()
        field = dataclasses.fields(Own)[0]
        field.metadata == same
        same.got['ours'] = 1
        if 'ours' in field.metadata: won(same.got.pop('ours'))
        """,
        "dataclasses",
    ),
    "the modules within pandas": ("import pandas as pd\nwon(pd.io.common.os)", "pandas"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_is_stopped_by_the_inner_sandbox_and_by_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, *modules = ATTACKS[name]
    assert _won(source, modules, tmp_path, "full"), "the attack does not work, so it shows nothing"
    assert _won(source, modules, tmp_path, "restricted") == []


def test_what_a_registration_excludes_of_a_class_is_refused_on_its_instances() -> None:
    grant = ModuleGrant("collections", exclude=("Counter.most_*",))
    source = "import collections\ncollections.Counter('aab').most_common(1)"
    assert run(source, "collections") == [("a", 2)]
    with pytest.raises(AttributeError, match=r"Counter\.most_common is not allowed here: collections is registered"):
        run(source, grant)


@pytest.mark.parametrize("name", ["a.png", "b.JPG", "c.tiff", "d.pdf"])
def test_images_are_saved_into_the_workspace_by_their_names(name: str, tmp_path: Path) -> None:
    run(f"import PIL.Image\nPIL.Image.new('L', (5, 3)).save({name!r})", "PIL.Image", files=tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).stat().st_size > 0


def test_an_image_is_read_from_the_workspace_whole(tmp_path: Path) -> None:
    source = (
        "import io, PIL.Image\nPIL.Image.new('L', (5, 3), 7).save('a.png')\nmemory = io.BytesIO()\n"
        "image = PIL.Image.open('a.png')\nimage.save(memory, 'GIF')\nother = PIL.Image.open(memory)\n"
        "(image.size, image.format, image.getpixel((0, 0)), other.format, other.size)"
    )
    assert run(source, "PIL.Image", "io", files=tmp_path) == ((5, 3), "PNG", 7, "GIF", (5, 3))


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("PIL.Image.new('L', (2, 2)).save('a.what')", "unknown file extension: '.what'"),
        ("PIL.Image.new('L', (2, 2)).show()", "it starts a program; use view_image"),
        ("PIL.Image.open('a.eps')", "cannot identify image file"),
        ("PIL.Image.open('a.eps', formats=['EPS'])", "cannot identify image file"),
        ("PIL.Image.open('a.eps', formats='EPS')", "formats must be names in a list or tuple"),
    ],
)
def test_what_starts_programs_is_not_done_with_images(source: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")
    with pytest.raises(Exception, match=why):
        run(f"import PIL.Image\n{source}", "PIL.Image", files=tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.eps"]


def test_tables_of_a_module_are_copies() -> None:
    run("import json.decoder\njson.decoder.BACKSLASH['n'] = 'x'", "json.decoder")
    assert json.loads('"\\n"') == "\n"


def _won(source: str, modules: list[str], folder: Path, mode: str) -> list[object]:
    outside = folder / "outside"
    outside.write_text("a\n1\n")
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    got: list[object] = []
    names: dict[str, object] = {"won": got.append, "outside": str(outside), "inputs": types.SimpleNamespace()}
    try:
        run(textwrap.dedent(source), *modules, names=names, files=workspace, mode=mode)
    except Exception:
        return got
    return got
