"""Entries of [network] allow: what each of them means, and which mean nothing."""

from __future__ import annotations

import pytest

from agex_policies.grants import parse_grant, shown, within
from agex_protocol.plan import NetworkGrant


@pytest.mark.parametrize(
    ("entry", "grant"),
    [
        ("api.example.com:443", NetworkGrant("api.example.com", 443, "required")),
        ("API.Example.com.:443", NetworkGrant("api.example.com", 443, "required")),
        ("api.example.com:8443", NetworkGrant("api.example.com", 8443, "any")),
        ("10.0.0.5:5432", NetworkGrant("10.0.0.5", 5432, "any")),
        ("10.0.0.5:443", NetworkGrant("10.0.0.5", 443, "any")),
        ("[2001:DB8:0:0::1]:443", NetworkGrant("2001:db8::1", 443, "any")),
        ("bücher.example:443", NetworkGrant("xn--bcher-kva.example", 443, "required")),
        ("127.0.0.1:8000", NetworkGrant("127.0.0.1", 8000, "any")),
        ({"to": "db.example.com:5432", "tls": "required"}, NetworkGrant("db.example.com", 5432, "required")),
        ({"to": "api.example.com:443", "tls": "any"}, NetworkGrant("api.example.com", 443, "any")),
        ({"to": "api.example.com:443"}, NetworkGrant("api.example.com", 443, "required")),
    ],
    ids=str,
)
def test_an_entry_means_one_host_and_one_port(entry: object, grant: NetworkGrant) -> None:
    assert parse_grant(entry) == grant
    assert parse_grant(grant) == grant


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("api.example.com", "'api.example.com' has no port; "),
        (":443", "':443' has no port; "),
        ("", "'' has no port; "),
        ("api.example.com:", "'api.example.com:' has the port ''; a port is a number from 1 to 65535"),
        ("api.example.com:0", "'api.example.com:0' has the port '0'; a port is a number from 1 to 65535"),
        ("api.example.com:65536", "'api.example.com:65536' has the port '65536'; a port is a number from 1 to 65535"),
        ("api.example.com:٤٤٣", "'api.example.com:٤٤٣' has the port '٤٤٣'; a port is a number from 1 to 65535"),
        ("api.example.com:https", "'api.example.com:https' has the port 'https'; a port is a number from 1 to 65535"),
        ("*.example.com:443", "'*.example.com:443' has a wildcard; there are none: name each host"),
        ("https://example.com:443", "'https://example.com:443' is no IPv6 address with a port; "),
        ("user@example.com:443", "'user@example.com:443' does not begin with the name of a host; "),
        ("example..com:443", "'example..com:443' does not begin with the name of a host; "),
        ("-a.example:443", "'-a.example:443' does not begin with the name of a host; "),
        ("a b.example:443", "'a b.example:443' does not begin with the name of a host; "),
        (f"{'a' * 64}.example:443", f"'{'a' * 64}.example:443' does not begin with the name of a host; "),
        ("127.1:80", "'127.1:80' ends like an address, but is none; "),
        ("0x7f.0x1:80", "'0x7f.0x1:80' ends like an address, but is none; "),
        ("2130706433:80", "'2130706433:80' ends like an address, but is none; "),
        ("localhost:80", "'localhost:80' is this machine by a name; "),
        ("LOCALHOST.:80", "'LOCALHOST.:80' is this machine by a name; "),
        ("a.localhost:80", "'a.localhost:80' is this machine by a name; "),
        ("::1:80", "'::1:80' is no IPv6 address with a port; "),
        ("[fe80::1%eth0]:80", "'[fe80::1%eth0]:80' is no IPv6 address with a port; "),
        ("[10.0.0.5]:80", "'[10.0.0.5]:80' is no IPv6 address with a port; "),
        (443, "443 is not a grant; "),
        ({"to": "a.example:443", "tsl": "any"}, "'tsl' is no key of a grant; "),
        ({"tls": "any"}, "the grant {'tls': 'any'} does not say where `to`; "),
        ({"to": "a.example:443", "tls": "no"}, "tls = 'no' is neither 'required' nor 'any'"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_an_entry_that_is_none_is_refused_by_name(entry: object, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_grant(entry)
    assert str(caught.value).startswith(expected)


def test_a_grant_lies_within_another_for_the_same_address_that_asks_no_more() -> None:
    strict, open_ = NetworkGrant("a.example", 443, "required"), NetworkGrant("a.example", 443, "any")

    assert within(strict, strict)
    assert within(strict, open_)
    assert not within(open_, strict)
    assert not within(strict, NetworkGrant("a.example", 8443, "any"))
    assert not within(strict, NetworkGrant("b.example", 443, "any"))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("A.example:443", '"a.example:443"'),
        ({"to": "a.example:443", "tls": "any"}, '{ to = "a.example:443", tls = "any" }'),
        ("[2001:db8::1]:80", '"[2001:db8::1]:80"'),
        ({"to": "10.0.0.5:443", "tls": "required"}, '{ to = "10.0.0.5:443", tls = "required" }'),
    ],
    ids=str,
)
def test_a_grant_is_shown_as_it_could_be_written(entry: object, expected: str) -> None:
    assert shown(parse_grant(entry)) == expected
