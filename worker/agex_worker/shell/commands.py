"""Commands that termish has not, or has without what is in daily use: plain Python on the tree, like its own."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from termish import CommandContext, CommandFunc, CommandResult, TerminalError
from termish.context import PipeStream
from termish.interpreter.core import BUILTINS

from agex_worker.shell.sums import computed

_FORMAT = re.compile(r"%([-+ #0]*)(\*|\d*)(?:\.(\*|\d*))?([diouxXfFeEgGsbcq%])")
_ESCAPED = re.compile(r"\\(x[0-9a-fA-F]{1,2}|0?[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b", "\\": "\\"}
MAX_WIDTH = 10_000


def _printf(ctx: CommandContext) -> CommandResult | None:
    """The format is used again as long as there are arguments."""
    arguments = ctx.args[1:] if ctx.args[:1] == ["--"] else ctx.args
    if not arguments:
        raise TerminalError("printf: needs a format", exit_code=2)
    shape, rest = arguments[0], iter(arguments[1:])
    left = len(arguments) - 1
    faults: list[str] = []
    while True:
        before = left
        text, left = _formatted(shape, rest, left, faults)
        ctx.stdout.write(text)
        if left <= 0 or left == before:
            break
    return CommandResult(exit_code=1, stderr="\n".join(faults)) if faults else None


def _formatted(shape: str, rest: Iterator[str], left: int, faults: list[str]) -> tuple[str, int]:
    def value() -> str:
        nonlocal left
        left -= 1
        return next(rest, "")

    made, at = list[str](), 0
    for found in _FORMAT.finditer(shape):
        made.append(_unescaped(shape[at : found.start()]))
        made.append(_converted(found, value, faults))
        at = found.end()
    made.append(_unescaped(shape[at:]))
    return "".join(made), left


def _converted(found: re.Match[str], value: Callable[[], str], faults: list[str]) -> str:
    flags, width, precision, kind = found.groups()
    if kind == "%":
        return "%"
    sizes = [str(_number(value(), faults)) if each == "*" else each for each in (width, precision)]
    if any(each and abs(int(each)) > MAX_WIDTH for each in sizes):
        raise TerminalError(f"printf: {found.group()}: wider than {MAX_WIDTH}")
    shape = f"%{flags}{sizes[0] or ''}" + ("" if sizes[1] is None else f".{sizes[1] or 0}")
    text = value()
    if kind in "feEgGF":
        return f"{shape}{kind}" % _decimal(text, faults)
    if kind in "diouxX":
        return f"{shape}{'d' if kind in 'iu' else kind}" % _number(text, faults)
    text = {"b": _unescaped(text), "c": text[:1], "q": "'" + text.replace("'", "'\\''") + "'"}.get(kind, text)
    return f"{shape}s" % text


def _number(text: str, faults: list[str]) -> int:
    if text[:1] in ("'", '"'):
        return ord(text[1:2] or "\0")
    try:
        return int(text or "0", 8 if re.fullmatch(r"[-+]?0[0-7]+", text) else 0)
    except ValueError:
        faults.append(f"printf: {text[:60]}: no number")
        return 0


def _decimal(text: str, faults: list[str]) -> float:
    try:
        return float(text or "0")
    except ValueError:
        faults.append(f"printf: {text[:60]}: no number")
        return 0.0


def _unescaped(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        inner = found.group(1)
        if inner[0] == "x" and len(inner) > 1:
            return chr(int(inner[1:], 16))
        if inner[0] in "01234567":
            return chr(int(inner, 8) & 0xFF)
        return _ESCAPES.get(inner, "\\" + inner)

    return _ESCAPED.sub(plain, text)


def _wc(ctx: CommandContext) -> CommandResult | None:
    """termish's, but that one number of one file stands without blanks before it."""
    said, result = _kept("wc", ctx, ctx.args)
    text = said.decode("utf-8", "replace")
    kinds = {letter for word in ctx.args if re.fullmatch("-[a-zA-Z]+", word) for letter in word[1:]}
    alone = text.count("\n") == 1 and (len(kinds) == 1 or sum(word.startswith("--") for word in ctx.args) == 1)
    ctx.stdout.write(text.lstrip(" ") if alone else text)
    return result


def _diff(ctx: CommandContext) -> CommandResult | None:
    """termish's, with the exit code that says whether there is a difference."""
    said, result = _kept("diff", ctx, ctx.args)
    ctx.stdout.buffer.write(said)
    return result if result is not None and result.exit_code else CommandResult(exit_code=int(bool(said)))


def _grep(ctx: CommandContext) -> CommandResult | None:
    """termish's, with options also behind the words."""
    options, words = list[str](), list[str]()
    rest = iter(ctx.args)
    for word in rest:
        if word == "--":
            words += ["--", *rest]
        elif word.startswith("-") and len(word) > 1:
            options.append(word)
            if not word.startswith("--") and word[-1] in "ABCmef":
                options += [value for value in [next(rest, None)] if value is not None]
        else:
            words.append(word)
    return BUILTINS["grep"](replace(ctx, args=[*options, *words]))


def _find(ctx: CommandContext) -> CommandResult | None:
    """termish's, and -print0."""
    if "-print0" not in ctx.args:
        return BUILTINS["find"](ctx)
    said, result = _kept("find", ctx, [word for word in ctx.args if word != "-print0"])
    ctx.stdout.buffer.write(said.replace(b"\n", b"\0"))
    return result


def _xargs(ctx: CommandContext) -> CommandResult | None:
    """termish's; with -I an item is a line, blanks and all."""
    if not any(word.startswith("-I") for word in ctx.args) or "-0" in ctx.args:
        return BUILTINS["xargs"](ctx)
    lines = [line.strip() for line in ctx.stdin.read().splitlines()]
    stdin = PipeStream("\0".join(filter(None, lines)).encode("utf-8", "backslashreplace"))
    return BUILTINS["xargs"](replace(ctx, args=["-0", *ctx.args], stdin=stdin))


def _chmod(ctx: CommandContext) -> None:
    """A file that shall be executable needs nothing for it; other modes there are none."""
    mode, *paths = [word for word in ctx.args if not word.startswith("-")] or [""]
    if not paths:
        raise TerminalError("chmod: needs a mode and files")
    for path in paths:
        if not ctx.fs.exists(path):
            raise TerminalError(f"chmod: {path}: No such file or directory")
    if not re.fullmatch(r"[ugoa]*\+r?w?x|[0-7]?[1357][0-7]{2}", mode):
        raise TerminalError(f"chmod: {mode}: files have no modes here; each can be read, written and run")


def _expr(ctx: CommandContext) -> CommandResult:
    """Sums and comparisons."""
    value = computed(" ".join("==" if word == "=" else word for word in ctx.args), {})
    ctx.stdout.write(f"{value}\n")
    return CommandResult(exit_code=int(value == 0))


def _kept(name: str, ctx: CommandContext, arguments: list[str]) -> tuple[bytes, CommandResult | None]:
    """What termish's command of that name prints, and how it ends."""
    out = PipeStream()
    result = BUILTINS[name](CommandContext(arguments, ctx.stdin, out, ctx.fs, ctx.env))
    return out.getvalue(), result


def _rmdir(ctx: CommandContext) -> None:
    for path in (word for word in ctx.args if not word.startswith("-")):
        try:
            ctx.fs.rmdir(path)
        except OSError as error:
            raise TerminalError(f"rmdir: {path}: {error.strerror or error}") from None


def _tac(ctx: CommandContext) -> None:
    ctx.stdout.buffer.write(b"".join(reversed(_content(ctx, "tac").splitlines(keepends=True))))


def _nl(ctx: CommandContext) -> None:
    number = 0
    for line in _content(ctx, "nl").split(b"\n")[:-1] or [b""]:
        number += bool(line)
        ctx.stdout.buffer.write(b"%6d\t%s\n" % (number, line) if line else b"       \n")


def _base64(ctx: CommandContext) -> None:
    decodes = any(word in ("-d", "--decode", "-D") for word in ctx.args)
    data = _content(ctx, "base64")
    if decodes:
        try:
            ctx.stdout.buffer.write(base64.b64decode(b"".join(data.split()), validate=True))
        except ValueError:
            raise TerminalError("base64: this is no base64") from None
        return
    text = base64.b64encode(data)
    size = len(text) if "-w0" in ctx.args else 76
    ctx.stdout.buffer.write(b"".join(text[at : at + size] + b"\n" for at in range(0, len(text), max(size, 1))))


def _content(ctx: CommandContext, name: str) -> bytes:
    """What the files hold that are named, or the input."""
    paths = [word for word in ctx.args if not word.startswith("-")]
    if not paths:
        return ctx.stdin.buffer.read()
    try:
        return b"".join(ctx.fs.read(path) for path in paths)
    except OSError as error:
        raise TerminalError(f"{name}: {error.filename}: {error.strerror}") from None


FURTHER: dict[str, CommandFunc] = {
    "printf": _printf,
    "wc": _wc,
    "rmdir": _rmdir,
    "tac": _tac,
    "nl": _nl,
    "base64": _base64,
    "diff": _diff,
    "grep": _grep,
    "find": _find,
    "xargs": _xargs,
    "chmod": _chmod,
    "expr": _expr,
}
