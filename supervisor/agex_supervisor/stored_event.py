"""The size that a stored event may have: an event tells what happened, and holds no data.

Every event is read again whenever a log is, and a worker has a part in what it says.
"""

from __future__ import annotations

import json
from typing import Any

from agex_supervisor.errors import StateError

MAX_EVENT_BYTES = 256 << 10
KEPT_CHARS = 8 << 10  # of each text in an event that is too large
MAX_EVENTS = 10_000  # in one commit


def stored_form(text: str) -> str:
    """An event's JSON as it is stored: itself; with every long text in it cut to head and tail if it is too large.

    StateError for what is no event, or stays too large.
    """
    event = _parsed(text)
    if _size(text) <= MAX_EVENT_BYTES:
        return text
    cut = json.dumps(_cut(event))
    if _size(cut) > MAX_EVENT_BYTES:
        raise StateError(
            f"an event of {_size(text)} bytes cannot be stored: {MAX_EVENT_BYTES} are allowed, and it is of many small parts;"
            " put data into files or the cache"
        )
    return cut


def _parsed(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StateError(f"an event to be stored is no JSON: {error}") from None
    if not isinstance(event, dict):
        raise StateError("an event to be stored must be a JSON object")
    return event


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _cut(value: Any) -> Any:
    match value:
        case str() if len(value) > KEPT_CHARS:
            half = KEPT_CHARS // 2
            return f"{value[:half]} [... {len(value) - 2 * half} characters left out ...] {value[-half:]}"
        case list():
            return [_cut(each) for each in value]
        case dict():
            return {key: _cut(each) for key, each in value.items()}
        case _:
            return value
