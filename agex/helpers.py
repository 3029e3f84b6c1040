"""Ready registrations with safe defaults: `register_stdlib(agent)`, and one for each of a few libraries.

What reads or writes beyond the workspace, runs code or unpickles is left out, in every isolation; with isolation="none"
also what the rest of the process would notice. Models know these libraries, so the prompt only names them: to have
signatures shown, register the module yourself with a visibility.
"""

from __future__ import annotations

import importlib.util

from agex.agent import Agent
from agex.errors import ConfigurationError
from agex.stdlib_modules import FURTHER, ORDINARY, left_out

__all__ = ["register_matplotlib", "register_numpy", "register_pandas", "register_plotly", "register_stdlib"]


def register_stdlib(agent: Agent) -> None:
    """Let agent code import what is useful and harmless of the standard library. It needs nothing of this for what every
    agent has: `math`, `json`, `re`, `datetime` and the like."""
    for name in sorted((*ORDINARY, *FURTHER)):
        _register(agent, name)


def register_numpy(agent: Agent) -> None:
    """numpy, with its random, linalg, fft and other open parts. Arrays are read from and written to workspace files."""
    _needs("numpy")
    _register(agent, "numpy")


def register_pandas(agent: Agent) -> None:
    """pandas. Tables are read from and written to workspace files; no URLs, SQL, HDF or pickles."""
    _needs("pandas")
    _register(agent, "pandas")


def register_plotly(agent: Agent) -> None:
    """plotly: express, graph objects, subplots, colors. Figures are results, or text by to_json() and to_html()."""
    _needs("plotly")
    for name in ("plotly.graph_objects", "plotly.subplots", "plotly.colors"):
        _register(agent, name)
    if importlib.util.find_spec("numpy") is not None:  # plotly.express cannot be imported without it
        _register(agent, "plotly.express")


def register_matplotlib(agent: Agent) -> None:
    """matplotlib with pyplot. Figures are results, or saved into workspace files by savefig()."""
    _needs("matplotlib")
    # In a worker of its own nobody else has these settings.
    own = () if agent.isolation == "none" else ("rcParams", "rc", "rc_context", "rcdefaults")
    for name in ("matplotlib", "matplotlib.pyplot"):
        agent.module(name, visibility="low", include=("*", *own), exclude=left_out(name, agent.isolation))
    for name in ("matplotlib.cm", "matplotlib.colors", "matplotlib.dates", "matplotlib.figure", "matplotlib.ticker"):
        _register(agent, name)


def _register(agent: Agent, name: str) -> None:
    agent.module(name, visibility="low", exclude=left_out(name, agent.isolation))


def _needs(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(f"{module} is not installed here: pip install {module}")
