"""How many tokens a text takes, without the model's tokenizer: an estimate that needs no download and is the same everywhere."""

from __future__ import annotations

import math

# Of o200k_base and cl100k_base (`bench/README.md`): prose has 3.9 bytes of UTF-8 a token, signatures 3.6, lists of names 3.3,
# Chinese 3.1 to 3.9. The lowest that matters here, so that a budget is rather kept than exceeded.
BYTES_PER_TOKEN = 3.3


def estimated_tokens(text: str) -> int:
    """About as many tokens as this text takes; rather too many."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def chars_of(tokens: int) -> int:
    """How many characters of ASCII so many tokens are."""
    return int(tokens * BYTES_PER_TOKEN)
