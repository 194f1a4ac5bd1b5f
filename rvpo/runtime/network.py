"""The address under which the other machines of a run reach this one."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from pathlib import Path

from rvpo.runtime.port import LOOPBACK
from rvpo.runtime.ranks import Ranks


def main_address(ranks: Ranks) -> str:
    """The address of rank 0 for all ranks: loopback on one machine. Every rank must call.

    Several machines met at MASTER_ADDR, which is rank 0's. Rank 0 itself may know that name as its
    own loopback, as Debian's /etc/hosts has it, so the others say what it is for them.
    """
    every = ranks.gather_objects((_network(), _resolved(os.environ.get("MASTER_ADDR", LOOPBACK))))
    here = every[0][0]
    if all(network == here for network, _ in every):
        return LOOPBACK
    seen = [address for network, address in every if network != here and address]
    return next((a for a in seen if not ip_address(a).is_loopback), LOOPBACK)


def is_any(host: str) -> bool:
    """True where a host stands for every address of its machine."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _network() -> tuple[str, str, int]:
    """Equal for processes that have one loopback; containers of a machine have one each, and
    machines of one name have none in common."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return socket.gethostname(), boot, Path("/proc/self/ns/net").stat().st_ino


def _resolved(host: str) -> str:
    """The address of a host; empty where nobody knows it."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ""
    return str(found[0][4][0])
