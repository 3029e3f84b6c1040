"""One entry of `[network] allow`, from what a person writes to a NetworkGrant; and how two of them compare.

An entry names one host and one port. There are no wildcards: a name that somebody else can take is no grant to anybody.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Literal

from agex_protocol.plan import NetworkGrant

_FORM = "write 'host:port', or { to = 'host:port', tls = 'required' } with tls 'required' or 'any'"
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# What resolvers read as a number, and so as an address, however many parts it has: 127.1, 0x7f.1, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME_CHARS = 253
_HTTPS = 443


def parse_grant(entry: object) -> NetworkGrant:
    """The grant that an entry means: a text, or a table with `to` and `tls`. ValueError says what is wrong with it.

    Without `tls`, a name on port 443 takes TLS only, and everything else is open to any protocol.
    """
    if isinstance(entry, NetworkGrant):
        return entry
    if isinstance(entry, str):
        return _grant(entry, None)
    if not isinstance(entry, Mapping):
        raise ValueError(f"{entry!r} is not a grant; {_FORM}")
    table: dict[Any, Any] = {**entry}
    unknown = [key for key in table if key not in ("to", "tls")]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no key of a grant; {_FORM}")
    to, tls = table.get("to"), table.get("tls")
    if not isinstance(to, str):
        raise ValueError(f"the grant {table!r} does not say where `to`; {_FORM}")
    if tls not in (None, "required", "any"):
        raise ValueError(f"tls = {tls!r} is neither 'required' nor 'any'")
    return _grant(to, tls)


def within(inner: NetworkGrant, outer: NetworkGrant) -> bool:
    """Whether everything that `inner` lets pass, `outer` does, too."""
    same = (inner.host, inner.port) == (outer.host, outer.port)
    return same and (outer.tls == "any" or inner.tls == "required")


def shown(grant: NetworkGrant) -> str:
    """The grant as TOML, in its shortest form that means the same."""
    to = f'"{target(grant.host, grant.port)}"'
    return to if grant.tls == _usual(grant.host, grant.port) else f'{{ to = {to}, tls = "{grant.tls}" }}'


def target(host: str, port: int) -> str:
    """'host:port', with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _grant(to: str, tls: Literal["required", "any"] | None) -> NetworkGrant:
    text, separator, digits = to.rpartition(":")
    if not separator or not text:
        raise ValueError(f"{to!r} has no port; {_FORM}")
    if not re.fullmatch(r"[0-9]{1,5}", digits) or not 1 <= int(digits) <= 65535:
        raise ValueError(f"{to!r} has the port {digits!r}; a port is a number from 1 to 65535")
    host, port = _host(text, to), int(digits)
    return NetworkGrant(host, port, tls or _usual(host, port))


def _usual(host: str, port: int) -> Literal["required", "any"]:
    return "required" if port == _HTTPS and not _is_address(host) else "any"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host(text: str, to: str) -> str:
    bracketed = text.startswith("[") and text.endswith("]")
    if bracketed or ":" in text:
        return _ipv6(text[1:-1] if bracketed else "", to)
    if _is_address(text):
        return str(ipaddress.ip_address(text))
    return _name(text, to)


def _ipv6(text: str, to: str) -> str:
    try:
        if "%" in text:
            raise ValueError("a zone belongs to one machine")
        return str(ipaddress.IPv6Address(text))
    except ValueError as error:
        raise ValueError(f"{to!r} is no IPv6 address with a port; write it as '[2001:db8::1]:443'") from error


def _name(text: str, to: str) -> str:
    if "*" in text:
        raise ValueError(f"{to!r} has a wildcard; there are none: name each host")
    name = _ascii(text, to).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_NAME_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{to!r} does not begin with the name of a host; write it without scheme, path and spaces")
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"{to!r} ends like an address, but is none; write the four numbers of it, or a name")
    if name == "localhost" or name.endswith(".localhost"):
        raise ValueError(f"{to!r} is this machine by a name; if it is meant, grant its address: '127.0.0.1:PORT'")
    return name


def _ascii(text: str, to: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{to!r} is no name that has a form in ASCII: {error}; write it in that form") from error
