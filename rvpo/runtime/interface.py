"""The network interface by which this machine reaches another."""

from __future__ import annotations

import fcntl
import socket
import struct
from ipaddress import ip_address
from typing import Final

_SIOCGIFADDR: Final = 0x8915
"""The request for an interface's IPv4 address, `man 7 netdevice`."""


def interface_to(host: str) -> str | None:
    """The name of the interface whose address a connection to a host would come from.

    Returns:
        None where it is the loopback, or cannot be told.
    """
    own = address_to(host)
    if own is None:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        names = [name for _, name in socket.if_nameindex()]
        return next((name for name in names if _address(probe, name) == own), None)


def address_to(host: str) -> str | None:
    """The own address that a connection to a host would come from.

    Returns:
        None where it is the loopback, or cannot be told.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # sends nothing
        except OSError:
            return None
        own: str = probe.getsockname()[0]
        return None if ip_address(own).is_loopback else own


def _address(any_socket: socket.socket, name: str) -> str:
    try:
        found = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", name.encode()))
    except OSError:  # it has none
        return ""
    return socket.inet_ntoa(found[20:24])
