"""Which addresses a name may stand for: those of the public internet, and no way around them.

Whoever answers for a name decides what it resolves to. So an address that leads into the machine, its network or its
cloud's metadata is dialled only where the policy grants that address itself.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def objection(address: Address) -> str:
    """What kind of address this is that no name may stand for; "" for one that may be dialled."""
    for network, kind in _REFUSED:
        if address in network:
            return kind
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved"
    return "of this machine" if _is_own(address) else ""


def _is_own(address: Address) -> bool:
    """Whether the machine would talk to itself. Connecting a datagram socket asks the routing table, and sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return ipaddress.ip_address(probe.getsockname()[0]) == address
    return False


def _networks(*lines: str) -> tuple[tuple[_Network, str], ...]:
    pairs = (line.split(maxsplit=1) for line in lines)
    return tuple((ipaddress.ip_network(network), kind) for network, kind in pairs)


_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")

# Written out, because ipaddress.is_global changes from one Python to the next. The first that fits gives the name.
_REFUSED = _networks(
    "255.255.255.255/32 broadcast",
    "0.0.0.0/8 unspecified",
    "10.0.0.0/8 private",
    "100.64.0.0/10 shared by a carrier",
    "127.0.0.0/8 loopback",
    "169.254.0.0/16 link-local",
    "172.16.0.0/12 private",
    "192.0.0.0/24 reserved",
    "192.0.2.0/24 for documentation",
    "192.31.196.0/24 reserved",
    "192.52.193.0/24 reserved",
    "192.88.99.0/24 6to4",
    "192.168.0.0/16 private",
    "192.175.48.0/24 reserved",
    "198.18.0.0/15 for benchmarks",
    "198.51.100.0/24 for documentation",
    "203.0.113.0/24 for documentation",
    "168.63.129.16/32 a cloud's own service",  # Azure's, under a number that looks public
    "224.0.0.0/4 multicast",
    "240.0.0.0/4 reserved",
    "::/128 unspecified",
    "::1/128 loopback",
    "::ffff:0:0/96 IPv4 in IPv6",
    "::/96 IPv4 in IPv6",
    "64:ff9b::/96 NAT64",
    "64:ff9b:1::/48 NAT64",
    "100::/64 discarded",
    "2001::/32 Teredo",
    "2001::/23 reserved",
    "2001:db8::/32 for documentation",
    "2002::/16 6to4",
    "2620:4f:8000::/48 reserved",
    "3fff::/20 for documentation",
    "5f00::/16 reserved",
    "fc00::/7 private",
    "fe80::/10 link-local",
    "fec0::/10 site-local",
    "ff00::/8 multicast",
)
