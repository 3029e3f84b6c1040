"""Which addresses a name may stand for."""

from __future__ import annotations

import ipaddress

import pytest

from agex_supervisor.addresses import objection


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.1.2.3", "private"),
        ("100.64.0.1", "shared by a carrier"),
        ("100.100.100.200", "shared by a carrier"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.192", "reserved"),
        ("192.0.2.1", "for documentation"),
        ("192.88.99.1", "6to4"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "for benchmarks"),
        ("168.63.129.16", "a cloud's own service"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::ffff:8.8.8.8", "IPv4 in IPv6"),
        ("::ffff:127.0.0.1", "IPv4 in IPv6"),
        ("::7f00:1", "IPv4 in IPv6"),
        ("64:ff9b::a9fe:a9fe", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("100::1", "discarded"),
        ("2001::1", "Teredo"),
        ("2001:10::1", "reserved"),
        ("2001:db8::1", "for documentation"),
        ("2002:7f00:1::", "6to4"),
        ("3fff::1", "for documentation"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
    ],
)
def test_an_address_that_leads_anywhere_but_the_internet_is_refused_by_its_kind(address: str, kind: str) -> None:
    assert objection(ipaddress.ip_address(address)) == kind


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "2606:4700::1111"],
)
def test_a_public_address_is_not_objected_to(address: str) -> None:
    assert objection(ipaddress.ip_address(address)) == ""
