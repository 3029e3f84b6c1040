"""Modules of the standard library for agent code: those it has without being given them, and the larger set of `agex.helpers`.

None of them reaches a file beyond the workspace, a process, the network, or what other code of the process has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from agex_policies.narrowing import module_allowed
from agex_policies.schema import Policy
from agex_protocol.plan import Isolation, ModuleGrant


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What code for data and text imports without a thought. Of those that are about files, code gets functions on the workspace
# in the place of the real ones.
ORDINARY = _words(
    "abc bisect calendar cmath collections copy csv dataclasses datetime decimal enum fractions functools glob heapq"
    " itertools json math operator os os.path pathlib random re shutil statistics string textwrap typing"
)

# For `register_stdlib`, beside those above.
FURTHER = _words(
    "array base64 binascii colorsys contextlib difflib graphlib hashlib hmac html io ipaddress numbers pprint secrets"
    " struct time types unicodedata urllib.parse uuid warnings zlib zoneinfo"
)

# Members left out because they change what the whole machine or process has in common, or wait for nothing.
LEFT_OUT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "base64": _words("main test"),
        "calendar": _words("main different_locale Locale*"),
        "copy": _words("dispatch_table"),
        "csv": _words("register_dialect unregister_dialect field_size_limit"),
        "contextlib": _words("redirect_std* chdir"),
        "time": _words("sleep tzset clock_set* clock_getres pthread_getcpuclockid"),
        "uuid": _words("getnode uuid1 uuid6 main"),
        "zoneinfo": _words("reset_tzpath TZPATH"),
    }
)

# Members that others in the process would notice: left out where agent code runs in the process of the application.
SHARED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "calendar": _words("setfirstweekday c"),
        "decimal": _words("*Context getcontext setcontext"),
        "random": _words("seed setstate"),
        "numpy": _words("random.seed random.set_state seterr set_printoptions"),
        "pandas": _words("set_option reset_option options"),
    }
)


def left_out(module: str, isolation: Isolation) -> tuple[str, ...]:
    """Globs of what a ready registration of this module leaves out."""
    shared = SHARED.get(module, ()) if isolation == "none" else ()
    return (*LEFT_OUT.get(module, ()), *shared)


def ordinary_grants(policy: Policy, isolation: Isolation, registered: Iterable[str] = ()) -> tuple[ModuleGrant, ...]:
    """What code may import without a registration: what `[python] modules` allows, where nothing else is said of it."""
    if policy.python.mode == "full":
        return ()
    said = set(registered)
    return tuple(
        ModuleGrant(name, exclude=left_out(name, isolation))
        for name in ORDINARY
        if name not in said and module_allowed(name, policy.python.modules)
    )
