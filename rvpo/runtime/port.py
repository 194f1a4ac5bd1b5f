"""Ports of this machine for processes to meet at."""

from __future__ import annotations

import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"


def free_port() -> int:
    """A port nobody listens on at the moment, on loopback."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def hold_port(host: str, sharing: int = socket.SO_REUSEADDR, port: int = 0) -> socket.socket:
    """A free port of `host` that stays ours, whichever process listens on it.

    The socket is bound and does not listen: others that set the same option can bind and listen
    there, and the kernel gives the port to nobody as the local end of a connection. So a process
    that is started again finds its port free.

    Args:
        sharing: SO_REUSEADDR lets in processes of any user, SO_REUSEPORT those of this user alone.
        port: the one that is wanted; any if 0.

    Raises:
        OSError: `host` is no address of this machine, or somebody listens on the port.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, sharing, 1)
        held.bind(address)
    except OSError:
        held.close()
        raise
    return held
