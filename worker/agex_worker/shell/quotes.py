"""Where a quoted or bracketed piece of shell text ends."""

from __future__ import annotations

from agex_worker.shell.syntax import ShellSyntaxError

_MAX_NESTED = 40


def end_of_piece(text: str, at: int, *, nested: int = 0) -> int:
    """Past the character at that place, with all that it opens: quotes, `$(...)`, `${...}`, `` `...` ``, an escape."""
    if nested > _MAX_NESTED:
        raise ShellSyntaxError(f"more than {_MAX_NESTED} quotes or brackets within one another")
    character = text[at]
    if character == "\\":
        return min(at + 2, len(text))
    if character == "'":
        return _past(text, text.find("'", at + 1), "'")
    if character == '"':
        return _end_of_quotes(text, at, nested)
    if character == "`":
        return _end_of_backquotes(text, at)
    if text.startswith("$(", at):
        return _end_of_brackets(text, at + 1, "()", nested)
    if text.startswith("${", at):
        return _end_of_brackets(text, at + 1, "{}", nested)
    if text.startswith("$'", at):
        return _end_of_escaped(text, at + 1)
    return at + 1


def _end_of_quotes(text: str, at: int, nested: int) -> int:
    at += 1
    while at < len(text) and text[at] != '"':
        at = at + 1 if text[at] == "'" or text.startswith("$'", at) else end_of_piece(text, at, nested=nested + 1)
    return _past(text, at if at < len(text) else -1, '"')


def _end_of_backquotes(text: str, at: int) -> int:
    at += 1
    while at < len(text) and text[at] != "`":
        at += 2 if text[at] == "\\" else 1
    return _past(text, at if at < len(text) else -1, "`")


def _end_of_escaped(text: str, at: int) -> int:
    at += 1
    while at < len(text) and text[at] != "'":
        at += 2 if text[at] == "\\" else 1
    return _past(text, at if at < len(text) else -1, "'")


def _end_of_brackets(text: str, at: int, kinds: str, nested: int) -> int:
    opened, depth = at, 0
    while at < len(text):
        if text[at] == kinds[0]:
            depth += 1
            at += 1
        elif text[at] == kinds[1]:
            depth -= 1
            at += 1
            if depth == 0:
                return at
        elif text[at] == "#" and kinds == "()" and text[at - 1].isspace():
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            at = end_of_piece(text, at, nested=nested + 1)
    return _past(text, -1, text[opened])


def _past(text: str, end: int, what: str) -> int:
    if end < 0:
        raise ShellSyntaxError(f"a {what} that is not closed")
    return end + 1
