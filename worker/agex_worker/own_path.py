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
    for name, module in list(sys.modules.items()):
        places = [getattr(module, "__file__", None) or "", *(getattr(module, "__path__", None) or ())]
        if any(isinstance(place, str) and place.startswith(inside) for place in places):
            del sys.modules[name]
    importlib.invalidate_caches()
