"""Values of a policy as text: as TOML that can be loaded again, and shortened for messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

_MOST_CHARS = 200


def toml(value: Any) -> str:
    """The value as TOML writes it; tables are written inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in cast(list[Any], value))}]"
    if isinstance(value, Mapping):
        pairs = cast(Mapping[str, Any], value).items()
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in pairs)} }}"
    if isinstance(value, str):
        return "".join(map(_character, json.dumps(value, ensure_ascii=False)))
    return repr(value)


def shown(value: Any) -> str:
    """The value for a message, bounded. None, which TOML cannot say, stands for a key without a value."""
    text = "none" if value is None else toml(value)
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."


def _character(character: str) -> str:
    """JSON's escapes are TOML's. What else cannot be seen, such as DEL or a mark that turns text around, is escaped, too."""
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
