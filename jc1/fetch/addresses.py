"""Addresses: which are anybody's on the internet, and which belong to this machine, its network or its cloud.

Knows IANA's registries of special addresses, and the IPv6 addresses that stand for an IPv4 one. Knows nothing about
names, URLs or connections: it is asked about what a name was resolved to, so every spelling of a host comes to one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's metadata, a public address
            "169.254.0.0/16",  # link-local; the metadata of AWS, Google, Azure, OpenStack
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocols; Oracle's metadata
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
"""https://www.iana.org/assignments/iana-ipv4-special-registry, and the addresses at which clouds tell their secrets."""
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
"""All that is given out so far: loopback, link-local, unique local and multicast lie outside."""
_REFUSED_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocols: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, whose relays reach any IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
"""https://www.iana.org/assignments/iana-ipv6-special-registry, as far as it lies in what is given out."""
_STANDS_FOR_V4 = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # IPv4-mapped
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, by which networks of IPv6 alone reach IPv4 (RFC 6052)
)


def is_public(address: Address) -> bool:
    """Return whether an address is anybody's on the internet."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if any(address in network for network in _STANDS_FOR_V4):
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)
    return not any(address in network for network in _REFUSED_V4)


def may_be_reached(address: Address, allowed: Iterable[Network]) -> bool:
    """Return whether an address is public, or in a network that the operator allows."""
    return is_public(address) or any(address.version == net.version and address in net for net in allowed)


def networks(text: str) -> Sequence[Network]:
    """Return the networks, or single addresses, that a setting lists with commas. Raises `ValueError` naming one."""
    listed = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        try:
            listed.append(ipaddress.ip_network(name))
        except ValueError:
            raise ValueError(f"{name!r} is no address or network: write 10.0.0.1 or 10.0.0.0/8") from None
    return listed
