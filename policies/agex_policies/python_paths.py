"""What an interpreter with its libraries has to read while it runs, and nothing beside it.

Not the whole prefix, where pip.conf keeps tokens; not /etc; not /proc. Libraries import lazily, so their directories stay
readable after the lockdown.
"""

from __future__ import annotations

import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from agex_policies.errors import PolicyError

# Shared libraries that compiled modules are linked with.
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")

# Files that libc and the standard library open by these names.
_SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)

# The two packages of agex that a worker runs. What the supervisor and the policies are is none of its business.
_OWN_PACKAGES = ("agex_worker", "agex_protocol")

# Reading one of these would be reading everything.
_TOO_WIDE = ("/", "/home", "/root", "/etc", "/proc", "/usr", "/var", "/opt", "/tmp")


def interpreter_paths() -> tuple[str, ...]:
    """Real paths that exist here, none within another; directories count with all that is beneath them.

    PolicyError where Python is installed so that reading it means reading far more.
    """
    directories = [*_standard_library(), *_site_packages(), *_own_packages()]
    for directory in directories:
        _refuse_too_wide(directory)
    return collapsed([*directories, *_interpreter_files(), *_LIBRARIES, *_SYSTEM_FILES])


def imported_from(directory: Path) -> str:
    """A place from which this process imports modules, or might, that somebody who writes in this directory can change.

    "" if there is none. Of a package that is loaded more modules may follow, however it was found.
    """
    top, installed = Path(os.path.realpath(directory)), interpreter_paths()
    places = [*sys.path, *installed]
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        places += getattr(spec, "submodule_search_locations", None) or ()
    within = next((place for place in map(os.path.realpath, places) if Path(place).is_relative_to(top)), "")
    return within or next((place for place in installed if top.is_relative_to(place)), "")


def collapsed(paths: Iterable[str]) -> tuple[str, ...]:
    """Real paths, sorted, without the missing ones and those that lie within another."""
    real = sorted({os.path.realpath(path) for path in paths if os.path.exists(path)})
    return tuple(path for path in real if not any(path != top and Path(path).is_relative_to(top) for top in real))


def _standard_library() -> list[str]:
    # lib-dynload lies within platstdlib
    return [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]


def _site_packages() -> list[str]:
    own = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    # The base installation's, only where this environment sees them.
    return own + [path for path in site.getsitepackages([sys.prefix, sys.base_prefix]) if path in sys.path]


def _own_packages() -> list[str]:
    found: list[str] = []
    for name in _OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise PolicyError(
                f"the package {name} is not installed", remedy="reinstall agex-kernel: it is a part of it"
            )
        found.extend(spec.submodule_search_locations)
    return found


def _interpreter_files() -> list[str]:
    library = os.path.join(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or "")
    files = [os.path.join(sys.prefix, "pyvenv.cfg"), library]
    return [path for path in files if os.path.isfile(path)]


def _refuse_too_wide(directory: str) -> None:
    real = os.path.realpath(directory)
    if real in _TOO_WIDE or real == os.path.realpath(Path.home()):
        raise PolicyError(
            f"Python's own files lie directly in {real}, so a worker could read all of it",
            remedy="install Python, or make the virtual environment, in a directory of its own",
        )
