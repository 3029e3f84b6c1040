"""The directories that a zygote imports from: those of our own packages, and those of installed ones."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path


def own_homes() -> list[str]:
    """The directories from which the zygote's own few imports come, where `-I` does not search them already."""
    homes: list[str] = []
    for name in ("agex_worker", "agex_protocol", "msgpack", "cloudpickle", "landlock"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            homes.append(str(Path(spec.origin).parent.parent))
    return list(dict.fromkeys(homes))


def installed_paths(readable: tuple[str, ...]) -> tuple[str, ...]:
    """Entries of sys.path that hold installed packages and that the zygote may read."""
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    roots = [Path(path) for path in readable]
    found = [
        entry
        for entry in sys.path
        if entry and entry not in standard and any(Path(entry).resolve().is_relative_to(root) for root in roots)
    ]
    return tuple(dict.fromkeys(found))
