"""Sums of whole numbers as `$((...))` has them: 64 bits, with assignments to variables."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, MutableMapping

from agex_worker.shell.syntax import ShellSyntaxError

_TOKEN = re.compile(
    r"\s*(0[xX][0-9a-fA-F]+|\d+|[A-Za-z_]\w*|<<=|>>=|\*\*|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&^|]=|[-+*/%<>!~&^|?:=(),])",
    re.ASCII,
)
_LEVELS: tuple[dict[str, Callable[[int, int], int]], ...] = (
    {"|": operator.or_},
    {"^": operator.xor},
    {"&": operator.and_},
    {"==": operator.eq, "!=": operator.ne},
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
    {"<<": lambda a, b: a << (b & 63), ">>": lambda a, b: a >> (b & 63)},
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": lambda a, b: _quotient(a, b), "%": lambda a, b: a - b * _quotient(a, b)},
)
_BINARY = {sign: call for level in _LEVELS for sign, call in level.items()}
_ASSIGNING = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="}
_MAX_NESTED = 20


def computed(text: str, variables: MutableMapping[str, str]) -> int:
    """The value of a sum; an empty one is 0. ShellSyntaxError says what is wrong with it."""
    return _Sum(text, variables, 0).value() if text.strip() else 0


class _Sum:
    def __init__(self, text: str, variables: MutableMapping[str, str], nested: int) -> None:
        self._text = text.strip()
        self._variables = variables
        self._nested = nested
        self._tokens = self._split()
        self._at = 0
        self._counts = True  # not in the branch that is not taken

    def value(self) -> int:
        value = self._all()
        if self._at < len(self._tokens):
            raise self._wrong(f"{self._tokens[self._at]!r} cannot stand there")
        return value

    def _split(self) -> list[str]:
        tokens, at = list[str](), 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise self._wrong(f"{self._text[at:].split()[0][:20]!r} is not understood")
            tokens.append(found.group(1))
            at = found.end()
        return tokens

    def _all(self) -> int:
        value = self._assigned()
        while self._take(","):
            value = self._assigned()
        return value

    def _assigned(self) -> int:
        self._nested += 1
        if self._nested > _MAX_NESTED:
            raise self._wrong("too many brackets or variables within one another")
        try:
            if self._at + 1 < len(self._tokens) and self._tokens[self._at + 1] in _ASSIGNING and self._is_name():
                name, sign = self._tokens[self._at : self._at + 2]
                self._at += 2
                value = self._assigned()
                return self._keep(name, value if sign == "=" else self._with(sign[:-1], self._known(name), value))
            return self._chosen()
        finally:
            self._nested -= 1

    def _chosen(self) -> int:
        condition = self._either()
        if not self._take("?"):
            return condition
        first = self._guarded(bool(condition), self._assigned)
        self._need(":")
        second = self._guarded(not condition, self._assigned)
        return first if condition else second

    def _either(self) -> int:
        value = self._both()
        while self._take("||"):
            other = self._guarded(not value, self._both)
            value = int(bool(value) or bool(other))
        return value

    def _both(self) -> int:
        value = self._level(0)
        while self._take("&&"):
            other = self._guarded(bool(value), lambda: self._level(0))
            value = int(bool(value) and bool(other))
        return value

    def _level(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._power()
        value = self._level(level + 1)
        while self._at < len(self._tokens) and (sign := self._tokens[self._at]) in _LEVELS[level]:
            self._at += 1
            value = self._with(sign, value, self._level(level + 1))
        return value

    def _power(self) -> int:
        value = self._signed()
        if not self._take("**"):
            return value
        exponent = self._power()
        if exponent < 0:
            raise self._wrong("a power below 0")
        return _bits(pow(value, exponent, 1 << 64))

    def _signed(self) -> int:
        for sign, call in (("!", operator.not_), ("~", operator.invert), ("-", operator.neg), ("+", operator.pos)):
            if self._take(sign):
                return _bits(int(call(self._signed())))
        for sign, step in (("++", 1), ("--", -1)):
            if self._take(sign):
                name = self._name()
                return self._keep(name, self._known(name) + step)
        return self._single()

    def _single(self) -> int:
        if self._take("("):
            value = self._all()
            self._need(")")
            return value
        if self._at == len(self._tokens):
            raise self._wrong("something is missing at its end")
        if not self._is_name():
            return self._number()
        name = self._name()
        value = self._known(name)
        for sign, step in (("++", 1), ("--", -1)):
            if self._take(sign):
                self._keep(name, value + step)
        return value

    def _number(self) -> int:
        token = self._tokens[self._at]
        self._at += 1
        if not token[0].isdigit() or len(token) > 30:
            raise self._wrong(f"{token[:20]!r} cannot stand there")
        try:
            return _bits(int(token, 8 if token[0] == "0" and token.isdigit() else 0))
        except ValueError:
            raise self._wrong(f"{token!r} is no number") from None

    # --- names and tokens ---

    def _known(self, name: str) -> int:
        text = self._variables.get(name, "").strip()
        return _Sum(text, self._variables, self._nested).value() if text else 0

    def _keep(self, name: str, value: int) -> int:
        value = _bits(value)
        if self._counts:
            self._variables[name] = str(value)
        return value

    def _with(self, sign: str, first: int, second: int) -> int:
        if sign in ("/", "%") and second == 0:
            if self._counts:
                raise self._wrong("division by 0")
            return 0
        return _bits(int(_BINARY[sign](first, second)))

    def _guarded(self, counts: bool, call: Callable[[], int]) -> int:
        before, self._counts = self._counts, self._counts and counts
        try:
            return call()
        finally:
            self._counts = before

    def _is_name(self) -> bool:
        return self._tokens[self._at][0].isalpha() or self._tokens[self._at][0] == "_"

    def _name(self) -> str:
        if self._at == len(self._tokens) or not self._is_name():
            raise self._wrong("a variable is missing")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, sign: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at] == sign
        self._at += found
        return found

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise self._wrong(f"a {sign!r} is missing")

    def _wrong(self, why: str) -> ShellSyntaxError:
        return ShellSyntaxError(f"$(({self._text[:100]})) cannot be computed: {why}")


def _quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _bits(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
