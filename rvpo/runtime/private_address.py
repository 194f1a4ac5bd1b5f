"""Addresses that only machines of one's own network reach.

What listens there without a password, such as the control of a vLLM server, is as safe as that
network, and no safer.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from rvpo.errors import ConfigError

# RFC 1122, RFC 1918, RFC 3927 and RFC 6598; RFC 4291 and RFC 4193. Not what `is_private` adds to
# them, such as networks for examples and for measurements.
_NETWORKS: Final = tuple(
    ip_network(each)
    for each in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("169.254.0.0/16", "100.64.0.0/10", "::1/128", "fe80::/10", "fc00::/7"),
    )
)
PRIVATE: Final = (
    "loopback and private addresses (127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, "
    "169.254.0.0/16, 100.64.0.0/10, ::1, fe80::/10, fc00::/7)"
)


def is_private(address: str) -> bool:
    """True where machines outside of one's own network cannot reach an address.

    Args:
        address: of IPv4 or IPv6, also one of IPv4 within IPv6.

    Raises:
        ValueError: it is no address.
    """
    return _is_in_a_network(ip_address(address))


def addresses_of(host: str) -> tuple[str, ...]:
    """The addresses of a host, in the order in which they would be tried; none where nobody knows
    it. An address is its own, however it is written: 127.1 is 127.0.0.1."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(place[0]) for *_, place in found))


def check_private(host: str, where: str, instead: str) -> tuple[str, ...]:
    """Refuse a host that others than the machines of one's own network could reach.

    Args:
        host: an address, or a name, which is looked up.
        where: the setting or option that names it.
        instead: the way to allow it, in words that follow "or".

    Returns:
        Its addresses.

    Raises:
        ConfigError: nobody knows it, or one of its addresses is neither loopback nor private.
    """
    found = addresses_of(host)
    if not found:
        raise ConfigError(
            f"{where}: no machine is known by the name {host!r}; give the address or the name of one"
        )
    for address in found:
        if not is_private(address):
            named = host if address == host else f"{host} is {address}, which"
            raise ConfigError(
                f"{where}: {named} is no private address, and who reaches a server may give it "
                f"other weights without any password; use one of {PRIVATE}, or {instead}"
            )
    return found


def _is_in_a_network(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _NETWORKS if network.version == address.version)
