"""The address of this machine as another one sees it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from rvpo.runtime.port import LOOPBACK


def own_address(host: str, port: int = 9) -> str:
    """The own address that a connection to a host comes from: of several networks, the one that
    leads there. The loopback where the host is this machine, or is unknown."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError:
        return LOOPBACK
    family, kind, protocol, _, place = found[0]
    with socket.socket(family, kind, protocol) as probe:
        try:
            probe.connect(place)  # sends nothing
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])


def address_for(urls: tuple[str, ...]) -> str:
    """The own address for servers to reach: that of the network of the first one elsewhere, and the
    loopback where all are here."""
    own = [own_address(urlsplit(url).hostname or "") for url in urls]
    return next((address for address in own if not _is_loopback(address)), own[0])


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
