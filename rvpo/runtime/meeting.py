"""The store by which ranks find one another, which holds nothing of an earlier start."""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from rvpo.runtime.environment import RENDEZVOUS
from rvpo.runtime.interface import address_to

_PLACE: Final = "rvpo/place"
_ANSWER_S: Final = 5.0
"""Longest time for a machine to answer at all."""
_AGAIN_S: Final = 0.2


def meeting_store(rank: int, size: int, patience: timedelta) -> Any:
    """The store of this start: in this process, in a folder that no other user can reach, or at
    MASTER_ADDR.

    torchrun keeps one store over its restarts, in which the addresses of ranks that ended are
    still to be read. There rank 0 opens another one, and MASTER_ADDR and MASTER_PORT become its.

    Raises:
        DistError: there is none within the time.
    """
    if size == 1:
        return dist.HashStore()  # type: ignore[attr-defined]
    if (file := os.environ.get(RENDEZVOUS)) is not None:
        return dist.FileStore(file, size)  # type: ignore[attr-defined]
    store, _, _ = next(rendezvous("env://", timeout=patience))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return store  # rank 0's process holds it, so it ended with the start before
    return _open(store, size, patience) if rank == 0 else _find(store, rank, size, patience)


def _open(kept: Any, size: int, patience: timedelta) -> Any:
    # After a restart rank 0 may be on another machine than the kept store.
    address = address_to(os.environ["MASTER_ADDR"]) or os.environ["MASTER_ADDR"]
    store = dist.TCPStore(  # type: ignore[attr-defined]
        address, 0, size, is_master=True, timeout=patience, wait_for_workers=False
    )
    mark = secrets.token_hex(8)
    for rank in range(1, size):
        store.set(_ticket(mark, rank), "")
    kept.set(_PLACE, f"{mark} {store.port} {address}")
    return _met_at(address, store.port, store)


def _find(kept: Any, rank: int, size: int, patience: timedelta) -> Any:
    deadline = time.monotonic() + patience.total_seconds()
    while time.monotonic() < deadline:
        mark, port, address = kept.get(_PLACE).decode().split()
        # What an earlier rank 0 wrote leads nowhere, to a stranger, or to a store at which this
        # rank's predecessor has been: each ticket is taken once.
        with suppress(dist.DistError):  # it ends while it is asked
            if _answers(address, int(port)):
                store = dist.TCPStore(  # type: ignore[attr-defined]
                    address, int(port), size, is_master=False, timeout=timedelta(seconds=_ANSWER_S)
                )
                if store.delete_key(_ticket(mark, rank)):
                    store.set_timeout(patience)
                    return _met_at(address, int(port), store)
        time.sleep(_AGAIN_S)
    raise dist.DistNetworkError("timed out: rank 0 opened no store")


def _met_at(address: str, port: int, store: Any) -> Any:
    os.environ |= {"MASTER_ADDR": address, "MASTER_PORT": str(port)}
    return store


def _ticket(mark: str, rank: int) -> str:
    return f"rvpo/{mark}/{rank}"


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), _ANSWER_S).close()
    except OSError:
        return False
    return True
