"""The only file of the trusted side that unpickles, for tasks with trust="unpickle" and nothing else.

Unpickling runs code of the agent's choice in your process, with all your process may do: no check that comes before or after it
changes that. A policy has to say `[results] trust_unpickle = true`, and the exceptions in the import contracts and in the
linter's settings name this file alone.
"""

from __future__ import annotations

import pickle

from agex_supervisor.contract import ContractMismatch
from agex_supervisor.display import display


def unpickle(data: bytes) -> object:
    """The object that an agent pickled. ContractMismatch where that fails."""
    try:
        return pickle.loads(data)
    except Exception as error:
        text = display(f"{type(error).__name__}: {error}", limit=500)
        raise ContractMismatch(f"the value: it cannot be unpickled outside of its worker: {text}") from error
