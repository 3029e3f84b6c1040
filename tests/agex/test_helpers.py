"""Ready registrations, and what of the standard library every agent has."""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import agex
from agex import helpers
from agex.errors import ConfigurationError, PolicyError
from agex.llm import Scripted
from agex.stdlib_modules import FURTHER, ORDINARY
from agex_protocol.plan import ModuleGrant
from tests.worker.sandbox_run import run

Register = Callable[[agex.Agent], None]


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=3)
    yield pool
    pool.close()


def grants_of(*registrations: Register, isolation: str = "none", **choices: Any) -> tuple[ModuleGrant, ...]:
    agent = agex.Agent(isolation=isolation, **choices)
    for register in registrations:
        register(agent)
    return agent.workbench(()).sandbox.modules


def done(code: str, *registrations: Register, isolation: str, pool: agex.Pool, **choices: Any) -> Any:
    agent = agex.Agent(isolation=isolation, llm=Scripted([code]), pool=pool, max_actions=1, **choices)
    for register in registrations:
        register(agent)

    @agent.task
    def work() -> Any:
        """Work."""
        raise NotImplementedError

    return work()


# --- what every agent has ---


@pytest.mark.parametrize("isolation", ["none", "process", "kernel"])
def test_a_fresh_agent_imports_what_is_ordinary_and_nothing_else(isolation: str, pool: agex.Pool) -> None:
    code = f"import {', '.join(ORDINARY)}\n" + (
        "try:\n    import sys\nexcept ImportError as error:\n    task_success([math.sqrt(9.0), str(error)[:35]])"
    )
    assert done(code, isolation=isolation, pool=pool) == [3.0, "the module 'sys' is not registered "]


def test_a_policy_caps_what_is_ordinary_and_the_prompt_lists_what_is_left() -> None:
    policy = agex.Policy.load("default").extend({"python": {"modules": ["json", "numpy", "math"]}})
    agent = agex.Agent(policy=policy)
    assert [grant.name for grant in agent.workbench(()).sandbox.modules] == ["json", "math"]
    assert "bounds: beside your own files, only json, math can be imported;" in agent.system_prompt(())


def test_a_registration_of_an_ordinary_module_counts_in_its_place() -> None:
    agent = agex.Agent()
    agent.module("json", include="dumps")
    assert [grant for grant in agent.workbench(()).sandbox.modules if grant.name == "json"] == [
        ModuleGrant("json", ("dumps",))
    ]
    assert "import json" in agent.system_prompt(()) and "itertools, math, operator" in agent.system_prompt(())


def test_full_mode_needs_no_list_of_what_is_ordinary() -> None:
    agent = agex.Agent(isolation="kernel", policy="full-python")
    assert agent.workbench(()).sandbox.modules == ()


# --- the standard library ---


def test_the_standard_library_is_registered_whole_in_every_isolation(pool: agex.Pool) -> None:
    code = f"import {', '.join([*ORDINARY, *FURTHER])}\ntask_success(hashlib.sha256(b'x').hexdigest()[:4])"
    for isolation in ("none", "process", "kernel"):
        assert done(code, helpers.register_stdlib, isolation=isolation, pool=pool) == "2d71"


# Modules that lead out, and functions that do.
DOORS = {
    "os",
    "posix",
    "sys",
    "subprocess",
    "_posixsubprocess",
    "importlib",
    "builtins",
    "_io",
    "shutil",
    "socket",
    "runpy",
}
HARMLESS = {
    "_io": {
        "BytesIO",
        "StringIO",
        "TextIOWrapper",
        "BufferedReader",
        "BufferedWriter",
        "BufferedRandom",
        "text_encoding",
    },
    "posix": {"cpu_count", "fspath", "strerror", "urandom", "_path_normpath", "_path_splitroot_ex"},
}


@pytest.mark.parametrize("name", [*ORDINARY, *FURTHER])
def test_no_member_that_a_ready_module_gives_is_of_a_module_that_leads_out(name: str, tmp_path: Path) -> None:
    grants = grants_of(helpers.register_stdlib)
    given: list[str] = run(f"import {name} as it\nsorted(dir(it))", *grants, files=tmp_path)
    assert given, name
    real = importlib.import_module(name)
    for member in given:
        value = getattr(real, member)
        if isinstance(value, types.ModuleType):
            continue
        code = f"from {name} import {member} as it\nit"
        try:
            got = run(code, *grants, files=tmp_path)
        except ImportError:
            continue  # what is only imported there is refused by itself
        home = str(getattr(got, "__module__", "")).partition(".")[0]
        if isinstance(got, type | types.FunctionType | types.BuiltinFunctionType):
            allowed = home not in DOORS or isinstance(got, type) or got.__name__ in HARMLESS.get(home, ())
            assert allowed, f"{name}.{member} is {home}.{got!r}"
            assert got not in (open, eval, exec, compile, __import__, type, getattr, setattr, vars, globals)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import random\nrandom.seed", "module 'random' gives no 'seed' here"),
        ("import numpy\nnumpy.random.seed", "module 'numpy.random' gives no 'seed' here"),
        ("import decimal\ndecimal.getcontext", "module 'decimal' gives no 'getcontext' here"),
        ("import calendar\ncalendar.setfirstweekday", "module 'calendar' gives no 'setfirstweekday' here"),
        ("import pandas\npandas.set_option", "module 'pandas' gives no 'set_option' here"),
    ],
)
def test_what_the_rest_of_the_process_would_notice_is_left_out_where_code_runs_in_it(code: str, told: str) -> None:
    everything = (helpers.register_stdlib, helpers.register_numpy, helpers.register_pandas)
    with pytest.raises(AttributeError) as caught:
        run(code, *grants_of(*everything))
    assert str(caught.value).startswith(told)
    assert callable(run(code, *grants_of(*everything, isolation="process")))


def test_the_address_of_a_network_card_is_asked_of_nobody() -> None:
    with pytest.raises(AttributeError, match="module 'uuid' gives no 'uuid1' here"):
        run("import uuid\nuuid.uuid1()", "uuid")
    with pytest.raises(AttributeError, match="module 'uuid' gives no 'getnode' here"):
        run("import uuid\nuuid.getnode()", *grants_of(helpers.register_stdlib))
    assert len(run("import uuid\nstr(uuid.uuid4())", *grants_of(helpers.register_stdlib))) == 36


def test_a_policy_that_does_not_allow_what_a_helper_registers_is_an_error_that_names_it() -> None:
    policy = agex.Policy.load("default").extend({"python": {"modules": ["math"]}})
    with pytest.raises(PolicyError, match=r"module 'abc' may not be registered; allowed: math"):
        grants_of(helpers.register_stdlib, policy=policy)


# --- libraries ---

LIBRARIES = (helpers.register_numpy, helpers.register_pandas, helpers.register_plotly, helpers.register_matplotlib)


def test_helpers_give_every_agent_the_same_whatever_others_were_given() -> None:
    everything = (helpers.register_stdlib, *LIBRARIES)
    first = grants_of(*everything)
    assert grants_of(*everything, isolation="kernel") != first
    assert grants_of(*everything) == grants_of(*everything) == first


def test_a_library_that_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for register, name in zip(LIBRARIES, ["numpy", "pandas", "plotly", "matplotlib"], strict=True):
        with pytest.raises(ConfigurationError, match=f"^{name} is not installed here: pip install {name}$"):
            register(agex.Agent())


DRAWN = """
import numpy as np, pandas as pd, plotly.express as px, matplotlib.pyplot as plt
frame = pd.DataFrame({"x": np.arange(3), "y": [1.0, 4.0, 9.0]})
frame.to_csv("a.csv", index=False)
ax = pd.read_csv("a.csv").plot(x="x", y="y")
ax.figure.savefig("a.svg")
plt.savefig("a.png", dpi=20)
plt.close("all")
heads = []
for name in ("a.svg", "a.png"):
    with open(name, "rb") as file:
        heads.append(file.read(4))
figure = px.bar(frame, x="x", y="y")
task_success([heads, plt.imread("a.png").ndim, figure.to_json()[:8]])
"""


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_tables_and_pictures_are_made_and_kept_in_the_workspace(isolation: str, pool: agex.Pool) -> None:
    assert done(DRAWN, *LIBRARIES, isolation=isolation, pool=pool) == [[b"<?xm", b"\x89PNG"], 3, '{"data":']


OUT = "'/etc/agex-test.png'"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (f"import matplotlib.pyplot as plt\nplt.savefig({OUT})", "outside the workspace"),
        (f"import matplotlib.pyplot as plt\nplt.imsave({OUT}, [[0.0]])", "outside the workspace"),
        ("import matplotlib.pyplot as plt\nplt.imread('/etc/hostname')", "outside the workspace"),
        (f"import matplotlib.figure as f\nf.Figure().savefig({OUT})", "outside the workspace"),
        (f"import matplotlib.figure as f\nf.Figure().canvas.print_png({OUT})", "print_png is not allowed"),
        ("import matplotlib.pyplot as plt\nplt.savefig('a.pgf')", "saving as 'pgf' is not allowed"),
        ("import matplotlib.pyplot as plt\nplt.savefig('a', format=b'pgf')", "saving as b'pgf' is not allowed"),
        ("import matplotlib.pyplot as plt\nplt.savefig('a.png', backend='module://x')", "with backend= is not allowed"),
        ("import matplotlib.pyplot as plt\nplt.switch_backend('module://x')", "gives no 'switch_backend' here"),
        ("import matplotlib\nmatplotlib.use('module://x')", "gives no 'use' here"),
        ("import matplotlib\nmatplotlib.rc_file('/etc/hostname')", "gives no 'rc_file' here"),
        ("import matplotlib.pyplot as plt\nplt.rcParams['text.usetex'] = True", "gives no 'rcParams' here"),
        ("import plotly.express as px\npx.bar(x=[1], y=[1]).write_html('/etc/x')", "write_html is not allowed"),
        ("import plotly.express as px\npx.bar(x=[1], y=[1]).to_image()", "to_image is not allowed"),
        ("import plotly.express as px\npx.bar(x=[1], y=[1]).show()", "show is not allowed"),
        ("import plotly.io", "the module 'plotly.io' is not registered"),
        ("import pandas\npandas.read_pickle('x')", "gives no 'read_pickle' here"),
        ("import pandas\npandas.read_html('http://localhost')", "gives no 'read_html' here"),
        ("import pandas\npandas.read_csv('http://localhost/x.csv')", "No such file"),
        ("import numpy\nnumpy.fromfile('/etc/hostname')", "gives no 'fromfile' here"),
    ],
)
def test_what_would_lead_out_of_the_workspace_is_refused_without_any_wall(code: str, told: str, tmp_path: Path) -> None:
    with pytest.raises((AttributeError, ImportError, OSError, RuntimeError, TypeError, ValueError), match=told):
        run(code, *grants_of(*LIBRARIES), files=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_in_a_worker_of_its_own_code_may_set_how_matplotlib_draws(pool: agex.Pool) -> None:
    code = "import matplotlib.pyplot as plt\nplt.rcParams['lines.linewidth'] = 3.5\ntask_success(plt.rcParams['lines.linewidth'])"
    assert done(code, helpers.register_matplotlib, isolation="process", pool=pool) == 3.5


def test_ready_registrations_are_named_in_one_line_of_the_prompt() -> None:
    agent = agex.Agent()
    for register in (helpers.register_stdlib, helpers.register_numpy, helpers.register_pandas):
        register(agent)
    text = agent.system_prompt(())
    assert text.count("math") == 2  # with cmath
    line = next(line for line in text.splitlines() if line.startswith("Also available to import: "))
    assert line.endswith("zlib, zoneinfo, numpy, pandas")
