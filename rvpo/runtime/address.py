"""Addresses that only a closed network reaches, told from those that others may reach.

What listens there without a password, such as the control of a vLLM server, is as safe as that
network, and no safer.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

# RFC 1122, RFC 1918, RFC 3927 and RFC 6598; RFC 4291 and RFC 4193. Python's own `is_private` adds
# others, such as networks for examples and for measurements, which routers may well know.
_NETWORKS: Final = tuple(
    map(
        ip_network,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            *("169.254.0.0/16", "100.64.0.0/10", "::1/128", "fe80::/10", "fc00::/7"),
        ),
    )
)
CLOSED: Final = (
    "loopback (127.0.0.1), a private address (10..., 172.16... to 172.31..., 192.168..., fd...), "
    "a link's own (169.254..., fe80...) or a carrier's (100.64... to 100.127...)"
)
"""The addresses of closed networks, in words."""


def is_closed(host: str) -> bool:
    """True where an address is of the loopback or of a private network. A name is not looked up,
    and passes: `public_addresses` looks it up.

    Args:
        host: an address or a name; an IPv4 address within an IPv6 one counts as what it is.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return True
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _NETWORKS if network.version == address.version)


def addresses_of(host: str) -> tuple[str, ...]:
    """The addresses of a host, in the order in which they would be tried; none where nobody knows
    it. An address is its own, however it is written: 127.1 is 127.0.0.1."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(place[0]) for *_, place in found))


def public_addresses(host: str) -> list[str]:
    """The addresses of a host that are not of a closed network; none where nobody knows it."""
    return [address for address in addresses_of(host) if not is_closed(address)]
