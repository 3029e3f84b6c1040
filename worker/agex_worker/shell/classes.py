"""The named classes of characters in brackets, `[[:upper:]]`, as ranges that patterns and expressions of Python know."""

from __future__ import annotations

import re

from agex_worker.shell.syntax import ShellSyntaxError

# None begins with what would turn the brackets into their opposite.
_RANGES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \t",
    "cntrl": "\1-\x1f\x7f",
    "digit": "0-9",
    "graph": '"-.0-~!/',
    "lower": "a-z",
    "print": " -.0-~/",
    "punct": ":-@[-`{-~!-./",
    "space": " \t\n\r\f\v",
    "upper": "A-Z",
    "word": "a-zA-Z0-9_",
    "xdigit": "0-9A-Fa-f",
}


def with_ranges(pattern: str, *, of_names: bool = False) -> str:
    """The same without names of classes. ShellSyntaxError for one that there is not. of_names: no name has a slash in it."""

    def ranges(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in _RANGES:
            raise ShellSyntaxError(f"[:{name[:40]}:] is no class of characters; there are {', '.join(_RANGES)}")
        return _RANGES[name].replace("/", "") if of_names else _RANGES[name]

    return re.sub(r"\[:(\w*):\]", ranges, pattern)
