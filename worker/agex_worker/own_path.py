"""For ordinary Python without the inner sandbox: files of the workspace can be imported, behind everything installed."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from collections.abc import Mapping


def add(workspace: str) -> None:
    """Last on sys.path, so that no file stands in for an installed module; and nothing is left beside the sources."""
    sys.path.append(workspace)
    sys.dont_write_bytecode = True


def share(names: Mapping[str, object]) -> None:
    """Let the files use what scripts know by its bare name; Python's own names stay Python's."""
    for name, value in names.items():
        if not hasattr(builtins, name):
            setattr(builtins, name, value)


def forget(workspace: str) -> None:
    """Have the next import read its file anew."""
    inside = workspace + os.sep
    # All of them first: a package without an __init__.py asks its parent where it is.
    ours = [name for name, module in list(sys.modules.items()) if _lies_in(module, inside)]
    for name in ours:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def _lies_in(module: object, folder: str) -> bool:
    try:
        places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    except Exception:
        return False  # what code put there in the place of a module is its own affair
    return any(isinstance(place, str) and place.startswith(folder) for place in places)
